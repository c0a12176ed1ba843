"""Webhooks, stored before they are answered and processed from here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.storage.tables import stripe_events

LEASE = timedelta(minutes=2)
TRY_AGAIN = timedelta(seconds=30)


class StripeEvent(NamedTuple):
    """A webhook is a hint that something about this object has changed."""

    event_id: str
    type: str
    object_id: str | None
    payload: dict[str, Any]


def store_event(tx: Connection, event: dict[str, Any], now: datetime) -> None:
    """Unique by Stripe's event id: a repeated webhook changes nothing."""
    thing = event["data"].get("object")
    object_id = thing.get("id") if isinstance(thing, dict) else None
    tx.execute(
        insert(stripe_events)
        .values(
            event_id=event["id"],
            type=event["type"],
            object_id=object_id if isinstance(object_id, str) else None,
            livemode=event["livemode"],
            payload=event,
            received_at=now,
            due_at=now,
        )
        .on_conflict_do_nothing()
    )


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


def read_event(tx: Connection, event_id: str) -> StripeEvent:
    columns = [stripe_events.c[name] for name in StripeEvent._fields]
    return StripeEvent(
        *tx.execute(select(*columns).where(stripe_events.c.event_id == event_id)).one()
    )


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
