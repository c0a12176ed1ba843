"""The life of a customer who is forgotten: who they were goes, what happened stays."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from worker.clock import Clock
from worker.customers import CANCELLED, unknown
from worker.storage.books import open_books
from worker.storage.customers import Customer, find_customer
from worker.storage.erasure import erase, under_way
from worker.stripe_gateway import StripeGateway


class NotErasable(ValueError):
    """Something of this customer's is not done with; the message says what to do first."""


def check_erasable(customer_id: str, engine: Engine) -> None:
    """Raises NotErasable, CustomerProblem."""
    with engine.begin() as tx:
        erasable(tx, customer_id)


def erase_customer(
    customer_id: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> datetime:
    """When it was done first; repeatable. The ledger, its chain and its ids are not touched.

    Raises NotErasable, CustomerProblem, StripeRefused.
    """
    with engine.begin() as tx:
        customer = erasable(tx, customer_id)
    if customer.stripe_customer is not None:
        stripe.delete_customer(customer.stripe_customer)
    with engine.begin() as tx:
        return erase(tx, erasable(tx, customer_id), clock.wall())


def erasable(tx: Connection, customer_id: str) -> Customer:
    """The customer, whose row is locked so that nothing begins meanwhile."""
    book = open_books(tx, [customer_id]).get(customer_id)
    customer = find_customer(tx, customer_id)
    if book is None or customer is None:
        raise unknown(customer_id)
    if book.parked_why != CANCELLED:
        if book.subscription_id is not None:
            why = "has a subscription that runs"
        else:
            why = f"has {book.held} fixes that wait" if book.held else "has not left"
        raise NotErasable(f"{customer_id} {why}: `fixbill customers cancel {customer_id}` first")
    unfinished = under_way(tx, customer_id)
    if unfinished is None and book.subscription_id is not None:
        unfinished = f"subscription {book.subscription_id}"
    if unfinished is not None:
        raise NotErasable(
            f"the {unfinished} of {customer_id} is not done with: erase it after that"
        )
    return customer
