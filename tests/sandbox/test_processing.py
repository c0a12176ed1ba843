from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conftest import charge_of, kinds_of_events, unconfirmed
from tests.sandbox.receiver import Receiver, eventually
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox

SUCCEEDS = "pm_card_sandbox_processing"
FAILS = "pm_card_sandbox_processingFails"


@pytest.fixture
def processing(
    request: pytest.FixtureRequest, client: stripe.StripeClient, customer: stripe.Customer
) -> stripe.PaymentIntent:
    """An intent confirmed with a card whose bank takes its time."""
    card = client.v1.payment_methods.attach(
        getattr(request, "param", SUCCEEDS), {"customer": customer.id}
    )
    return client.v1.payment_intents.confirm(
        unconfirmed(client, customer, card.id).id, {"off_session": True}
    )


def events_about(client: stripe.StripeClient, kind: str, thing: str) -> list[stripe.Event]:
    told = client.v1.events.list({"type": kind, "limit": 100}).data
    return [event for event in told if event.data.object["id"] == thing]


def test_a_slow_bank_leaves_the_payment_processing_and_its_charge_pending(
    sandbox: RunningSandbox, client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    assert (processing.status, processing.amount_received) == ("processing", 0)
    charge = charge_of(client, processing.id)
    assert (charge.status, charge.paid, charge.balance_transaction) == ("pending", False, None)
    (row,) = sandbox.payments(payment_intent=processing.id)
    assert row["status"] == "pending"
    assert kinds_of_events(client, processing.id)[-2:] == [
        "charge.pending",
        "payment_intent.processing",
    ]


def test_it_succeeds_three_days_later_and_not_before(
    sandbox: RunningSandbox, client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    sandbox.advance(3 * DAY - HOUR)
    assert client.v1.payment_intents.retrieve(processing.id).status == "processing"
    sandbox.advance(HOUR)

    paid = client.v1.payment_intents.retrieve(processing.id)

    assert (paid.status, paid.amount_received) == ("succeeded", 2900)
    assert paid.latest_charge == processing.latest_charge
    charge = charge_of(client, paid.id)
    assert (charge.status, charge.paid) == ("succeeded", True)
    (row,) = sandbox.payments(payment_intent=paid.id)
    assert (row["status"], row["charge"]) == ("succeeded", charge.id)
    assert kinds_of_events(client, paid.id)[-2:] == ["charge.succeeded", "payment_intent.succeeded"]


@pytest.mark.parametrize("processing", [FAILS], indirect=True)
def test_it_fails_three_days_later_and_another_card_pays(
    sandbox: RunningSandbox, client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    assert processing.status == "processing"
    sandbox.advance(3 * DAY)

    failed = client.v1.payment_intents.retrieve(processing.id)

    assert (failed.status, failed.payment_method) == ("requires_payment_method", None)
    assert failed.last_payment_error is not None
    assert failed.last_payment_error.decline_code == "insufficient_funds"
    assert failed.last_payment_error.charge == processing.latest_charge
    assert charge_of(client, failed.id).status == "failed"
    assert kinds_of_events(client, failed.id)[-2:] == [
        "charge.failed",
        "payment_intent.payment_failed",
    ]
    paid = client.v1.payment_intents.confirm(failed.id, {"payment_method": "pm_card_visa"})
    assert paid.status == "succeeded"
    statuses = [row["status"] for row in sandbox.payments(payment_intent=failed.id)]
    assert statuses == ["failed", "succeeded"]


def test_what_is_processing_is_neither_confirmed_again_changed_nor_canceled(
    sandbox: RunningSandbox, client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as confirmed:
        client.v1.payment_intents.confirm(processing.id)
    with pytest.raises(stripe.InvalidRequestError) as changed:
        client.v1.payment_intents.update(processing.id, {"amount": 9900})
    with pytest.raises(stripe.InvalidRequestError) as canceled:
        client.v1.payment_intents.cancel(processing.id)

    codes = {problem.value.code for problem in (confirmed, changed, canceled)}
    assert codes == {"payment_intent_unexpected_state"}
    assert len(sandbox.payments(payment_intent=processing.id)) == 1


def test_what_is_processing_cannot_be_refunded(
    client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        client.v1.refunds.create({"payment_intent": processing.id})


def test_after_a_long_jump_of_the_clock_everything_happened_in_its_order_and_at_its_time(
    sandbox: RunningSandbox, client: stripe.StripeClient, processing: stripe.PaymentIntent
) -> None:
    refunded = client.v1.payment_intents.create(
        {
            "amount": 2900,
            "currency": "usd",
            "payment_method": "pm_card_pendingRefund",
            "confirm": True,
        }
    )
    refund = client.v1.refunds.create({"payment_intent": refunded.id})

    sandbox.advance(90 * DAY)

    (settled,) = events_about(client, "payment_intent.succeeded", processing.id)
    (given_back,) = events_about(client, "refund.updated", refund.id)
    assert given_back.created == refund.created + DAY
    assert 0 <= settled.created - processing.created - 3 * DAY <= HOUR
    newest_first = [event.id for event in client.v1.events.list({"limit": 100}).data]
    assert newest_first.index(settled.id) < newest_first.index(given_back.id)
    assert settled.request is not None
    assert (settled.request.id, settled.request.idempotency_key) == (None, None)


def test_what_the_clock_brings_is_told_in_a_webhook_without_another_call(
    sandbox: RunningSandbox, processing: stripe.PaymentIntent, receiver: Receiver
) -> None:
    sandbox.advance(3 * DAY)

    def arrived() -> list[stripe.Event]:
        told = receiver.events(sandbox.webhook_secret, "payment_intent.succeeded")
        return [event for event in told if event.data.object["id"] == processing.id]

    eventually(arrived)
