"""Balance transactions: what each movement of money did to the balance at Stripe.

Here money is available at once; at Stripe that takes days, except for its `bypassPending` card.
"""

from __future__ import annotations

from worker.sandbox.errors import JsonObject
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.store import Tx, new_id

DISPUTE_FEE = 1500


def charged(tx: Tx, charge: JsonObject) -> JsonObject:
    """Money came in, less Stripe's fee of 2.9 % and 30 minor units."""
    amount = charge["amount"]
    fee = (29 * amount + 500) // 1000 + 30
    return _record(
        tx, charge, "charge", amount, charge["description"], fee, "Stripe processing fees"
    )


def refunded(tx: Tx, refund: JsonObject) -> JsonObject:
    """Money went back; the fee does not."""
    return _record(tx, refund, "refund", -refund["amount"], "REFUND FOR CHARGE")


def refund_failed(tx: Tx, refund: JsonObject) -> JsonObject:
    """Money that should have gone back is here again."""
    return _record(tx, refund, "refund_failure", refund["amount"], "REFUND FAILURE")


def dispute_withdrawn(tx: Tx, dispute: JsonObject) -> JsonObject:
    """The bank took the disputed money, and Stripe a fee."""
    return _record(
        tx,
        dispute,
        "dispute",
        -dispute["amount"],
        f"Chargeback withdrawal for {dispute['charge']}",
        DISPUTE_FEE,
        "Dispute fee",
    )


def dispute_reinstated(tx: Tx, dispute: JsonObject) -> JsonObject:
    """The disputed money is back; the fee is not."""
    description = f"Chargeback reversal for {dispute['charge']}"
    return _record(tx, dispute, "dispute_reversal", dispute["amount"], description)


def _record(
    tx: Tx,
    source: JsonObject,
    category: str,
    amount: int,
    description: str | None,
    fee: int = 0,
    fee_name: str = "",
) -> JsonObject:
    detail = {
        "amount": fee,
        "application": None,
        "currency": source["currency"],
        "description": fee_name,
        "type": "stripe_fee",
    }
    transaction = {
        "id": new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": tx.now,
        "balance_type": "payments",
        "created": tx.now,
        "currency": source["currency"],
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [detail] if fee else [],
        "net": amount - fee,
        "reporting_category": category,
        "source": source["id"],
        "status": "available",
        "type": "adjustment" if category.startswith("dispute") else category,
    }
    tx.add(transaction)
    return transaction


KIND = Kind(
    "balance_transaction",
    "balance_transactions",
    param="id",
    title="balance transaction",
    filters={"currency": field(), "source": field(), "type": field()},
)
