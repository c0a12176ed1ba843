from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from tests.sandbox.browser import led_to, look, submit, told
from tests.sandbox.conftest import kinds_of_events, unconfirmed
from tests.sandbox.sandbox_process import RunningSandbox

BACK = "https://example.com/back?order=7#top"


def asked(
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str = "pm_card_authenticationRequired",
) -> stripe.PaymentIntent:
    """A payment confirmed while the customer was there, which waits for their bank."""
    attached = client.v1.payment_methods.attach(card, {"customer": customer.id})
    intent = unconfirmed(client, customer, attached.id)
    return client.v1.payment_intents.confirm(intent.id, {"return_url": BACK})


def page_of(intent: stripe.PaymentIntent) -> str:
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None
    assert intent.next_action.redirect_to_url.return_url == BACK
    return str(intent.next_action.redirect_to_url.url)


def test_an_authenticated_payment_succeeds_and_leads_back(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)
    page = look(page_of(intent))
    assert "$29.00" in page.text
    assert "sandbox" in page.text
    assert sandbox.payments(payment_intent=intent.id) == []

    back = led_to(submit(page_of(intent), outcome="complete"))

    assert back.startswith("https://example.com/back?order=7&")
    assert back.endswith("#top")
    assert told(back) == {
        "order": "7",
        "payment_intent": intent.id,
        "payment_intent_client_secret": intent.client_secret,
        "redirect_status": "succeeded",
    }
    paid = client.v1.payment_intents.retrieve(intent.id)
    assert (paid.status, paid.next_action) == ("succeeded", None)
    (row,) = sandbox.payments(payment_intent=intent.id)
    assert row["status"] == "succeeded"


def test_many_clicks_pay_once(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)
    page = page_of(intent)

    with ThreadPoolExecutor(4) as fingers:
        answers = list(fingers.map(lambda _: submit(page, outcome="complete"), range(8)))
    answers += [submit(page, outcome="fail"), look(page)]

    assert {told(led_to(answer))["redirect_status"] for answer in answers} == {"succeeded"}
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_failed_authentication_moves_no_money(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)

    back = led_to(submit(page_of(intent), outcome="fail"))

    assert told(back)["redirect_status"] == "failed"
    after = client.v1.payment_intents.retrieve(intent.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    assert after.last_payment_error is not None
    assert after.last_payment_error.code == "payment_intent_authentication_failure"
    assert after.last_payment_error.payment_method is not None
    assert after.last_payment_error.payment_method.id == intent.payment_method
    assert sandbox.payments(payment_intent=intent.id) == []
    assert kinds_of_events(client, intent.id) == [
        "payment_intent.created",
        "payment_intent.requires_action",
        "payment_intent.payment_failed",
    ]


def test_an_authenticated_card_may_still_decline(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(
        client, customer, "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds"
    )

    back = led_to(submit(page_of(intent), outcome="complete"))

    assert told(back)["redirect_status"] == "failed"
    after = client.v1.payment_intents.retrieve(intent.id)
    assert after.last_payment_error is not None
    assert after.last_payment_error.decline_code == "insufficient_funds"
    (row,) = sandbox.payments(payment_intent=intent.id)
    assert row["status"] == "failed"


def test_what_needed_the_customer_is_paid_once_they_are_there(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": customer.id}
    )
    intent = unconfirmed(client, customer, card.id)
    with pytest.raises(stripe.CardError) as needed:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    assert needed.value.code == "authentication_required"

    again = client.v1.payment_intents.confirm(
        intent.id, {"payment_method": card.id, "return_url": BACK}
    )
    submit(page_of(again), outcome="complete")

    paid = client.v1.payment_intents.retrieve(intent.id)
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    statuses = [row["status"] for row in sandbox.payments(payment_intent=intent.id)]
    assert statuses == ["failed", "succeeded"]


def test_a_first_payment_made_for_later_ones_sets_the_card_up(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    first = client.v1.payment_intents.create(
        {
            "amount": 2900,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": "pm_card_authenticationRequiredOnSetup",
            "setup_future_usage": "off_session",
            "confirm": True,
            "return_url": BACK,
        }
    )
    submit(page_of(first), outcome="complete")
    paid = client.v1.payment_intents.retrieve(first.id)
    assert isinstance(paid.payment_method, str)

    second = unconfirmed(client, customer, paid.payment_method)

    assert client.v1.payment_intents.confirm(second.id, {"off_session": True}).status == "succeeded"


def test_a_canceled_payment_is_not_made_by_its_page(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)
    client.v1.payment_intents.cancel(intent.id)

    back = led_to(submit(page_of(intent), outcome="complete"))

    assert told(back)["redirect_status"] == "failed"
    assert sandbox.payments(payment_intent=intent.id) == []


def test_a_card_taken_away_while_its_bank_asked_is_not_charged(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)
    assert isinstance(intent.payment_method, str)
    client.v1.payment_methods.detach(intent.payment_method)

    answer = submit(page_of(intent), outcome="complete")

    assert answer.status_code == 400
    assert "may not be used again" in answer.text
    assert sandbox.payments(payment_intent=intent.id) == []


@pytest.mark.parametrize("intent", ["pi_unknown", "cus_unknown"])
def test_there_is_no_page_for_what_waits_for_nobody(sandbox: RunningSandbox, intent: str) -> None:
    page = f"{sandbox.url}/authenticate/{intent}"

    assert (look(page).status_code, submit(page, outcome="complete").status_code) == (404, 404)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "example.com", "https://a b"])
def test_a_way_back_is_a_web_address(
    client: stripe.StripeClient, customer: stripe.Customer, address: str
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": customer.id}
    )
    intent = unconfirmed(client, customer, card.id)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.confirm(intent.id, {"return_url": address})

    assert refused.value.code == "url_invalid"


def test_another_card_takes_the_question_back(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = asked(client, customer)

    changed = client.v1.payment_intents.update(intent.id, {"payment_method": "pm_card_visa"})

    assert (changed.status, changed.next_action) == ("requires_confirmation", None)
    submit(page_of(intent), outcome="complete")
    assert sandbox.payments(payment_intent=intent.id) == []
