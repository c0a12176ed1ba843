"""Stripe's fees: whose payments they belong to, which are booked, how far they were read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.postgresql import insert

from worker.storage.tables import customers, fees_read, transfers

PAYMENTS = ("pay", "unapplied_in")


def payers_of(tx: Connection, intents: Iterable[str]) -> dict[str, str]:
    """Payment intent → the customer in whose ledger it is."""
    rows = tx.execute(
        select(transfers.c.source_key, transfers.c.customer_id).where(
            transfers.c.kind.in_(PAYMENTS), transfers.c.source_key.in_(list(intents))
        )
    )
    return {row.source_key: row.customer_id for row in rows}


def booked_fees(tx: Connection, customer_ids: Iterable[str], ids: Iterable[str]) -> set[str]:
    """Of these balance transactions of Stripe, those that are in the ledger."""
    return set(
        tx.scalars(
            select(transfers.c.source_key).where(
                transfers.c.customer_id.in_(list(customer_ids)),
                transfers.c.kind.in_(("fee", "fee_returned")),
                transfers.c.source_key.in_(list(ids)),
            )
        )
    )


def known_at_stripe(tx: Connection, stripe_customers: Iterable[str]) -> set[str]:
    """Those who are customers of ours."""
    known = customers.c.stripe_customer
    return set(tx.scalars(select(known).where(known.in_(list(stripe_customers)))))


def first_payment(tx: Connection) -> datetime | None:
    """When the oldest in the ledger was booked."""
    found: datetime | None = tx.scalar(
        select(func.min(transfers.c.happened_at)).where(transfers.c.kind.in_(PAYMENTS))
    )
    return found


def read_until(tx: Connection) -> datetime | None:
    """None: nothing has been read yet."""
    until: datetime | None = tx.scalar(select(fees_read.c.until))
    return until


def save_read_until(tx: Connection, until: datetime) -> None:
    statement = insert(fees_read).values(one=True, until=until)
    tx.execute(statement.on_conflict_do_update(index_elements=["one"], set_={"until": until}))
