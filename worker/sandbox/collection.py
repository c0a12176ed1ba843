"""Collecting an invoice: when its card is charged, how often, and what comes of it."""

from __future__ import annotations

from worker.sandbox import invoicing, later, payment_intents, standing
from worker.sandbox.errors import Answer, JsonObject
from worker.sandbox.later import DAY
from worker.sandbox.store import Tx

# A custom retry schedule as Stripe's dashboard takes one: each so long after the attempt before.
# After the last the subscription is canceled, the first of the three endings Stripe offers.
RETRIES = (3 * DAY, 5 * DAY, 7 * DAY)
# After these Stripe counts on, but asks no bank again unless there is another card.
NOT_RETRYABLE = ("authentication_required", "lost_card", "stolen_card")


def advance(tx: Tx, invoice_id: str) -> None:
    """The draft's hour is over, or the day of the next attempt has come."""
    invoice = tx.get("invoice", invoice_id)
    if invoice["automatically_finalizes_at"] == tx.now:
        invoicing.finalize(tx, invoice)
    if invoice["next_payment_attempt"] == tx.now:
        attempt(tx, invoice, payment_method(tx, subscription_of(tx, invoice)), scheduled=True)


def attempt(
    tx: Tx,
    invoice: JsonObject,
    method: str | None,
    *,
    off_session: bool = True,
    scheduled: bool = False,
) -> Answer | None:
    """Try once to be paid; the answer is that of a decline."""
    _count(invoice, scheduled=scheduled)
    intent = invoicing.intent_of(tx, invoice)
    answer = None
    if method and not (scheduled and _hopeless(intent, method)):
        answer = _confirm(tx, intent, method, off_session=off_session)
    _conclude(tx, invoice, customer_there=not off_session)
    return answer


def _count(invoice: JsonObject, *, scheduled: bool) -> None:
    """Attempts made by hand after the first do not count, and change nothing of the schedule."""
    if scheduled or not invoice["attempt_count"]:
        invoice["attempt_count"] += 1
    if scheduled:
        invoice["next_payment_attempt"] = None
    invoice["attempted"] = True


def _hopeless(intent: JsonObject, method: str) -> bool:
    problem = intent["last_payment_error"] or {}
    same_card = problem.get("payment_method", {}).get("id") == method
    return same_card and problem.get("decline_code") in NOT_RETRYABLE


def _confirm(tx: Tx, intent: JsonObject, method: str, *, off_session: bool) -> Answer | None:
    """Whoever has the intent may have confirmed or canceled it since."""
    if intent["status"] not in payment_intents.OPEN:
        return None
    wish = {"payment_method": method, "off_session": str(off_session).lower()}
    outcome = payment_intents.confirm(tx, intent, wish)
    return outcome if isinstance(outcome, Answer) else None


def follow(tx: Tx, invoice_id: str) -> None:
    """Its intent has moved on by itself: the customer, a slow bank or a caller has acted."""
    invoice = tx.get("invoice", invoice_id)
    if invoice["status"] in ("open", "uncollectible"):
        _count(invoice, scheduled=False)
        _conclude(tx, invoice, customer_there=True)


def _conclude(tx: Tx, invoice: JsonObject, *, customer_there: bool) -> None:
    intent = invoicing.intent_of(tx, invoice)
    if intent["status"] == "succeeded":
        invoicing.paid(tx, invoice)
        standing.follow(tx, invoice)
    elif intent["status"] == "processing":
        tx.replace(invoice)
    elif intent["status"] == "requires_action" and customer_there:
        tx.replace(invoice)
        invoicing.tell(tx, invoice, "payment_action_required")
    else:
        _fail(tx, invoice, intent)


def _fail(tx: Tx, invoice: JsonObject, intent: JsonObject) -> None:
    exhausted = _is_due(invoice) and not _schedule(tx, invoice)
    tx.replace(invoice)
    problem = intent["last_payment_error"] or {}
    if problem.get("decline_code") == "authentication_required":
        invoicing.tell(tx, invoice, "payment_action_required")
    for what in ("updated", "payment_failed"):
        invoicing.tell(tx, invoice, what)
    standing.follow(tx, invoice)
    if exhausted and (subscription := subscription_of(tx, invoice))["status"] == "past_due":
        standing.end(tx, subscription, "payment_failed")


def _is_due(invoice: JsonObject) -> bool:
    """Whether the schedule has to go on; a first invoice waits for the customer instead."""
    renewal = invoice["billing_reason"] == "subscription_cycle" and invoice["auto_advance"]
    return renewal and invoice["next_payment_attempt"] is None


def _schedule(tx: Tx, invoice: JsonObject) -> bool:
    """Note the next attempt; false when there is none."""
    for pause in RETRIES[invoice["attempt_count"] - 1 :][:1]:
        invoice["next_payment_attempt"] = tx.now + pause
        later.at(tx, tx.now + pause, "advance_invoice", invoice["id"])
        return True
    return False


def payment_method(tx: Tx, subscription: JsonObject) -> str | None:
    """The card to charge: the subscription's own, else the customer's default."""
    customer = tx.get("customer", subscription["customer"])
    for chosen in (
        subscription["default_payment_method"],
        customer["invoice_settings"]["default_payment_method"],
    ):
        method = tx.find("payment_method", chosen) if chosen else None
        if method and method["customer"] == customer["id"]:
            return str(chosen)
    return None


def subscription_of(tx: Tx, invoice: JsonObject) -> JsonObject:
    """The subscription the invoice is for."""
    return tx.get("subscription", invoicing.subscription_id(invoice))
