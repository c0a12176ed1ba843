"""Quarantine: what could not be settled, with its bytes and the reason, until a person decides."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, func, select, update

from schemas.inbox import Entry
from worker.storage.tables import quarantine


class Quarantined(NamedTuple):
    """One entry in quarantine."""

    quarantine_id: str
    reason: str
    detail: str
    door: str
    customer_id: str | None
    event_id: str | None
    body: bytes
    accepted_at: datetime
    recorded_at: datetime
    replayed_at: datetime | None


REPLAYED = ("body", "accepted_at", "traceparent", "key_id", "signature")
COLUMNS = [quarantine.c[name] for name in Quarantined._fields]


def list_quarantine(tx: Connection, limit: int) -> list[Quarantined]:
    """The newest that wait for a person."""
    standing = select(*COLUMNS).where(quarantine.c.replayed_at.is_(None))
    newest = standing.order_by(quarantine.c.recorded_at.desc(), quarantine.c.quarantine_id)
    return [Quarantined(*row) for row in tx.execute(newest.limit(limit))]


def find_quarantined(tx: Connection, quarantine_id: str) -> Quarantined | None:
    row = tx.execute(select(*COLUMNS).where(quarantine.c.quarantine_id == quarantine_id)).first()
    return Quarantined(*row) if row else None


def count_standing(engine: Engine) -> int:
    with engine.begin() as tx:
        standing = select(func.count()).select_from(quarantine)
        return tx.scalar(standing.where(quarantine.c.replayed_at.is_(None))) or 0


def take_for_replay(tx: Connection, quarantine_id: str, now: datetime) -> Entry | None:
    """The entry to settle again, under a key of its own; None if it was replayed before."""
    row = tx.execute(
        update(quarantine)
        .where(quarantine.c.quarantine_id == quarantine_id, quarantine.c.replayed_at.is_(None))
        .values(replayed_at=now)
        .returning(*(quarantine.c[name] for name in REPLAYED))
    ).first()
    return Entry(f"replay/{quarantine_id}", door="replay", **row._asdict()) if row else None


def refusal_of(
    tx: Connection, customer_id: str, source: str, event_id: str, since: datetime
) -> Any:
    """Why this event, accepted since then, stands in quarantine, if it does."""
    return tx.execute(
        select(quarantine.c.reason, quarantine.c.detail).where(
            quarantine.c.customer_id == customer_id,
            quarantine.c.source == source,
            quarantine.c.event_id == event_id,
            quarantine.c.accepted_at >= since,
            quarantine.c.replayed_at.is_(None),
        )
    ).first()
