"""Refunds: money back to the card it came from, in one or more parts.

succeeded                     most cards
pending ─ later ─▶ succeeded  a bank that takes its time
succeeded ─ later ─▶ failed   a bank that sends it back; the charge is then less refunded
"""

from __future__ import annotations

from worker.sandbox import balance_transactions, bank, charges, later
from worker.sandbox.amounts import written
from worker.sandbox.cards import Refunding
from worker.sandbox.errors import JsonObject, invalid, missing_object
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, integer, refuse, text, word
from worker.sandbox.store import Tx, new_id

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
UNSUPPORTED = (
    "currency",
    "customer",
    "instructions_email",
    "origin",
    "refund_application_fee",
    "reverse_transfer",
)


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """Give back what is asked, or all that is left."""
    refuse(params, UNSUPPORTED)
    charge = _charge(tx, params)
    refund = _blank(tx, charge, _amount(tx, charge, params), word(params, "reason", REASONS))
    assign(refund, params, ())
    refunding = bank.card_of(tx, charge["payment_method"]).refunding
    if refunding is Refunding.PENDING:
        refund |= {"status": "pending", "pending_reason": "processing"}
        later.at(tx, tx.now + bank.DELAYS["refund"], "refund_succeeds", refund["id"])
    if refunding is Refunding.FAILS:
        later.at(tx, tx.now + bank.DELAYS["refund_failure"], "refund_fails", refund["id"])
    refund["balance_transaction"] = balance_transactions.refunded(tx, refund)["id"]
    tx.add(refund)
    bank.refund(tx, refund)
    happened(tx, "refund.created", refund)
    _count(tx, charge, refund["amount"])
    happened(tx, "charge.refunded", charge)
    return refund


def _charge(tx: Tx, params: JsonObject) -> JsonObject:
    """The successful charge that the parameters name by its id or by its intent's."""
    charge_id, intent_id = text(params, "charge"), text(params, "payment_intent")
    if charge_id and intent_id:
        raise invalid("You may only specify one of these parameters: charge, payment_intent.")
    if charge_id:
        charge = tx.find("charge", charge_id)
        if charge is None:
            raise missing_object("charge", charge_id, "id", status=404)
        intent_id = charge["payment_intent"]
    elif intent_id:
        intent = tx.named("payment_intent", intent_id, "payment_intent")
        charge = charges.successful(tx, intent)
    else:
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or"
            " charge."
        )
    if charge is None or not charge["paid"]:
        raise invalid(
            f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
        )
    return charge


def _amount(tx: Tx, charge: JsonObject, params: JsonObject) -> int:
    """How much goes back: never more than is left, and nothing the bank has taken already."""
    if bank.is_charged_back(tx, charge["id"]):
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
        )
    left = charge["amount"] - charge["amount_refunded"]
    if left == 0:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
        )
    amount = integer(params, "amount") if "amount" in params else left
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.",
            param="amount",
            code="parameter_invalid_integer",
        )
    if amount > left:
        limit = "unrefunded amount on charge" if charge["amount_refunded"] else "charge amount"
        asked, most = (written(value, charge["currency"]) for value in (amount, left))
        raise invalid(f"Refund amount ({asked}) is greater than {limit} ({most})", param="amount")
    return amount


def _blank(tx: Tx, charge: JsonObject, amount: int, reason: str | None) -> JsonObject:
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": tx.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": {
            "card": {
                "reference_status": "pending",
                "reference_type": "acquirer_reference_number",
                "type": "refund",
            },
            "type": "card",
        },
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _count(tx: Tx, charge: JsonObject, amount: int) -> None:
    """What is refunded of a charge grows, or shrinks when a refund failed."""
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    tx.replace(charge)


def succeed(tx: Tx, id: str) -> None:
    """The bank has at last done what was pending."""
    refund = tx.get("refund", id)
    del refund["pending_reason"]
    refund["status"] = "succeeded"
    _changed(tx, refund)


def fail(tx: Tx, id: str) -> None:
    """The bank sent the money back after all: the card is gone."""
    refund = tx.get("refund", id)
    refund |= {
        "status": "failed",
        "failure_reason": "expired_or_canceled_card",
        "failure_balance_transaction": balance_transactions.refund_failed(tx, refund)["id"],
    }
    _count(tx, tx.get("charge", refund["charge"]), -refund["amount"])
    happened(tx, "refund.failed", refund)
    _changed(tx, refund)


def update(tx: Tx, refund: JsonObject, params: JsonObject) -> JsonObject:
    """Other metadata; its money does not change."""
    assign(refund, params, ())
    _changed(tx, refund)
    return refund


def _changed(tx: Tx, refund: JsonObject) -> None:
    tx.replace(refund)
    bank.settle_refund(tx, refund)
    happened(tx, "refund.updated", refund)
    happened(tx, "charge.refund.updated", refund)


KIND = Kind(
    "refund",
    "refunds",
    param="id",
    create=create,
    update=update,
    filters={"charge": field(), "payment_intent": field()},
)
