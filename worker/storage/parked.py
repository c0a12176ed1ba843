"""Entries that the HTTP door took in while Redis was away."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from schemas.inbox import Entry
from worker.storage.tables import parked_entries


def park(tx: Connection, customer_id: str, entry: Entry) -> None:
    tx.execute(
        insert(parked_entries).values(
            entry_key=entry.key,
            customer_id=customer_id,
            body=entry.body,
            door=entry.door,
            traceparent=entry.traceparent,
            accepted_at=entry.accepted_at,
        )
    )


def parked(tx: Connection, limit: int) -> list[Entry]:
    """The oldest parked entries."""
    rows = select(
        parked_entries.c.entry_key,
        parked_entries.c.body,
        parked_entries.c.door,
        parked_entries.c.accepted_at,
        parked_entries.c.traceparent,
    ).order_by(parked_entries.c.accepted_at)
    return [Entry(*row) for row in tx.execute(rows.limit(limit))]


def forget_parked(tx: Connection, entry: Entry) -> None:
    tx.execute(delete(parked_entries).where(parked_entries.c.entry_key == entry.key))
