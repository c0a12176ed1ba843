"""Fixes of customers we do not know yet."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select

from schemas.events import parse_event
from schemas.inbox import Entry
from worker.billing.fix import Arrival
from worker.storage.tables import books, waiting_fixes


def take_waiting(tx: Connection, customer_ids: Iterable[str]) -> list[Arrival]:
    """What waited for these customers, in the order it came; it leaves the table by this commit."""
    rows = tx.execute(
        delete(waiting_fixes)
        .where(waiting_fixes.c.customer_id.in_(list(customer_ids)))
        .returning(
            waiting_fixes.c.entry_key,
            waiting_fixes.c.body,
            waiting_fixes.c.door,
            waiting_fixes.c.accepted_at,
            waiting_fixes.c.traceparent,
        )
    )
    entries = sorted((Entry(*row) for row in rows), key=lambda entry: entry.accepted_at)
    return [Arrival(parse_event(entry.body), entry) for entry in entries]


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
