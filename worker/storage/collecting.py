"""The big red switch: whether cards are charged at all."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from worker.storage.tables import collecting


def why_stopped(tx: Connection) -> str | None:
    """Why nothing is collected; None while it is."""
    why: str | None = tx.scalar(select(collecting.c.stopped_why))
    return why


def is_stopped(engine: Engine) -> bool:
    with engine.begin() as tx:
        return why_stopped(tx) is not None


def running_since(tx: Connection) -> datetime:
    """When collecting was started by hand; the circuit breaker counts from there."""
    return tx.scalar(select(collecting.c.started_at)) or datetime.min.replace(tzinfo=UTC)


def switch(
    tx: Connection,
    *,
    stopped_at: datetime | None = None,
    why: str | None = None,
    started_at: datetime | None = None,
) -> None:
    """Stop with a reason, or start. Times are wall times."""
    row = {"one": True, "stopped_at": stopped_at, "stopped_why": why, "started_at": started_at}
    statement = insert(collecting).values(row)
    tx.execute(statement.on_conflict_do_update(index_elements=["one"], set_=row))
