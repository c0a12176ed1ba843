"""The life of a subscription's news: what Stripe tells of it, and of its invoices, is booked."""

from __future__ import annotations

from sqlalchemy import Engine

from worker.billing.stripe_objects import StripeInvoice
from worker.billing.subscriptions import (
    GRANTING,
    PAID,
    PaidPeriod,
    included_key,
    take_invoice,
    take_period,
    take_subscription,
)
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import has_payment
from worker.storage.customers import owner_of
from worker.storage.grants import has_grant
from worker.storage.post import post
from worker.storage.subscriptions import save_invoice, save_subscription, status_of_invoice
from worker.stripe_gateway import StripeGateway


def follow_invoice(invoice_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """Book it if it is paid, once, however often and late we hear of it; it may bring credits."""
    seen = stripe.invoice(invoice_id)
    paid = period_of(seen, stripe)
    subscription = stripe.subscription(seen.subscription_id or "") if paid else None
    with engine.begin() as tx:
        customer_id = owner_of(tx, seen.stripe_customer)
        if customer_id is None:
            return "no customer of ours"
        journal, book = open_book(tx, customer_id, clock)
        was = status_of_invoice(tx, customer_id, invoice_id)
        if was == PAID:
            return "invoice paid"  # final: what was read may be older than what is known
        here = has_payment(tx, customer_id, seen.payment_intent or invoice_id)
        if paid is not None and subscription is not None:
            # Before its money, which so counts in the cycle that it is for.
            key = included_key(subscription.subscription_id, paid.start)
            take_period(journal, book, subscription, paid, has_grant(tx, customer_id, key))
        if not take_invoice(journal, book, seen, was, here):
            return "cannot be booked"
        post(tx, journal)
        save_invoice(tx, customer_id, seen, clock.now())
        if subscription is not None:
            save_subscription(tx, customer_id, subscription, clock.now())
    return f"invoice {seen.status}"


def period_of(seen: StripeInvoice, stripe: StripeGateway) -> PaidPeriod | None:
    """The period it pays for; None unless it is paid, and for a plan of ours."""
    if seen.status != PAID or seen.subscription_id is None or seen.reason not in GRANTING:
        return None
    known = (stripe.sold_by(price) for price in seen.prices)
    sold = next((each for each in known if each is not None), None)
    return PaidPeriod(seen.invoice_id, sold, seen.period_start, seen.period_end) if sold else None


def follow_subscription(
    subscription_id: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> str:
    seen = stripe.subscription(subscription_id)
    with engine.begin() as tx:
        customer_id = owner_of(tx, seen.stripe_customer)
        if customer_id is None:
            return "no customer of ours"
        journal, book = open_book(tx, customer_id, clock)
        take_subscription(journal, book, seen)
        post(tx, journal)
        save_subscription(tx, customer_id, seen, clock.now())
    return f"subscription {seen.status}"
