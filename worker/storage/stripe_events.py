"""Webhooks, stored before they are answered and processed from here."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.billing.hints import Webhook
from worker.storage.tables import stripe_events

LEASE = timedelta(minutes=2)
TRY_AGAIN = timedelta(seconds=30)


def store_event(tx: Connection, webhook: Webhook, now: datetime) -> bool:
    """Unique by Stripe's event id: a repeated webhook changes nothing, and gives False."""
    row = webhook._asdict() | {"received_at": now, "due_at": now}
    stored = insert(stripe_events).values(row).on_conflict_do_nothing()
    return tx.execute(stored.returning(stripe_events.c.event_id)).first() is not None


def claim_due_events(tx: Connection, wall: datetime, limit: int) -> list[str]:
    """Lease events that wait to be processed."""
    free = or_(stripe_events.c.leased_until.is_(None), stripe_events.c.leased_until < wall)
    due = (
        select(stripe_events.c.event_id)
        .where(stripe_events.c.due_at <= wall, free)
        .order_by(stripe_events.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = list(tx.scalars(due))
    tx.execute(
        update(stripe_events)
        .where(stripe_events.c.event_id.in_(ids))
        .values(leased_until=wall + LEASE, tries=stripe_events.c.tries + 1)
    )
    return ids


def read_event(tx: Connection, event_id: str) -> tuple[str, str | None]:
    """What a stored event says: its type, and the object it is about."""
    row = tx.execute(
        select(stripe_events.c.type, stripe_events.c.object_id).where(
            stripe_events.c.event_id == event_id
        )
    ).one()
    return row.type, row.object_id


def finish_event(tx: Connection, event_id: str, result: str) -> None:
    tx.execute(
        update(stripe_events)
        .where(stripe_events.c.event_id == event_id)
        .values(due_at=None, leased_until=None, result=result)
    )


def postpone_event(tx: Connection, event_id: str, wall: datetime) -> None:
    """Stripe could not be asked about it now."""
    tx.execute(
        update(stripe_events)
        .where(stripe_events.c.event_id == event_id)
        .values(due_at=wall + TRY_AGAIN, leased_until=None)
    )
