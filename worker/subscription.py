"""The life of a subscription's news: its invoices are booked when they are paid."""

from __future__ import annotations

from sqlalchemy import Engine

from worker.billing.subscriptions import PAID, take_invoice
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import has_payment
from worker.storage.customers import owner_of
from worker.storage.post import post
from worker.storage.subscriptions import save_invoice, save_subscription, status_of_invoice
from worker.stripe_gateway import StripeGateway


def follow_invoice(invoice_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """Book it if it is paid, once, however often and late we hear of it."""
    seen = stripe.invoice(invoice_id)
    with engine.begin() as tx:
        customer_id = owner_of(tx, seen.stripe_customer)
        if customer_id is None:
            return "no customer of ours"
        journal, book = open_book(tx, customer_id, clock)
        was = status_of_invoice(tx, customer_id, invoice_id)
        if was == PAID:
            return "invoice paid"  # final: what was read may be older than what is known
        here = has_payment(tx, customer_id, seen.payment_intent or invoice_id)
        if not take_invoice(journal, book, seen, was, here):
            return "cannot be booked"
        post(tx, journal)
        save_invoice(tx, customer_id, seen, clock.now())
    return f"invoice {seen.status}"


def follow_subscription(
    subscription_id: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> str:
    seen = stripe.subscription(subscription_id)
    with engine.begin() as tx:
        customer_id = owner_of(tx, seen.stripe_customer)
        if customer_id is None:
            return "no customer of ours"
        save_subscription(tx, customer_id, seen, clock.now())
    return f"subscription {seen.status}"
