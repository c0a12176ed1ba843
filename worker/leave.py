"""The life of a customer who leaves."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from worker.billing.book import Book
from worker.billing.orders import Order, OrderStatus, Wish
from worker.billing.payments import withdraw
from worker.clock import Clock
from worker.customers import CANCELLED, open_book, park
from worker.storage.customers import set_payment_method
from worker.storage.orders import OrderKey, requested_order, save_order
from worker.storage.post import post
from worker.stripe_gateway import StripeGateway
from worker.subscribe import carry_out, place_order


def cancel_customer(customer_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> None:
    """From this moment no card is charged, and new fixes are held; what is owed stays owed.

    A collection under way is cancelled at Stripe, and a subscription ends now.
    """
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        set_payment_method(tx, customer_id, None)
        book.has_payment_method = False
        park(journal, book, CANCELLED)
        if book.charge_in_flight is not None:
            withdraw(journal, book, book.charge_in_flight)
        order = end_subscription(tx, book, clock)
        post(tx, journal)
    if order is not None:
        carry_out(OrderKey(customer_id, order.order_id), engine, stripe, clock)


def end_subscription(tx: Connection, book: Book, clock: Clock) -> Order | None:
    """Whatever else was wanted of it; one that is only being begun is given up by its own order."""
    waiting = requested_order(tx, book.customer_id)
    if waiting is not None and waiting.wish in (Wish.BEGIN, Wish.END_NOW):
        return waiting
    if waiting is not None:
        waiting.status, waiting.message = OrderStatus.REFUSED, "the customer has left"
        waiting.due_at = waiting.leased_until = None
        save_order(tx, waiting)
    return None if book.subscription_id is None else place_order(tx, book, Wish.END_NOW, clock)
