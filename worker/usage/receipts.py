"""What has become of one event: asked by those who wait for it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from schemas.events import Event
from schemas.money import Money
from schemas.receipts import Receipt, receipt
from worker.storage.quarantine import refusal_of
from worker.storage.tables import events, fixes, waiting_fixes


def receipt_of(tx: Connection, event: Event, since: datetime) -> Receipt | None:
    """None as long as nothing has become of it. A refusal of before `since` is another story."""
    return settled(tx, event) or refused(tx, event, since) or waiting(tx, event)


def settled(tx: Connection, event: Event) -> Receipt | None:
    fix = tx.execute(
        select(fixes.c.outcome, fixes.c.price, fixes.c.currency, fixes.c.held_why)
        .join(
            events,
            (events.c.customer_id == fixes.c.customer_id) & (events.c.fix_id == fixes.c.fix_id),
        )
        .where(
            events.c.customer_id == event.customer_id,
            events.c.source == event.source,
            events.c.event_id == event.id,
            # The same id with another body is another story, which ends in quarantine.
            events.c.body_hash == event.body_hash,
        )
    ).first()
    if fix is None:
        return None
    charged = fix.outcome == "charged"
    return receipt(
        event,
        "settled",
        outcome=fix.outcome,
        price=Money(fix.price, fix.currency) if charged else None,
        detail=fix.held_why,
    )


def refused(tx: Connection, event: Event, since: datetime) -> Receipt | None:
    why = refusal_of(tx, event.customer_id, event.source, event.id, since)
    if why is None:
        return None
    return receipt(event, "quarantined", detail=f"{why.reason}: {why.detail}")


def waiting(tx: Connection, event: Event) -> Receipt | None:
    row = tx.execute(
        select(waiting_fixes.c.entry_key).where(
            waiting_fixes.c.customer_id == event.customer_id,
            waiting_fixes.c.source == event.source,
            waiting_fixes.c.event_id == event.id,
        )
    ).first()
    if row is None:
        return None
    return receipt(event, "waiting", detail="this customer is not known yet")
