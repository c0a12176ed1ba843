"""Subscriptions: one price, charged at the beginning of every period.

incomplete ── first invoice paid ──▶ active ── payment failed ──▶ past_due
    │                                │    ◀── newest invoice paid ──┘  │
23 hours, or                  canceled by its owner,            retries used up
canceled by its owner         now or at period's end                   │
    ▼                                │                                 │
incomplete_expired                   └──────────▶ canceled ◀───────────┘
"""

from __future__ import annotations

import json

from worker.sandbox import (
    collection,
    invoices,
    invoicing,
    renewals,
    standing,
    subscription_items,
)
from worker.sandbox.errors import (
    Answer,
    JsonObject,
    Refusal,
    invalid,
    missing_object,
    not_in_sandbox,
)
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, nested, refuse, require, text, word
from worker.sandbox.store import Condition, Tx, among, new_id

PLAIN = (
    "cancel_at_period_end",
    "cancellation_details",
    "default_payment_method",
    "description",
    "expand",
    "metadata",
)
ON_CREATE = ("customer", "items", "off_session", "payment_behavior", *PLAIN)
ON_UPDATE = ("items", "proration_behavior", *PLAIN)
NOT_YET = (
    "cancel_at",
    "canceled_at",
    "days_until_due",
    "default_payment_method",
    "description",
    "ended_at",
    "latest_invoice",
    "pause_collection",
    "pending_setup_intent",
    "pending_update",
    "schedule",
    "trial_end",
    "trial_start",
)
STATUSES = (
    "active",
    "past_due",
    "unpaid",
    "canceled",
    "incomplete",
    "incomplete_expired",
    "trialing",
    "paused",
    "all",
    "ended",
)
GROUPS = {"all": STATUSES, "ended": standing.ENDED}
NOT_CANCELED = Condition("json_extract(body, '$.status') <> ?", "canceled")
BEHAVIORS = ("allow_incomplete", "default_incomplete", "error_if_incomplete")


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A subscription and its first invoice, charged at once unless told otherwise."""
    refuse(params, tuple(name for name in params if name not in ON_CREATE))
    behavior = _behavior(params)
    subscription = _blank(tx, params)
    _settle(tx, subscription, params)
    method = collection.payment_method(tx, subscription)
    if method is None and behavior != "default_incomplete":
        raise invalid(invoices.NO_PAYMENT_METHOD, code="resource_missing")
    invoice = invoicing.draft(tx, subscription, "subscription_create", (tx.now, tx.now))
    invoicing.finalize(tx, invoice)
    if behavior != "default_incomplete":
        off_session = boolean(params, "off_session")
        decline = collection.attempt(tx, invoice, method, off_session=off_session)
        if behavior == "error_if_incomplete":
            _require_paid(tx, invoice, decline)
    _begin(tx, subscription, invoice)
    return subscription


def _behavior(params: JsonObject) -> str:
    if params.get("payment_behavior") == "pending_if_incomplete":
        raise invalid(
            "Setting `payment_behavior` to `pending_if_incomplete` has no effect when creating a"
            " subscription.",
            param="payment_behavior",
        )
    return word(params, "payment_behavior", BEHAVIORS) or "allow_incomplete"


def _require_paid(tx: Tx, invoice: JsonObject, decline: Answer | None) -> None:
    """Nothing is made of a subscription whose first invoice is not paid."""
    if decline:
        raise Refusal(decline, begun=True)
    intent = invoicing.intent_of(tx, invoice)
    if intent["status"] == "requires_action":
        raise Refusal(invoices.action_required("subscription", intent), begun=True)


def _begin(tx: Tx, subscription: JsonObject, invoice: JsonObject) -> None:
    subscription["latest_invoice"] = invoice["id"]
    if invoice["status"] == "paid":
        subscription["status"] = "active"
    tx.add(subscription)
    renewals.begin(tx, subscription)
    happened(tx, "customer.subscription.created", subscription)


def _blank(tx: Tx, params: JsonObject) -> JsonObject:
    customer = require(params, "customer")
    tx.named("customer", customer, "customer")
    subscription_id = new_id("sub")
    item = subscription_items.make(tx, subscription_id, require(params, "items"))
    return {
        "id": subscription_id,
        "object": "subscription",
        **dict.fromkeys(NOT_YET),
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": tx.now,
        "cancel_at_period_end": False,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": tx.now,
        "currency": item["price"]["currency"],
        "customer": customer,
        "discounts": [],
        "items": {
            "object": "list",
            "data": [item],
            "has_more": False,
            "url": f"/v1/subscription_items?subscription={subscription_id}",
        },
        "livemode": False,
        "metadata": {},
        "start_date": tx.now,
        "status": "incomplete",
    }


def update(tx: Tx, subscription: JsonObject, params: JsonObject) -> JsonObject:
    """Another card, other words, another price or an end at the end of the period."""
    refuse(params, tuple(name for name in params if name not in ON_UPDATE))
    words = ("cancellation_details", "expand", "metadata")
    if subscription["status"] in standing.ENDED and any(name not in words for name in params):
        raise invalid(
            "A canceled subscription can only update its cancellation_details and metadata.",
            code="invalid_canceled_subscription_fields",
        )
    _reprice(tx, subscription, params)
    _settle(tx, subscription, params)
    tx.replace(subscription)
    happened(tx, "customer.subscription.updated", subscription)
    return subscription


def _reprice(tx: Tx, subscription: JsonObject, params: JsonObject) -> None:
    # Stripe prorates another price unless it is told not to.
    unasked = "create_prorations" if "items" in params else "none"
    if params.get("proration_behavior", unasked) != "none":
        raise not_in_sandbox("proration_behavior")
    if "items" not in params:
        return
    if subscription["status"] == "incomplete":
        raise invalid(
            "A subscription whose first invoice is not paid can only update its metadata and"
            " default payment method.",
            param="items",
        )
    (item,) = subscription["items"]["data"]
    subscription_items.reprice(tx, item, params["items"])


def _settle(tx: Tx, subscription: JsonObject, params: JsonObject) -> None:
    if "default_payment_method" in params:
        chosen = text(params, "default_payment_method")
        subscription["default_payment_method"] = chosen and invoices.require_card(
            tx, subscription["customer"], chosen, "default_payment_method"
        )
    if "cancel_at_period_end" in params:
        _cancel_at_period_end(tx, subscription, boolean(params, "cancel_at_period_end"))
    _note_details(subscription, params)
    assign(subscription, params, ("description",))


def _cancel_at_period_end(tx: Tx, subscription: JsonObject, wish: bool) -> None:
    (item,) = subscription["items"]["data"]
    subscription["cancel_at_period_end"] = wish
    subscription["cancel_at"] = item["current_period_end"] if wish else None
    subscription["canceled_at"] = tx.now if wish else None
    subscription["cancellation_details"]["reason"] = "cancellation_requested" if wish else None


def _note_details(subscription: JsonObject, params: JsonObject) -> None:
    for name in nested(params, "cancellation_details"):
        if name not in ("comment", "feedback"):
            raise not_in_sandbox(f"cancellation_details[{name}]")
        subscription["cancellation_details"][name] = params["cancellation_details"][name] or None


def cancel(tx: Tx, subscription: JsonObject, params: JsonObject) -> JsonObject:
    """End it now; what was paid for the rest of the period is not given back."""
    refuse(params, tuple(name for name in ("invoice_now", "prorate") if boolean(params, name)))
    if subscription["status"] in standing.ENDED:
        raise missing_object("subscription", subscription["id"], "id", status=404)
    _note_details(subscription, params)
    subscription["canceled_at"] = subscription["canceled_at"] or tx.now
    subscription["cancellation_details"]["reason"] = "cancellation_requested"
    tx.replace(subscription)
    if subscription["status"] != "incomplete" or not renewals.give_up(tx, subscription):
        standing.end(tx, subscription, "cancellation_requested")
    return tx.get("subscription", subscription["id"])


def _with_status(params: JsonObject, name: str) -> Condition:
    asked = word(params, name, STATUSES) or ""
    return among("status", json.dumps(GROUPS.get(asked, (asked,))))


KIND = Kind(
    "subscription",
    "subscriptions",
    param="id",
    create=create,
    update=update,
    delete=cancel,
    delete_verb="cancel",
    filters={"customer": field(), "price": field("items.data[0].price.id"), "status": _with_status},
    # Canceled ones are listed only when asked for.
    unasked=lambda params: () if "status" in params else (NOT_CANCELED,),
)
