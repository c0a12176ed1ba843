"""How a subscription stands: its status follows its newest final invoice."""

from __future__ import annotations

from worker.sandbox import invoicing
from worker.sandbox.errors import JsonObject
from worker.sandbox.events import happened
from worker.sandbox.store import Condition, Tx

# What a subscription becomes when its newest final invoice has come to this; `open` means that
# a payment was tried in vain. Everything else leaves it as it is.
NEXT = {
    ("incomplete", "paid"): "active",
    ("incomplete", "void"): "incomplete_expired",
    ("active", "open"): "past_due",
    ("past_due", "paid"): "active",
    ("past_due", "void"): "active",
    ("past_due", "uncollectible"): "active",
}
ENDED = ("canceled", "incomplete_expired")
FINAL = Condition("json_extract(body, '$.status') <> ?", "draft")
UNPAID = Condition("json_extract(body, '$.status') IN ('draft', ?)", "open")


def follow(tx: Tx, invoice: JsonObject) -> None:
    """Let the subscription follow what came of its invoice."""
    owner = invoicing.subscription_id(invoice)
    subscription = tx.find("subscription", owner)
    if subscription is None:
        return  # It is being made: its first status is not a change.
    (newest,) = tx.page("invoice", [invoicing.of_subscription(owner), FINAL], "DESC", 1)
    status = NEXT.get((subscription["status"], invoice["status"]))
    if status and newest["id"] == invoice["id"]:
        subscription["status"] = status
        subscription["ended_at"] = tx.now if status in ENDED else None
        tx.replace(subscription)
        happened(tx, "customer.subscription.updated", subscription)


def end(tx: Tx, subscription: JsonObject, reason: str) -> None:
    """No more invoices, and no more attempts to be paid for those there are."""
    subscription["status"] = "canceled"
    subscription["ended_at"] = tx.now
    subscription["canceled_at"] = subscription["canceled_at"] or tx.now
    subscription["cancellation_details"]["reason"] = reason
    tx.replace(subscription)
    unpaid = [invoicing.of_subscription(subscription["id"]), UNPAID]
    for invoice in tx.page("invoice", unpaid, "ASC", -1):
        invoicing.stop(tx, invoice)
    happened(tx, "customer.subscription.deleted", subscription)
