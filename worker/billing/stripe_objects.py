"""What Stripe's lists and objects say, as values; a body that is not what it should be raises."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from schemas.money import Money


class Sold(NamedTuple):
    """What a price at Stripe was made for."""

    plan: str
    version: date


class Payment(NamedTuple):
    """A card was charged."""

    payment_intent: str
    money: Money
    stripe_customer: str | None
    charge_id: str | None  # ours, from the metadata
    paid_at: datetime


class StripeRefund(NamedTuple):
    """Money on its way back to a card."""

    stripe_refund: str
    payment_intent: str
    money: Money
    status: str
    refund_id: str | None  # ours, from the metadata
    code: str | None
    created_at: datetime


class StripeDispute(NamedTuple):
    """A customer asked their bank for the money back."""

    dispute_id: str
    payment_intent: str
    money: Money
    status: str
    reason: str
    opened_at: datetime


class StripeFee(NamedTuple):
    """What Stripe kept of a payment, a refund or a dispute; below 0: what it gave back."""

    transaction_id: str  # in Stripe's balance
    payment_intent: str
    stripe_customer: str | None  # of a payment; a refund or a dispute does not say
    money: Money
    taken_at: datetime


class StripeInvoice(NamedTuple):
    """A period of a subscription, to be paid or paid; `money` is what was paid."""

    invoice_id: str
    stripe_customer: str
    subscription_id: str | None
    status: str
    reason: str | None
    money: Money
    payment_intent: str | None
    period_start: datetime
    period_end: datetime
    prices: tuple[str, ...] = ()  # of its lines


class StripeSubscription(NamedTuple):
    """A plan that is paid by the month."""

    subscription_id: str
    stripe_customer: str
    status: str
    period_start: datetime
    period_end: datetime
    cancel_at_period_end: bool
    anchor: datetime  # the day and time of the month on which its periods begin
    ended_at: datetime | None
    order_id: str | None  # ours, from the metadata
    invoice_id: str | None  # the newest


def payment_in(body: Mapping[str, Any]) -> Payment | None:
    """The payment in one of Stripe's charges, if it succeeded as part of an intent."""
    if body["status"] != "succeeded" or not body["payment_intent"]:
        return None
    return Payment(
        body["payment_intent"],
        money_of(body),
        body["customer"],
        body["metadata"].get("charge_id"),
        moment(body["created"]),
    )


def refund_in(body: Mapping[str, Any]) -> StripeRefund:
    return StripeRefund(
        body["id"],
        body["payment_intent"],
        money_of(body),
        body["status"],
        body["metadata"].get("refund_id"),
        body.get("failure_reason"),
        moment(body["created"]),
    )


def dispute_in(body: Mapping[str, Any]) -> StripeDispute:
    return StripeDispute(
        body["id"],
        body["payment_intent"],
        money_of(body),
        body["status"],
        body["reason"],
        moment(body["created"]),
    )


def fee_in(body: Mapping[str, Any]) -> StripeFee | None:
    """The fee in a balance transaction whose source is expanded; None if nobody's payment cost it.

    (docs.stripe.com/api/balance_transactions/object)
    """
    source = body["source"]
    intent = source.get("payment_intent") if isinstance(source, Mapping) else None
    if not body["fee"] or intent is None:
        return None
    return StripeFee(
        body["id"],
        intent,
        source.get("customer"),
        Money(body["fee"], body["currency"]),
        moment(body["created"]),
    )


BOUNDS = ("start", "end")


def invoice_in(body: Mapping[str, Any]) -> StripeInvoice:
    """Needs `payments` to be expanded."""
    lines = body["lines"]["data"]
    period = lines[0]["period"] if lines else {name: body[f"period_{name}"] for name in BOUNDS}
    details = (body.get("parent") or {}).get("subscription_details") or {}
    payments = (body.get("payments") or {}).get("data") or []
    intents = [each["payment"].get("payment_intent") for each in payments]
    return StripeInvoice(
        body["id"],
        body["customer"],
        details.get("subscription"),
        body["status"],
        body.get("billing_reason"),
        Money(body["amount_paid"], body["currency"]),
        next((intent for intent in intents if intent), None),
        moment(period["start"]),
        moment(period["end"]),
        tuple(price for price in map(price_of, lines) if price),
    )


def sold_in(body: Mapping[str, Any]) -> Sold | None:
    """A price that we made names what for; whatever somebody else wrote there names nothing."""
    metadata = body.get("metadata") or {}
    try:
        return Sold(metadata["plan"], date.fromisoformat(metadata["version"]))
    except (KeyError, ValueError):
        return None


def price_of(line: Mapping[str, Any]) -> str | None:
    price: str | None = ((line.get("pricing") or {}).get("price_details") or {}).get("price")
    return price


def subscription_in(body: Mapping[str, Any]) -> StripeSubscription:
    """The period stands on the item; there is one (docs.stripe.com, since 2025-03-31)."""
    item = body["items"]["data"][0]
    return StripeSubscription(
        body["id"],
        body["customer"],
        body["status"],
        moment(item["current_period_start"]),
        moment(item["current_period_end"]),
        bool(body["cancel_at_period_end"]),
        moment(body["billing_cycle_anchor"]),
        moment(body["ended_at"]) if body.get("ended_at") else None,
        (body.get("metadata") or {}).get("order_id"),
        body.get("latest_invoice"),
    )


def money_of(body: Mapping[str, Any]) -> Money:
    return Money(body["amount"], body["currency"])


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
