"""Contests: written by the customer's portal, decided by the operator."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.billing.contests import Contest, Decision
from worker.billing.fix import Fix
from worker.storage.tables import books, contests, fixes


class Contested(NamedTuple):
    """A fix, and what time it is for its customer when it is asked for."""

    fix: Fix
    now: datetime


def add_contest(tx: Connection, contest: Contest) -> bool:
    """False: one about this fix is open, or one was opened under this key."""
    added = insert(contests).values(asdict(contest)).on_conflict_do_nothing()
    return tx.execute(added.returning(contests.c.contest_id)).first() is not None


def contest_under(tx: Connection, customer_id: str, idempotency_key: str) -> Contest | None:
    return one(
        tx,
        contests.c.customer_id == customer_id,
        contests.c.idempotency_key == idempotency_key,
    )


def open_contest_of(tx: Connection, customer_id: str, fix_id: str) -> Contest | None:
    return one(
        tx,
        contests.c.customer_id == customer_id,
        contests.c.fix_id == fix_id,
        contests.c.decided_at.is_(None),
    )


def find_contest(tx: Connection, contest_id: str) -> Contest | None:
    return one(tx, contests.c.contest_id == contest_id)


def one(tx: Connection, *conditions: object) -> Contest | None:
    row = tx.execute(select(contests).where(*conditions)).mappings().first()  # type: ignore[arg-type]
    return Contest(**row) if row else None


def contests_of(tx: Connection, customer_id: str, limit: int, before: str | None) -> list[Contest]:
    """The newest of a customer; their ids sort by when they were made."""
    found = select(contests).where(contests.c.customer_id == customer_id)
    if before is not None:
        found = found.where(contests.c.contest_id < before)
    newest = found.order_by(contests.c.contest_id.desc()).limit(limit)
    return [Contest(**row) for row in tx.execute(newest).mappings()]


def contests_about(tx: Connection, customer_id: str, fix_id: str) -> list[Contest]:
    """Oldest first."""
    found = select(contests).where(
        contests.c.customer_id == customer_id, contests.c.fix_id == fix_id
    )
    return [Contest(**row) for row in tx.execute(found.order_by(contests.c.contest_id)).mappings()]


def all_contests(tx: Connection, limit: int, *, decided: bool) -> list[Contest]:
    """Those that wait, the oldest first; with `decided` all of them, the newest first."""
    found = select(contests)
    if decided:
        found = found.order_by(contests.c.contest_id.desc())
    else:
        found = found.where(contests.c.decided_at.is_(None)).order_by(contests.c.contest_id)
    return [Contest(**row) for row in tx.execute(found.limit(limit)).mappings()]


def count_open(engine: Engine) -> int:
    waiting = select(func.count()).select_from(contests).where(contests.c.decided_at.is_(None))
    with engine.begin() as tx:
        return tx.scalar(waiting) or 0


def decide_contest(
    tx: Connection, contest: Contest, decision: Decision, why: str | None, now: datetime
) -> bool:
    """False: it was decided before."""
    decided = (
        update(contests)
        .where(
            contests.c.customer_id == contest.customer_id,
            contests.c.contest_id == contest.contest_id,
            contests.c.decided_at.is_(None),
        )
        .values(decision=decision, decided_at=now, decided_why=why)
        .returning(contests.c.contest_id)
    )
    return tx.execute(decided).first() is not None


def contested_fix(tx: Connection, customer_id: str, fix_id: str, now: datetime) -> Contested | None:
    """The fix as it stands, at this moment of the stack's business time."""
    row = (
        tx.execute(
            select(fixes, books.c.clock_offset)
            .join(books, books.c.customer_id == fixes.c.customer_id)
            .where(fixes.c.customer_id == customer_id, fixes.c.fix_id == fix_id)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    found = dict(row)
    return Contested(now=now + found.pop("clock_offset"), fix=Fix(**found))
