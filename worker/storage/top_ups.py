"""Top-ups: credits being bought."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, insert, or_, select, update

from worker.billing.top_ups import TopUp, TopUpStatus
from worker.storage.tables import top_ups

LEASE = timedelta(seconds=120)  # longer than all calls of one try may take


class TopUpKey(NamedTuple):
    """Whose top-up, and which."""

    customer_id: str
    top_up_id: str


def add_top_up(tx: Connection, top_up: TopUp) -> None:
    tx.execute(insert(top_ups).values(asdict(top_up)))


def find_top_up(tx: Connection, key: TopUpKey) -> TopUp | None:
    return one(tx, is_top_up(key))


def top_up_paid_by(tx: Connection, payment_intent: str) -> TopUp | None:
    return one(tx, top_ups.c.payment_intent == payment_intent)


def one(tx: Connection, which: ColumnElement[bool]) -> TopUp | None:
    row = tx.execute(select(top_ups).where(which)).mappings().first()
    return top_up_from(dict(row)) if row else None


def keep_intent(tx: Connection, key: TopUpKey, payment_intent: str) -> str:
    """The one intent of this top-up that may be confirmed: the first that was kept."""
    first = func.coalesce(top_ups.c.payment_intent, payment_intent)
    kept = update(top_ups).where(is_top_up(key)).values(payment_intent=first)
    return str(tx.scalar(kept.returning(top_ups.c.payment_intent)))


def save_top_up(tx: Connection, top_up: TopUp) -> None:
    key = TopUpKey(top_up.customer_id, top_up.top_up_id)
    tx.execute(update(top_ups).where(is_top_up(key)).values(asdict(top_up)))


def claim_due_top_ups(tx: Connection, wall: datetime, limit: int) -> list[TopUpKey]:
    """Lease top-ups whose payment is unclear."""
    due = (
        select(top_ups.c.customer_id, top_ups.c.top_up_id)
        .where(
            top_ups.c.due_at <= wall,
            or_(top_ups.c.leased_until.is_(None), top_ups.c.leased_until < wall),
        )
        .order_by(top_ups.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [TopUpKey(*row) for row in tx.execute(due)]
    for key in keys:
        tx.execute(update(top_ups).where(is_top_up(key)).values(leased_until=wall + LEASE))
    return keys


def is_top_up(key: TopUpKey) -> ColumnElement[bool]:
    return (top_ups.c.customer_id == key.customer_id) & (top_ups.c.top_up_id == key.top_up_id)


def top_up_from(row: dict[str, Any]) -> TopUp:
    return TopUp(**row | {"status": TopUpStatus(row["status"])})
