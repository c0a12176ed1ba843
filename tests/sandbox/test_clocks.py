from __future__ import annotations

import json
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.sandbox.browser import submit
from tests.sandbox.conftest import charge_of, default_card, fresh_key, unconfirmed
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import invoices, period, subscribe, subscriber, use_card

Status = Callable[[], str | None]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One whose common clock is not moved by others."""
    with running_sandbox(tmp_path_factory.mktemp("clocks")) as one:
        yield one


@pytest.fixture
def ahead(sandbox: RunningSandbox, customer: stripe.Customer) -> stripe.Customer:
    """A customer 40 days ahead."""
    sandbox.advance(40 * DAY, customer.id)
    return customer


def pay(client: stripe.StripeClient, customer: stripe.Customer, card: str) -> stripe.PaymentIntent:
    """A payment of the customer with a test card."""
    method = client.v1.payment_methods.attach(card, {"customer": customer.id})
    intent = unconfirmed(client, customer, method.id)
    return client.v1.payment_intents.confirm(intent.id, {"off_session": True})


def slow_payment(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    intent = pay(client, customer, "pm_card_sandbox_processing").id
    return lambda: client.v1.payment_intents.retrieve(intent).status


def slow_refund(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    intent = pay(client, customer, "pm_card_pendingRefund").id
    refund = client.v1.refunds.create({"payment_intent": intent}).id
    return lambda: client.v1.refunds.retrieve(refund).status


def failing_refund(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    intent = pay(client, customer, "pm_card_refundFail").id
    refund = client.v1.refunds.create({"payment_intent": intent}).id
    return lambda: client.v1.refunds.retrieve(refund).status


def unanswered_dispute(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    intent = pay(client, customer, "pm_card_createDispute").id
    (dispute,) = client.v1.disputes.list({"payment_intent": intent}).data
    return lambda: client.v1.disputes.retrieve(dispute.id).status


def checkout_session(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    session = client.v1.checkout.sessions.create(
        {
            "mode": "setup",
            "currency": "usd",
            "customer": customer.id,
            "success_url": "https://example.com",
        }
    )
    return lambda: client.v1.checkout.sessions.retrieve(session.id).status


def unpaid_subscription(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    made = subscribe(client, customer, payment_behavior="default_incomplete")
    return lambda: client.v1.subscriptions.retrieve(made.id).status


def declined_renewals(client: stripe.StripeClient, customer: stripe.Customer) -> Status:
    made = subscribe(client, customer)
    use_card(client, customer, "pm_card_chargeCustomerFail")
    return lambda: client.v1.subscriptions.retrieve(made.id).status


@pytest.mark.parametrize(
    ("begin", "before", "after"),
    [
        (slow_payment, "processing", "succeeded"),
        (slow_refund, "pending", "succeeded"),
        (failing_refund, "succeeded", "failed"),
        (unanswered_dispute, "needs_response", "lost"),
        (checkout_session, "open", "expired"),
        (unpaid_subscription, "incomplete", "incomplete_expired"),
        (declined_renewals, "active", "canceled"),
    ],
)
def test_what_happens_later_happens_to_the_customer_whose_clock_moved(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    begin: Callable[[stripe.StripeClient, stripe.Customer], Status],
    before: str,
    after: str,
) -> None:
    customer, bystander = subscriber(client), subscriber(client)
    theirs, the_others = begin(client, customer), begin(client, bystander)

    sandbox.advance(60 * DAY, customer.id)
    moved = (theirs(), the_others())
    sandbox.advance(60 * DAY, bystander.id)

    assert moved == (after, before)
    assert the_others() == after


def test_a_customer_ahead_is_renewed_alone_and_at_the_right_moments(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    customer, bystander = subscriber(client), subscriber(client)
    one, other = subscribe(client, customer), subscribe(client, bystander)
    before = sandbox.now()

    sandbox.advance(62 * DAY, customer.id)

    first, second, third = invoices(client, one)
    assert [len(invoices(client, other)), other.status] == [1, "active"]
    assert second.created == first.lines.data[0].period.end == period(one)[1]
    assert second.status_transitions.paid_at == second.created + HOUR
    assert third.created == second.lines.data[0].period.end
    rows = sandbox.payments(customer=customer.id)
    assert [row["created"] for row in rows[1:]] == [second.created + HOUR, third.created + HOUR]
    assert 0 <= sandbox.now() - before < DAY
    assert sandbox.now(customer.id) - sandbox.now(bystander.id) == pytest.approx(62 * DAY, abs=60)


def test_the_common_clock_moves_everybody_and_a_lead_stays(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    customer, bystander = subscriber(client), subscriber(client)
    one, other = subscribe(client, customer), subscribe(client, bystander)
    sandbox.advance(20 * DAY, customer.id)
    before = sandbox.now(customer.id)

    sandbox.advance(20 * DAY)
    at_first = [len(invoices(client, each)) for each in (one, other)]
    sandbox.advance(20 * DAY)

    assert at_first == [2, 1]
    assert [len(invoices(client, each)) for each in (one, other)] == [2, 2]
    assert sandbox.now(customer.id) - before == pytest.approx(40 * DAY, abs=60)
    assert invoices(client, one)[1].created == period(one)[1]


def made_for(client: stripe.StripeClient, customer: stripe.Customer) -> Iterator[int]:
    """When each of many things of the customer was made, or happened."""
    subscription = subscribe(client, customer)
    yield from (subscription.created, period(subscription)[0])
    (invoice,) = invoices(client, subscription)
    yield from (invoice.created, invoice.lines.data[0].period.start)
    paid = pay(client, customer, "pm_card_createDispute")
    yield paid.created
    charge = charge_of(client, paid.id)
    yield charge.created
    (dispute,) = client.v1.disputes.list({"charge": charge.id}).data
    yield dispute.created
    intent = client.v1.payment_intents.confirm(unconfirmed(client, customer).id).id
    yield charge_of(client, intent).created
    by_intent = client.v1.refunds.create({"payment_intent": intent, "amount": 100})
    by_charge = client.v1.refunds.create({"charge": charge_of(client, intent).id, "amount": 100})
    yield from (by_intent.created, by_charge.created)
    yield client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id}).created
    yield client.v1.setup_intents.create({"customer": customer.id}).created
    (event,) = client.v1.events.list({"type": "charge.dispute.created", "limit": 1}).data
    yield event.created


def test_what_is_made_for_a_customer_ahead_is_made_at_their_time(
    sandbox: RunningSandbox, client: stripe.StripeClient, ahead: stripe.Customer
) -> None:
    made = list(made_for(client, ahead))

    now = sandbox.now(ahead.id)
    assert sandbox.now() < now - 39 * DAY
    assert [moment for moment in made if not now - HOUR < moment <= now] == []


def test_pages_and_controls_keep_the_time_of_a_customer_ahead(
    sandbox: RunningSandbox, client: stripe.StripeClient, ahead: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": ahead.id}
    )
    intent = client.v1.payment_intents.confirm(
        unconfirmed(client, ahead, card.id).id, {"return_url": "https://example.com"}
    )
    assert intent.next_action is not None
    assert intent.next_action.redirect_to_url is not None

    submit(intent.next_action.redirect_to_url.url, outcome="complete")
    dispute = sandbox.ask("POST", "disputes", {"payment_intent": intent.id})
    sandbox.advance(9 * DAY - HOUR, ahead.id)
    early = client.v1.disputes.retrieve(dispute["id"]).status
    sandbox.advance(HOUR, ahead.id)

    assert charge_of(client, intent.id).created >= intent.created
    assert dispute["created"] >= intent.created
    assert (early, client.v1.disputes.retrieve(dispute["id"]).status) == ("needs_response", "lost")


def test_idempotency_keys_age_by_the_common_clock(
    sandbox: RunningSandbox, client: stripe.StripeClient, ahead: stripe.Customer
) -> None:
    key: Any = {"idempotency_key": fresh_key()}
    wish: Any = {"amount": 2900, "currency": "usd", "customer": ahead.id}
    first = client.v1.payment_intents.create(wish, key).id

    sandbox.advance(30 * DAY, ahead.id)
    again = client.v1.payment_intents.create(wish, key).id
    sandbox.advance(25 * HOUR)
    forgotten = client.v1.payment_intents.create(wish, key).id

    assert again == first
    assert forgotten != first


def test_a_clock_outlives_kill_9(tmp_path: Path) -> None:
    with running_sandbox(tmp_path, api_key="sk_test_clock") as first:
        customer = subscriber(first.client())
        made = subscribe(first.client(), customer)
        first.advance(20 * DAY, customer.id)
        first.kill()

    with running_sandbox(tmp_path, api_key="sk_test_clock") as second:
        second.advance(20 * DAY, customer.id)

        assert second.now(customer.id) - second.now() == pytest.approx(40 * DAY, abs=60)
        assert len(invoices(second.client(), made)) == 2


def test_a_customers_clock_is_asked_for_in_the_address_or_the_body(
    sandbox: RunningSandbox, ahead: stripe.Customer
) -> None:
    answers = [
        sandbox.ask("GET", f"clock?customer={ahead.id}"),
        sandbox.ask("GET", "clock", {"customer": ahead.id}),
        sandbox.ask("POST", "clock", {"customer": ahead.id, "advance": 0}),
    ]

    for answer in answers:
        assert answer.keys() == {"customer", "now", "next"}
        assert answer["customer"] == ahead.id
        assert answer["now"] - sandbox.now() == pytest.approx(40 * DAY, abs=60)
    assert sandbox.ask("GET", "clock").keys() == {"now", "next"}


def test_a_clock_says_when_something_happens_next(
    sandbox: RunningSandbox, client: stripe.StripeClient, ahead: stripe.Customer
) -> None:
    nothing = sandbox.ask("GET", f"clock?customer={ahead.id}")
    made = subscribe(client, ahead, payment_behavior="default_incomplete")

    told = sandbox.ask("GET", f"clock?customer={ahead.id}")

    assert nothing["next"] is None
    assert told["next"] == made.created + 23 * HOUR
    assert sandbox.ask("GET", "clock")["next"] <= told["next"] - 39 * DAY


@pytest.mark.parametrize(
    ("method", "body", "param"),
    [
        ("GET", {"customer": "cus_0"}, "customer"),
        ("POST", {"customer": "cus_0", "advance": 1}, "customer"),
        ("POST", {"customer": None, "advance": 1}, "customer"),
        ("POST", {"advance": -1}, "advance"),
        ("POST", {"advance": "1"}, "advance"),
    ],
)
def test_a_clock_that_cannot_be_moved_is_refused(
    sandbox: RunningSandbox, method: str, body: dict[str, Any], param: str
) -> None:
    before = sandbox.now()

    with pytest.raises(urllib.error.HTTPError) as refused:
        sandbox.ask(method, "clock", body)

    assert (refused.value.code, json.load(refused.value)["error"]["param"]) == (400, param)
    assert sandbox.now() - before == pytest.approx(0, abs=60)


def test_the_default_card_pays_for_a_customer_ahead(
    sandbox: RunningSandbox, client: stripe.StripeClient, ahead: stripe.Customer
) -> None:
    made = subscribe(client, ahead)

    sandbox.advance(32 * DAY, ahead.id)

    assert [invoice.status for invoice in invoices(client, made)] == ["paid", "paid"]
    charges = client.v1.charges.list({"customer": ahead.id}).data
    assert {charge.payment_method for charge in charges} == {default_card(ahead)}
