"""The business clocks: of the whole stack, and each customer's own lead on the wall's.

Every book carries its customer's lead, which is all that opening a book and looking for due rows
need to know. New customers take the stack's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from worker.storage.tables import books, charges, clock, refunds

NOT_AHEAD = timedelta(0)


# What falls due by business time has come only before this moment: an index finds that, which the
# lead of each row's own customer prevents.
ANYONES_LEAD = select(func.max(books.c.clock_offset)).where(books.c.clock_offset > NOT_AHEAD)
LONGEST_LEAD = func.coalesce(ANYONES_LEAD.scalar_subquery(), literal(NOT_AHEAD))


def how_far_ahead(tx: Connection) -> timedelta:
    """How far the stack's business time is ahead of the wall's."""
    return tx.scalar(select(clock.c.ahead)) or NOT_AHEAD


def lead_of(tx: Connection, customer_id: str) -> timedelta | None:
    """How far this customer's business time is ahead; None for one we do not know."""
    lead: timedelta | None = tx.scalar(
        select(books.c.clock_offset).where(books.c.customer_id == customer_id)
    )
    return lead


def move_clock(tx: Connection, by: timedelta) -> None:
    """Everyone's business time goes forward, that of future customers too."""
    moved = insert(clock).values(one=True, ahead=by)
    tx.execute(
        moved.on_conflict_do_update(
            index_elements=["one"], set_={"ahead": clock.c.ahead + moved.excluded.ahead}
        )
    )
    tx.execute(update(books).values(ahead_by(by)))


def move_clock_of(tx: Connection, customer_id: str, by: timedelta) -> bool:
    """One customer's; False if there is none of this id."""
    moved = update(books).where(books.c.customer_id == customer_id).values(ahead_by(by))
    return tx.execute(moved).rowcount > 0


def next_due(tx: Connection, now: datetime, customer_id: str | None) -> timedelta | None:
    """How far away the next thing is that falls due by business time; None: there is nothing."""
    charged = select(func.min(charges.c.due_at - books.c.clock_offset)).join(
        books, books.c.customer_id == charges.c.customer_id
    )
    returned = select(func.min(refunds.c.due_at - books.c.clock_offset)).join(
        books, books.c.customer_id == refunds.c.customer_id
    )
    found = [select(func.min(books.c.due_at)), charged, returned]
    if customer_id is not None:
        found = [each.where(books.c.customer_id == customer_id) for each in found]
    moments = [at - now for at in map(tx.scalar, found) if at is not None]
    return min((each for each in moments if each > NOT_AHEAD), default=None)


def ahead_by(by: timedelta) -> dict[str, object]:
    return {"clock_offset": books.c.clock_offset + by, "due_at": books.c.due_at - by}
