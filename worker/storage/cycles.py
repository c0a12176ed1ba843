"""Cycles: whose time has come, and those that wait for their statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select, tuple_

from worker.billing.cycles import CycleStatus
from worker.storage.statements import CycleKey
from worker.storage.tables import books, cycles, parked_entries


class DueBook(NamedTuple):
    """A customer whose credits expire, or whose cycle ends or closes."""

    due_at: datetime
    customer_id: str


def due_books(tx: Connection, now: datetime, limit: int, after: DueBook | None) -> list[DueBook]:
    """The next page, oldest first; `now` is the wall's."""
    due = (
        select(books.c.due_at, books.c.customer_id)
        .where(books.c.due_at <= now)
        .order_by(books.c.due_at, books.c.customer_id)
        .limit(limit)
    )
    if after is not None:
        due = due.where(tuple_(books.c.due_at, books.c.customer_id) > tuple_(*after))
    return [DueBook(*row) for row in tx.execute(due)]


def oldest_due(engine: Engine, now: datetime) -> datetime | None:
    """Since when the customer has waited whom the sweep should have brought up first."""
    with engine.begin() as tx:
        oldest: datetime | None = tx.scalar(
            select(func.min(books.c.due_at)).where(books.c.due_at <= now)
        )
    return oldest


class Unstated(NamedTuple):
    """A closed cycle without a statement."""

    closed_at: datetime
    customer_id: str
    number: int

    @property
    def key(self) -> CycleKey:
        return CycleKey(self.customer_id, self.number)


def unstated_cycles(tx: Connection, limit: int, after: Unstated | None = None) -> list[Unstated]:
    """The next page, in the order in which they were closed."""
    place = (cycles.c.closed_at, cycles.c.customer_id, cycles.c.number)
    waiting = (
        select(*place)
        .where(cycles.c.status == CycleStatus.CLOSED, cycles.c.stated_at.is_(None))
        .order_by(*place)
        .limit(limit)
    )
    if after is not None:
        waiting = waiting.where(tuple_(*place) > tuple_(*after))
    return [Unstated(*row) for row in tx.execute(waiting)]


def parked_since(tx: Connection, customer_ids: Sequence[str]) -> dict[str, datetime]:
    """What the HTTP door took in while the inbox was away, and is not settled yet: since when."""
    waiting = (
        select(parked_entries.c.customer_id, func.min(parked_entries.c.accepted_at))
        .where(parked_entries.c.customer_id.in_(customer_ids))
        .group_by(parked_entries.c.customer_id)
    )
    return {row.customer_id: row[1] for row in tx.execute(waiting)}
