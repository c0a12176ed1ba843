"""What Stripe says of one payment, and of what became of it, as values with defaults."""

from __future__ import annotations

from typing import Any

from schemas.money import Money
from tests.builders import DAY, NOW
from worker.billing.stripe_objects import (
    Payment,
    StripeDispute,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
)


def payment(amount: int = 2900, intent: str = "pi_1", customer: str | None = "cus_1") -> Payment:
    return Payment(intent, Money(amount, "usd"), customer, None, NOW)


def returned(status: str = "succeeded", amount: int = 900, intent: str = "pi_1") -> StripeRefund:
    return StripeRefund("re_1", intent, Money(amount, "usd"), status, None, None, NOW)


def disputed(status: str, amount: int = 2900, intent: str = "pi_1") -> StripeDispute:
    return StripeDispute("du_1", intent, Money(amount, "usd"), status, "fraudulent", NOW)


def invoiced(status: str = "paid", amount: int = 59900, **more: Any) -> StripeInvoice:
    """The first month of a subscription."""
    values: dict[str, Any] = {
        "invoice_id": "in_1",
        "stripe_customer": "cus_1",
        "subscription_id": "sub_1",
        "status": status,
        "reason": "subscription_create",
        "money": Money(amount, "usd"),
        "payment_intent": "pi_1",
        "period_start": NOW,
        "period_end": NOW + 31 * DAY,
    }
    return StripeInvoice(**values | more)


def subscribed(status: str = "active", **more: Any) -> StripeSubscription:
    values: dict[str, Any] = {
        "subscription_id": "sub_1",
        "stripe_customer": "cus_1",
        "status": status,
        "period_start": NOW,
        "period_end": NOW + 31 * DAY,
        "cancel_at_period_end": False,
        "anchor": NOW,
        "ended_at": None,
        "order_id": None,
        "invoice_id": "in_1",
    }
    return StripeSubscription(**values | more)
