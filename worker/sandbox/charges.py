"""Charges: one try at a card, good or bad, as an object."""

from __future__ import annotations

from worker.sandbox import balance_transactions, bank, disputes
from worker.sandbox.cards import Card, Decline
from worker.sandbox.errors import JsonObject
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, refuse
from worker.sandbox.store import Tx, new_id


def make(
    tx: Tx, intent: JsonObject, method: JsonObject, *, authenticated: bool
) -> tuple[JsonObject, Decline | None]:
    """Ask the bank, and record its answer as a charge."""
    charge_id = new_id("ch")
    card = bank.card_of(tx, method["id"])
    decline = bank.charge(tx, intent, charge_id, card, authenticated=authenticated)
    charge = {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "captured": True,
        "created": tx.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": intent["metadata"],
        "outcome": _outcome(None),
        "paid": False,
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": {"card": method["card"], "type": "card"},
        "receipt_email": intent["receipt_email"],
        "refunded": False,
        "status": "pending",
    }
    if not card.processes:
        _decide(tx, charge, decline)
    tx.add(charge)
    _tell(tx, charge, card)
    return charge, decline


def settle(tx: Tx, charge: JsonObject) -> Decline | None:
    """A charge that was pending ends, good or bad."""
    card = bank.card_of(tx, charge["payment_method"])
    decline = bank.settle(tx, charge["id"], card)
    _decide(tx, charge, decline)
    tx.replace(charge)
    _tell(tx, charge, card)
    return decline


def _decide(tx: Tx, charge: JsonObject, decline: Decline | None) -> None:
    if decline:
        charge |= {
            "amount_captured": 0,
            "captured": False,
            "failure_code": decline.code,
            "failure_message": decline.message,
            "outcome": _outcome(decline),
            "status": "failed",
        }
    else:
        transaction = balance_transactions.charged(tx, charge)
        charge |= {
            "balance_transaction": transaction["id"],
            "paid": True,
            "status": "succeeded",
        }


def _tell(tx: Tx, charge: JsonObject, card: Card) -> None:
    happened(tx, f"charge.{charge['status']}", charge)
    if card.disputes and charge["paid"]:
        disputes.begin(tx, charge, card.disputes, charge["amount"], inquiry=card.inquires)


def successful(tx: Tx, intent: JsonObject) -> JsonObject | None:
    """The charge that paid an intent."""
    charge = tx.find("charge", intent["latest_charge"] or "")
    return charge if charge and charge["paid"] else None


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
    refuse(params, ("fraud_details", "shipping", "transfer_group"))
    assign(charge, params, ("description", "receipt_email"))
    tx.replace(charge)
    return charge


KIND = Kind(
    "charge",
    "charges",
    param="id",
    update=update,
    filters={"customer": field(), "payment_intent": field()},
)
