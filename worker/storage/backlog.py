"""Held fixes whose customers may be able to pay by now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, and_, exists, or_, select

from worker.storage.tables import books, grants


def due_backlogs(tx: Connection, now: datetime, limit: int) -> list[str]:
    """Customers with held fixes and a credit, or the agreement to pay the backlog in money."""
    credit = exists().where(
        grants.c.customer_id == books.c.customer_id,
        grants.c.remaining > 0,
        or_(grants.c.expires_at.is_(None), grants.c.expires_at > now),
    )
    room = or_(books.c.spending_cap.is_(None), books.c.spent < books.c.spending_cap)
    agreed = or_(books.c.spending_cap.is_not(None), books.c.accepted_held_until.is_not(None))
    money = and_(books.c.has_payment_method, ~books.c.past_due, agreed, room)
    return list(
        tx.scalars(
            select(books.c.customer_id).where(books.c.held > 0, or_(credit, money)).limit(limit)
        )
    )
