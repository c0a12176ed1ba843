"""Customers: who they are, and how they come to have a book."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from worker.billing.cycles import SWEPT_WITHIN, CycleStatus, month_of, spread
from worker.billing.ledger import NO_HEAD
from worker.storage.clock import how_far_ahead
from worker.storage.tables import books, customers, cycles


class Customer(NamedTuple):
    """Who a customer is; what they owe and own is in their book."""

    customer_id: str
    name: str | None
    email: str | None
    stripe_customer: str | None
    payment_method: str | None
    livemode: bool
    created_at: datetime
    erased_at: datetime | None = None


def add_customer(tx: Connection, customer: Customer) -> bool:
    """False if this id is taken."""
    added = tx.execute(
        upsert(customers)
        .values(customer._asdict())
        .on_conflict_do_nothing()
        .returning(customers.c.customer_id)
    )
    return added.first() is not None


def open_first_book(
    tx: Connection, customer_id: str, plan: str, plan_version: object, currency: str, at: datetime
) -> None:
    """`at` is the wall's time; the customer shares the business clock of the stack."""
    ahead = how_far_ahead(tx)
    first = month_of(at + ahead)
    tx.execute(
        insert(books).values(
            customer_id=customer_id,
            plan=plan,
            plan_version=plan_version,
            currency=currency,
            head=NO_HEAD,
            clock_offset=ahead,
            cycle_start=first.start,
            cycle_end=first.end,
            due_at=first.end - ahead + spread(customer_id, SWEPT_WITHIN),
        )
    )
    tx.execute(
        insert(cycles).values(
            customer_id=customer_id,
            number=1,
            starts_at=first.start,
            ends_at=first.end,
            status=CycleStatus.OPEN,
        )
    )


def find_customer(tx: Connection, customer_id: str) -> Customer | None:
    row = tx.execute(select(customers).where(customers.c.customer_id == customer_id)).first()
    return Customer(*row) if row else None


def keep_stripe_customer(tx: Connection, customer_id: str, stripe_customer: str) -> str:
    """The one that stands: the first, when two were made at once."""
    this = customers.c.customer_id == customer_id
    tx.execute(
        update(customers)
        .where(this, customers.c.stripe_customer.is_(None))
        .values(stripe_customer=stripe_customer)
    )
    kept: str = tx.execute(select(customers.c.stripe_customer).where(this)).scalar_one()
    return kept


def set_payment_method(tx: Connection, customer_id: str, payment_method: str | None) -> None:
    tx.execute(
        update(customers)
        .where(customers.c.customer_id == customer_id)
        .values(payment_method=payment_method)
    )


def owner_of(tx: Connection, stripe_customer: str | None) -> str | None:
    """Our customer behind one of Stripe's; a payment without a customer is nobody's."""
    if stripe_customer is None:
        return None
    found: str | None = tx.scalar(
        select(customers.c.customer_id).where(customers.c.stripe_customer == stripe_customer)
    )
    return found


def owner_of_method(tx: Connection, payment_method: str) -> str | None:
    """The customer who is charged through this payment method."""
    found: str | None = tx.scalar(
        select(customers.c.customer_id).where(customers.c.payment_method == payment_method)
    )
    return found


def why_parked(tx: Connection, customer_id: str) -> str | None:
    """Why nothing is collected from this customer; None while it is."""
    why: str | None = tx.scalar(
        select(books.c.parked_why).where(books.c.customer_id == customer_id)
    )
    return why


def count_parked(engine: Engine, other_than: str) -> int:
    """Customers from whom nothing is collected, for another reason than this."""
    parked = (
        select(func.count())
        .select_from(books)
        .where(books.c.parked_at.is_not(None), books.c.parked_why != other_than)
    )
    with engine.begin() as tx:
        return tx.scalar(parked) or 0
