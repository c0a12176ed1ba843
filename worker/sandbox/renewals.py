"""What the clock does to a subscription: the next period, or the end."""

from __future__ import annotations

from worker.sandbox import invoicing, later, standing
from worker.sandbox.billing_periods import period_end
from worker.sandbox.errors import JsonObject
from worker.sandbox.events import happened
from worker.sandbox.later import HOUR
from worker.sandbox.store import Tx

FIRST_PAYMENT_WITHIN = 23 * HOUR


def begin(tx: Tx, subscription: JsonObject) -> None:
    """Have the first period end, and the wait for the first payment."""
    (item,) = subscription["items"]["data"]
    later.at(tx, item["current_period_end"], "renew_subscription", subscription["id"])
    if subscription["status"] == "incomplete":
        due = tx.now + FIRST_PAYMENT_WITHIN
        later.at(tx, due, "expire_subscription", subscription["id"])


def renew(tx: Tx, subscription_id: str) -> None:
    """The period is over: begin the next one and draft its invoice, unless it was the last."""
    subscription = tx.get("subscription", subscription_id)
    if subscription["status"] not in ("active", "past_due"):
        return
    if subscription["cancel_at_period_end"]:
        standing.end(tx, subscription, "cancellation_requested")
        return
    (item,) = subscription["items"]["data"]
    over = (item["current_period_start"], item["current_period_end"])
    anchor, recurring = subscription["billing_cycle_anchor"], item["price"]["recurring"]
    item["current_period_start"] = over[1]
    item["current_period_end"] = period_end(anchor, recurring, over[1])
    invoice = invoicing.draft(tx, subscription, "subscription_cycle", over)
    subscription["latest_invoice"] = invoice["id"]
    tx.replace(subscription)
    later.at(tx, item["current_period_end"], "renew_subscription", subscription_id)
    happened(tx, "customer.subscription.updated", subscription)


def expire(tx: Tx, subscription_id: str) -> None:
    """Too long without a first payment: the invoice is void, and the subscription over."""
    subscription = tx.get("subscription", subscription_id)
    if subscription["status"] == "incomplete" and not give_up(tx, subscription):
        later.at(tx, tx.now + FIRST_PAYMENT_WITHIN, "expire_subscription", subscription_id)


def give_up(tx: Tx, subscription: JsonObject) -> bool:
    """Void the first invoice, which ends the subscription; not while its payment is on its way."""
    invoice = tx.get("invoice", subscription["latest_invoice"])
    if invoicing.intent_of(tx, invoice)["status"] == "processing":
        return False
    invoicing.void(tx, invoice)
    standing.follow(tx, invoice)
    return True
