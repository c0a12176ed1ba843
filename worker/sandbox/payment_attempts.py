"""One attempt to charge an intent's card, and how it ends.

succeeded ◀─ yes ─┬─ no ─▶ requires_payment_method, with the reason as last_payment_error
                  └─ not yet ─▶ processing ─ days later ─▶ either
"""

from __future__ import annotations

from dataclasses import asdict

from worker.sandbox import bank, charges, invoice_payments, later, payment_methods
from worker.sandbox.cards import Decline
from worker.sandbox.errors import Answer, JsonObject, card_error, error
from worker.sandbox.events import happened
from worker.sandbox.store import Tx


def charge(
    tx: Tx, intent: JsonObject, method: JsonObject, *, authenticated: bool
) -> JsonObject | Answer:
    """Ask the bank now."""
    made, refusal = charges.make(tx, intent, method, authenticated=authenticated)
    intent["latest_charge"] = made["id"]
    if refusal:
        return decline(tx, intent, method, refusal, made["id"])
    if made["status"] == "pending":
        return _process(tx, intent, method)
    return _succeed(tx, intent, method)


def _process(tx: Tx, intent: JsonObject, method: JsonObject) -> JsonObject:
    intent |= {"status": "processing", "last_payment_error": None, "next_action": None}
    tx.replace(intent)
    if method["customer"] is None:
        bank.spend(tx, method["id"])
    later.at(tx, tx.now + bank.DELAYS["payment"], "payment_settles", intent["id"])
    happened(tx, "payment_intent.processing", intent)
    return intent


def settle(tx: Tx, intent_id: str) -> None:
    """The bank has made up its mind about a payment that was processing."""
    intent = tx.get("payment_intent", intent_id)
    pending = tx.get("charge", intent["latest_charge"])
    method = tx.get("payment_method", pending["payment_method"])
    if refusal := charges.settle(tx, pending):
        decline(tx, intent, method, refusal, pending["id"])
    else:
        _succeed(tx, intent, method)
    tell_invoice(tx, intent)


def authenticated(tx: Tx, intent: JsonObject) -> None:
    """The customer was at their bank, and the bank knew them: now the card is charged."""
    method = payment_methods.usable(tx, intent["payment_method"])
    charge(tx, intent, method, authenticated=True)
    tell_invoice(tx, intent)


def authentication_failed(tx: Tx, intent: JsonObject) -> None:
    """The bank did not know the customer; the card was never charged."""
    failure = error(
        400,
        "invalid_request_error",
        "The provided PaymentMethod has failed authentication. You can provide payment_method_data"
        " or a new PaymentMethod to attempt to fulfill this PaymentIntent again.",
        code="payment_intent_authentication_failure",
        payment_method=tx.get("payment_method", intent["payment_method"]),
    )
    _fail(tx, intent, failure)
    tell_invoice(tx, intent)


def decline(
    tx: Tx, intent: JsonObject, method: JsonObject, refusal: Decline, charge_id: str | None = None
) -> Answer:
    """The bank says no, which is an answer whose effects stay."""
    facts = {**asdict(refusal), "charge": charge_id, "payment_method": method}
    _fail(tx, intent, card_error(**facts))
    return card_error(**facts, payment_intent=intent)


def _fail(tx: Tx, intent: JsonObject, answer: Answer) -> None:
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_payment_error": answer.body["error"],
    }
    tx.replace(intent)
    happened(tx, "payment_intent.payment_failed", intent)


def _succeed(tx: Tx, intent: JsonObject, method: JsonObject) -> JsonObject:
    intent |= {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "last_payment_error": None,
        "next_action": None,
    }
    tx.replace(intent)
    if intent["setup_future_usage"] and intent["customer"]:
        payment_methods.attach_to(tx, method, intent["customer"])
        if intent["setup_future_usage"] == "off_session":
            bank.set_up(tx, method["id"])
    elif method["customer"] is None:
        bank.spend(tx, method["id"])
    happened(tx, "payment_intent.succeeded", intent)
    return intent


def tell_invoice(tx: Tx, intent: JsonObject) -> None:
    """Have the invoice of the intent, if there is one, follow what did not begin with it."""
    if invoice := invoice_payments.invoice_of(tx, intent):
        later.at(tx, tx.now, "invoice_follows_payment", invoice)
