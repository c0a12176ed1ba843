from __future__ import annotations

from typing import Unpack

import pytest
import stripe

from tests.sandbox.conftest import charge_of
from tests.sandbox.sandbox_process import RunningSandbox


@pytest.fixture
def paid(client: stripe.StripeClient, intent: stripe.PaymentIntent) -> stripe.PaymentIntent:
    return client.v1.payment_intents.confirm(intent.id)


def movement(client: stripe.StripeClient, source: str) -> stripe.BalanceTransaction:
    """The one movement of the balance that an object made."""
    (found,) = client.v1.balance_transactions.list({"source": source}).data
    return found


@pytest.mark.parametrize(("amount", "fee"), [(2900, 114), (2950, 116), (59900, 1767), (50, 31)])
def test_a_charge_brings_its_amount_less_stripes_fee(
    client: stripe.StripeClient, amount: int, fee: int
) -> None:
    paid = client.v1.payment_intents.create(
        {"amount": amount, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )

    moved = movement(client, str(paid.latest_charge))

    assert (moved.type, moved.reporting_category, moved.currency) == ("charge", "charge", "usd")
    assert (moved.amount, moved.fee, moved.net) == (amount, fee, amount - fee)
    (detail,) = moved.fee_details
    assert (detail.amount, detail.type, detail.currency) == (fee, "stripe_fee", "usd")
    assert client.v1.balance_transactions.retrieve(moved.id).source == paid.latest_charge


def test_a_charge_and_its_refund_show_their_movements_when_expanded(
    client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    charge = client.v1.charges.retrieve(
        str(paid.latest_charge), {"expand": ["balance_transaction"]}
    )
    refund = client.v1.refunds.create(
        {"payment_intent": paid.id, "amount": 900, "expand": ["balance_transaction"]}
    )

    assert isinstance(charge.balance_transaction, stripe.BalanceTransaction)
    assert charge.balance_transaction.net == 2786
    back = refund.balance_transaction
    assert isinstance(back, stripe.BalanceTransaction)
    assert (back.type, back.amount, back.fee, back.net) == ("refund", -900, 0, -900)
    assert back.source == refund.id


def test_a_failed_charge_moves_nothing(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.create(
            {
                "amount": 2900,
                "currency": "usd",
                "payment_method": "pm_card_visa_chargeDeclined",
                "confirm": True,
            }
        )

    error = declined.value.error
    assert error is not None
    assert error.payment_intent is not None
    assert charge_of(client, error.payment_intent.id).balance_transaction is None
    assert client.v1.balance_transactions.list({"source": str(error.charge)}).data == []


def test_a_dispute_takes_its_amount_and_a_fee_that_does_not_come_back(
    sandbox: RunningSandbox, client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    dispute = sandbox.ask("POST", "disputes", {"payment_intent": paid.id})["id"]
    client.v1.disputes.update(dispute, {"evidence": {"uncategorized_text": "winning_evidence"}})
    sandbox.advance(5)

    reinstated, taken = client.v1.balance_transactions.list({"source": dispute}).data

    assert {reinstated.type, taken.type} == {"adjustment"}
    assert (taken.amount, taken.fee, taken.net) == (-2900, 1500, -4400)
    assert (reinstated.amount, reinstated.fee, reinstated.net) == (2900, 0, 2900)
    assert taken.reporting_category == "dispute"
    assert reinstated.reporting_category == "dispute_reversal"


def test_movements_are_listed_by_type_time_and_currency(
    sandbox: RunningSandbox, client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    sandbox.advance(60)
    refund = client.v1.refunds.create({"payment_intent": paid.id})

    def since(**wanted: Unpack[stripe.params.BalanceTransactionListParams]) -> list[str]:
        wanted["created"] = {"gte": refund.created}
        return [str(moved.source) for moved in client.v1.balance_transactions.list(wanted).data]

    assert since(type="refund") == since(currency="usd") == [refund.id]
    assert since(type="charge") == since(currency="eur") == []
