"""Fixes of customers we do not know yet."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from schemas.inbox import Entry
from worker.storage import bulk
from worker.storage.tables import books, waiting_fixes

ENTRY = (
    waiting_fixes.c.entry_key,
    waiting_fixes.c.body,
    waiting_fixes.c.door,
    waiting_fixes.c.accepted_at,
    waiting_fixes.c.traceparent,
    waiting_fixes.c.key_id,
)


def take_waiting(tx: Connection, customer_ids: Iterable[str]) -> list[Entry]:
    """What waited for these customers, in the order it came; it leaves the table by this commit."""
    keys = [(customer_id,) for customer_id in customer_ids]
    theirs = {
        each.customer_id for each in bulk.find(tx, waiting_fixes, Waiting, ("customer_id",), keys)
    }
    if not theirs:
        return []
    taken = delete(waiting_fixes).where(waiting_fixes.c.customer_id.in_(theirs))
    rows = tx.execute(taken.returning(*ENTRY))
    return sorted((Entry(*row) for row in rows), key=order_of_arrival)


class Waiting(NamedTuple):
    """Whose it is."""

    customer_id: str


def order_of_arrival(entry: Entry) -> tuple[datetime, int, str]:
    """Within a millisecond stream ids end in a counter, so the shorter one came first."""
    return entry.accepted_at, len(entry.key), entry.key


def due_waiting(tx: Connection, limit: int) -> list[str]:
    """Customers who have come to be known while their fixes waited."""
    return list(
        tx.scalars(
            select(waiting_fixes.c.customer_id)
            .distinct()
            .join(books, books.c.customer_id == waiting_fixes.c.customer_id)
            .limit(limit)
        )
    )
