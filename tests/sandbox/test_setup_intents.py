from __future__ import annotations

import pytest
import stripe

from tests.sandbox.browser import led_to, look, submit, told
from tests.sandbox.conftest import error_body, kinds_of_events, unconfirmed


def begun(client: stripe.StripeClient, customer: stripe.Customer) -> stripe.SetupIntent:
    return client.v1.setup_intents.create({"customer": customer.id, "usage": "off_session"})


def test_a_card_that_was_set_up_belongs_to_the_customer(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = begun(client, customer)
    assert intent.status == "requires_payment_method"

    done = client.v1.setup_intents.confirm(intent.id, {"payment_method": "pm_card_mastercard"})

    assert (done.status, done.usage) == ("succeeded", "off_session")
    owned = [card.id for card in client.v1.customers.payment_methods.list(customer.id).data]
    assert done.payment_method in owned
    assert kinds_of_events(client, intent.id) == ["setup_intent.created", "setup_intent.succeeded"]


@pytest.mark.parametrize(
    ("card", "alone"),
    [
        ("pm_card_authenticationRequiredOnSetup", "succeeded"),
        ("pm_card_authenticationRequiredSetupForOffSession", "succeeded"),
        ("pm_card_authenticationRequired", "authentication_required"),
        ("pm_card_authenticationRequiredChargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
def test_after_its_set_up_was_authenticated_a_card_pays_alone_as_its_kind_does(
    client: stripe.StripeClient, customer: stripe.Customer, card: str, alone: str
) -> None:
    asked = client.v1.setup_intents.confirm(
        begun(client, customer).id,
        {"payment_method": card, "return_url": "https://example.com/back"},
    )
    assert asked.next_action is not None
    assert asked.next_action.redirect_to_url is not None
    page = asked.next_action.redirect_to_url.url

    back = led_to(submit(page, outcome="complete"))

    assert told(back)["redirect_status"] == "succeeded"
    assert told(back)["setup_intent"] == asked.id
    done = client.v1.setup_intents.retrieve(asked.id)
    assert isinstance(done.payment_method, str)
    intent = unconfirmed(client, customer, done.payment_method)
    try:
        ended = client.v1.payment_intents.confirm(intent.id, {"off_session": True}).status
    except stripe.CardError as declined:
        ended = error_body(declined)["decline_code"]
    assert ended == alone


def test_a_card_merely_attached_does_not_pay_alone_until_it_is_set_up(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequiredOnSetup", {"customer": customer.id}
    )

    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(
            unconfirmed(client, customer, card.id).id, {"off_session": True}
        )

    assert declined.value.code == "authentication_required"


def test_failed_authentication_puts_no_card_in_place(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    asked = client.v1.setup_intents.confirm(
        begun(client, customer).id,
        {"payment_method": "pm_card_authenticationRequired", "return_url": "https://example.com"},
    )
    assert asked.next_action is not None
    assert asked.next_action.redirect_to_url is not None
    page = asked.next_action.redirect_to_url.url
    assert "Save Visa •••• 3184" in look(page).text

    back = led_to(submit(page, outcome="fail"))

    assert told(back)["redirect_status"] == "failed"
    after = client.v1.setup_intents.retrieve(asked.id)
    assert after.status == "requires_payment_method"
    assert after.last_setup_error is not None
    assert after.last_setup_error.code == "setup_intent_authentication_failure"
    assert kinds_of_events(client, asked.id) == [
        "setup_intent.created",
        "setup_intent.requires_action",
        "setup_intent.setup_failed",
    ]
