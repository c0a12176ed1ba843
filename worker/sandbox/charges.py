"""Charges: one try at a card, good or bad, as an object."""

from __future__ import annotations

from worker.sandbox import bank
from worker.sandbox.cards import Decline
from worker.sandbox.errors import JsonObject
from worker.sandbox.events import happened
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, text
from worker.sandbox.store import Condition, Tx, new_id


def make(tx: Tx, intent: JsonObject, method: JsonObject) -> tuple[JsonObject, Decline | None]:
    """Ask the bank, and record its answer as a charge."""
    charge_id = new_id("ch")
    decline = bank.charge(tx, intent, charge_id, bank.card_of(tx, method["id"]))
    charge = {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0 if decline else intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "captured": decline is None,
        "created": tx.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "livemode": False,
        "metadata": intent["metadata"],
        "outcome": _outcome(decline),
        "paid": decline is None,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": method["card"], "type": "card"},
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "status": "failed" if decline else "succeeded",
    }
    tx.add(charge)
    happened(tx, f"charge.{charge['status']}", charge)
    return charge, decline


def _outcome(decline: Decline | None) -> JsonObject:
    if decline is None:
        return {
            "advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline.advice_code,
        "network_decline_code": decline.network_decline_code,
        "network_status": "declined_by_network",
        "reason": decline.decline_code,
        "risk_level": "normal",
        "seller_message": "The bank returned a decline.",
        "type": "issuer_declined",
    }


def update(tx: Tx, charge: JsonObject, params: JsonObject) -> JsonObject:
    """New words on a charge; its money does not change."""
    assign(charge, params, ("description", "receipt_email"))
    tx.replace(charge)
    return charge


def _conditions(params: JsonObject) -> list[Condition]:
    found = []
    if customer := text(params, "customer"):
        found.append(Condition("json_extract(body, '$.customer') = ?", customer))
    if intent := text(params, "payment_intent"):
        found.append(Condition("json_extract(body, '$.payment_intent') = ?", intent))
    return found


KIND = Kind("charge", "charges", param="id", update=update, conditions=_conditions)
