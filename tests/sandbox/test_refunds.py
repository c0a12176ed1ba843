from __future__ import annotations

from typing import Any, Unpack

import pytest
import stripe

from tests.sandbox.conftest import charge_of, error_body, kinds_of_events, unconfirmed
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox


def paid_with(client: stripe.StripeClient, card: str) -> stripe.PaymentIntent:
    return client.v1.payment_intents.create(
        {"amount": 2900, "currency": "usd", "payment_method": card, "confirm": True}
    )


def refused(
    client: stripe.StripeClient, **wish: Unpack[stripe.params.RefundCreateParams]
) -> dict[str, Any]:
    with pytest.raises(stripe.InvalidRequestError) as problem:
        client.v1.refunds.create(wish)
    return error_body(problem.value)


@pytest.fixture
def paid(client: stripe.StripeClient) -> stripe.PaymentIntent:
    """A payment of 29 dollars."""
    return paid_with(client, "pm_card_visa")


def test_a_payment_is_refunded_in_full(
    sandbox: RunningSandbox, client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    refund = client.v1.refunds.create(
        {
            "payment_intent": paid.id,
            "reason": "requested_by_customer",
            "metadata": {"charge_id": "0192"},
        },
        {"idempotency_key": f"refund-{paid.id}"},
    )

    assert (refund.amount, refund.currency, refund.status) == (2900, "usd", "succeeded")
    assert (refund.charge, refund.reason) == (paid.latest_charge, "requested_by_customer")
    charge = charge_of(client, paid.id)
    assert (charge.amount_refunded, charge.refunded) == (2900, True)
    (row,) = sandbox.truth("refunds", payment_intent=paid.id)
    assert row["created"] == refund.created
    assert {name: row[name] for name in row if name != "created"} == {
        "payment_intent": paid.id,
        "charge": charge.id,
        "refund": refund.id,
        "amount": 2900,
        "currency": "usd",
        "status": "succeeded",
        "metadata": {"charge_id": "0192"},
        "idempotency_key": f"refund-{paid.id}",
    }
    assert kinds_of_events(client, paid.id)[-2:] == ["refund.created", "charge.refunded"]


@pytest.mark.parametrize(
    ("currency", "words"),
    [
        ("gbp", "(£30.00) is greater than charge amount (£29.00)"),
        ("jpy", "(¥3,000) is greater than charge amount (¥2,900)"),
        ("chf", "(CHF 30.00) is greater than charge amount (CHF 29.00)"),
    ],
)
def test_more_than_was_paid_is_refused_in_the_charges_currency(
    client: stripe.StripeClient, currency: str, words: str
) -> None:
    paid = client.v1.payment_intents.create(
        {"amount": 2900, "currency": currency, "payment_method": "pm_card_visa", "confirm": True}
    )

    assert refused(client, payment_intent=paid.id, amount=3000)["message"].endswith(words)


def test_what_is_asked_wrongly_is_refused_and_moves_no_money(
    sandbox: RunningSandbox, client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    nothing_named = refused(client, amount=100)
    both_named = refused(client, payment_intent=paid.id, charge=str(paid.latest_charge))
    no_intent = refused(client, payment_intent="pi_none")
    no_charge = refused(client, charge="ch_none")
    no_money = refused(client, payment_intent=paid.id, amount=0)
    no_reason = refused(client, payment_intent=paid.id, reason="bored")
    unsupported = refused(client, payment_intent=paid.id, reverse_transfer=True)

    assert nothing_named["message"].startswith("One of the following params should be provided")
    assert both_named["message"].startswith("You may only specify one of these parameters")
    assert (no_intent["code"], no_charge["code"]) == ("resource_missing", "resource_missing")
    assert no_money["code"] == "parameter_invalid_integer"
    assert no_reason["param"] == "reason"
    assert unsupported["code"] == "sandbox_unsupported"
    assert sandbox.truth("refunds", payment_intent=paid.id) == []


def test_what_was_never_paid_cannot_be_refunded(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    intent = unconfirmed(client, customer, card.id)
    before = refused(client, payment_intent=intent.id)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id)

    by_intent = refused(client, payment_intent=intent.id)
    by_charge = refused(client, charge=error_body(declined.value)["charge"])

    expected = f"This PaymentIntent ({intent.id}) does not have a successful charge to refund."
    assert {problem["message"] for problem in (before, by_intent, by_charge)} == {expected}


def test_the_same_key_refunds_once(
    sandbox: RunningSandbox, client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    refunds = [
        client.v1.refunds.create(
            {"payment_intent": paid.id, "amount": 500}, {"idempotency_key": f"once-{paid.id}"}
        )
        for _ in range(2)
    ]

    assert refunds[0].id == refunds[1].id
    assert len(sandbox.truth("refunds", payment_intent=paid.id)) == 1


def test_a_pending_refund_counts_at_once_and_succeeds_a_day_later(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    paid = paid_with(client, "pm_card_pendingRefund")
    refund = client.v1.refunds.create({"payment_intent": paid.id})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    assert charge_of(client, paid.id).refunded
    sandbox.advance(DAY - HOUR)
    assert client.v1.refunds.retrieve(refund.id).status == "pending"

    sandbox.advance(HOUR)

    assert client.v1.refunds.retrieve(refund.id).status == "succeeded"
    (row,) = sandbox.truth("refunds", payment_intent=paid.id)
    assert row["status"] == "succeeded"
    assert kinds_of_events(client, paid.id)[-2:] == ["refund.updated", "charge.refund.updated"]


def test_a_refund_that_succeeded_fails_two_days_later_and_can_be_made_again(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    paid = paid_with(client, "pm_card_refundFail")
    kept = client.v1.refunds.create({"payment_intent": paid.id, "amount": 900})
    sandbox.advance(DAY)
    client.v1.refunds.create({"payment_intent": paid.id})
    assert kept.status == "succeeded"

    sandbox.advance(DAY)

    failed = client.v1.refunds.retrieve(kept.id, {"expand": ["failure_balance_transaction"]})
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert isinstance(failed.failure_balance_transaction, stripe.BalanceTransaction)
    assert failed.failure_balance_transaction.amount == 900
    charge = charge_of(client, paid.id)
    assert (charge.amount_refunded, charge.refunded) == (2000, False)
    statuses = [row["status"] for row in sandbox.truth("refunds", payment_intent=paid.id)]
    assert statuses == ["failed", "succeeded"]
    assert kinds_of_events(client, paid.id)[-3:] == [
        "refund.failed",
        "refund.updated",
        "charge.refund.updated",
    ]
    assert client.v1.refunds.create({"payment_intent": paid.id}).amount == 900
