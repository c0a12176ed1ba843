"""What is due now, and what waits for a person: over all customers, counted and listed alike.

Every line of worker/due.py that has rows is here under the same name. Those are read as the sweep
finds them, leases apart: a row that is being worked on is still due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    bindparam,
    func,
    select,
)

from worker.billing.charges import FINAL, ChargeStatus
from worker.billing.cycles import CycleStatus
from worker.storage.clock import LONGEST_LEAD
from worker.storage.tables import (
    attempts,
    books,
    charges,
    contests,
    cycles,
    disputes,
    drifts,
    parked_entries,
    quarantine,
    refunds,
    stripe_events,
    subscription_orders,
    top_ups,
    waiting_fixes,
)

COUNT_MAX = 10_000  # rows are counted no further
LISTED_MAX = 100

# Business time and the wall's, which piles go by as the sweeps do.
NOW: BindParameter[datetime] = bindparam("now")
WALL: BindParameter[datetime] = bindparam("wall")
HOUR_AGO: BindParameter[datetime] = bindparam("hour_ago")
CANCELLED: BindParameter[str] = bindparam("cancelled")
OF_BOOK = NOW + books.c.clock_offset
OF_ANYONE = NOW + LONGEST_LEAD


class Pile(NamedTuple):
    """Rows, and since when each has lain there."""

    rows: FromClause
    since: ColumnElement[Any]
    columns: Sequence[ColumnElement[Any]]  # that are shown
    where: Sequence[ColumnElement[bool]]
    by: str | None = None  # the column by which they are told apart
    newest_first: bool = False
    is_business_time: bool = False  # `since`; else the wall's


def with_book(table: Any) -> FromClause:
    return table.join(books, books.c.customer_id == table.c.customer_id)  # type: ignore[no-any-return]


def named(table: Any, *names: str) -> list[ColumnElement[Any]]:
    return [table.c[name] for name in names]


DUE_PILES = {
    "charge": Pile(
        with_book(charges),
        charges.c.due_at - books.c.clock_offset,
        named(charges, "customer_id", "charge_id", "status", "leased_until"),
        [
            charges.c.due_at <= OF_ANYONE,
            charges.c.due_at <= OF_BOOK,
            charges.c.status != ChargeStatus.WITHDRAWING,
            books.c.parked_at.is_(None),
        ],
        is_business_time=True,
    ),
    "withdrawal": Pile(
        with_book(charges),
        charges.c.due_at - books.c.clock_offset,
        named(charges, "customer_id", "charge_id", "leased_until"),
        [
            charges.c.due_at <= OF_ANYONE,
            charges.c.due_at <= OF_BOOK,
            charges.c.status == ChargeStatus.WITHDRAWING,
        ],
        is_business_time=True,
    ),
    "refund": Pile(
        with_book(refunds),
        refunds.c.due_at - books.c.clock_offset,
        named(refunds, "customer_id", "refund_id", "charge_id", "status", "message"),
        [refunds.c.due_at <= OF_ANYONE, refunds.c.due_at <= OF_BOOK],
        is_business_time=True,
    ),
    "stripe_event": Pile(
        stripe_events,
        stripe_events.c.due_at,
        named(stripe_events, "event_id", "type", "object_id", "tries", "received_at"),
        [stripe_events.c.due_at <= WALL],
    ),
    "subscription_order": Pile(
        subscription_orders,
        subscription_orders.c.due_at,
        named(subscription_orders, "customer_id", "order_id", "wish", "tries"),
        [subscription_orders.c.due_at <= WALL],
    ),
    "top_up": Pile(
        top_ups,
        top_ups.c.due_at,
        named(top_ups, "customer_id", "top_up_id", "payment_intent", "tries"),
        [top_ups.c.due_at <= WALL],
    ),
    "cycle": Pile(
        books,
        books.c.due_at,
        named(books, "customer_id", "plan", "cycle", "cycle_end"),
        [books.c.due_at <= NOW],
        is_business_time=True,
    ),
    "statement": Pile(
        cycles,
        cycles.c.closed_at,
        named(cycles, "customer_id", "number", "ends_at"),
        [cycles.c.status == CycleStatus.CLOSED, cycles.c.stated_at.is_(None)],
        is_business_time=True,
    ),
    "waiting_fix": Pile(
        with_book(waiting_fixes),
        waiting_fixes.c.accepted_at,
        named(waiting_fixes, "customer_id", "source", "event_id", "door"),
        [],
    ),
    "parked_entry": Pile(
        parked_entries,
        parked_entries.c.accepted_at,
        named(parked_entries, "customer_id", "entry_key", "door"),
        [],
    ),
}

PERSON_PILES = {
    "quarantine": Pile(
        quarantine,
        quarantine.c.recorded_at,
        named(quarantine, "quarantine_id", "customer_id", "reason", "detail"),
        [quarantine.c.replayed_at.is_(None)],
        by="reason",
        newest_first=True,
        is_business_time=True,
    ),
    "contests": Pile(
        contests,
        contests.c.opened_at,
        named(contests, "customer_id", "contest_id", "fix_id", "reason"),
        [contests.c.decided_at.is_(None)],
        is_business_time=True,
    ),
    "disputes": Pile(
        disputes,
        disputes.c.opened_at,
        named(disputes, "customer_id", "dispute_id", "charge_id", "amount", "currency", "reason"),
        [disputes.c.status.endswith("needs_response")],
    ),
    "drifts": Pile(
        drifts,
        drifts.c.found_at,
        named(drifts, "kind", "subject", "customer_id", "evidence"),
        [drifts.c.resolved_at.is_(None)],
        by="kind",
    ),
    "customers": Pile(
        books,
        books.c.parked_at,
        named(books, "customer_id", "plan", "parked_why", "receivable", "currency"),
        [books.c.parked_at.is_not(None), books.c.parked_why != CANCELLED],
    ),
}

# Looked through, rather than worked off.
OTHER_PILES = {
    "charges": Pile(
        charges,
        charges.c.opened_at,
        named(charges, "customer_id", "charge_id", "status", "amount", "currency", "due_at"),
        [charges.c.status.not_in(FINAL)],
        by="status",
        newest_first=True,
        is_business_time=True,
    ),
    "attempts": Pile(
        attempts,
        attempts.c.started_at,
        named(attempts, "customer_id", "charge_id", "number", "answer", "code", "message"),
        [attempts.c.started_at > HOUR_AGO],
        by="answer",
        newest_first=True,
    ),
}

PILES = {**DUE_PILES, **PERSON_PILES, **OTHER_PILES}


class Height(NamedTuple):
    """How many there are, up to COUNT_MAX, and since when the oldest of them has been there."""

    number: int
    oldest: datetime | None


def height_of(tx: Connection, pile: Pile, values: Mapping[str, Any]) -> Height:
    oldest_first = found(pile, pile.since.label("since")).order_by(pile.since)
    rows = oldest_first.limit(COUNT_MAX).subquery()
    count, oldest = tx.execute(select(func.count(), func.min(rows.c.since)), values).one()
    return Height(count, oldest)


def parts_of(tx: Connection, pile: Pile, values: Mapping[str, Any]) -> list[tuple[str, int]]:
    """How many there are of each kind, the most first."""
    assert pile.by is not None  # noqa: S101 - asked only of those
    rows = found(pile, pile.rows.c[pile.by].label("kind")).limit(COUNT_MAX).subquery()
    kinds = select(rows.c.kind, func.count()).group_by(rows.c.kind).order_by(func.count().desc())
    return [(kind or "none yet", count) for kind, count in tx.execute(kinds, values)]


def rows_of(
    tx: Connection, pile: Pile, values: Mapping[str, Any], only: str | None = None
) -> Sequence[RowMapping]:
    """The oldest, or the newest, and no more than LISTED_MAX; of one kind alone, if it is named."""
    listed = found(pile, pile.since.label("since"), *pile.columns).limit(LISTED_MAX)
    if only is not None and pile.by is not None:
        listed = listed.where(pile.rows.c[pile.by] == only)
    order = pile.since.desc() if pile.newest_first else pile.since
    return tx.execute(listed.order_by(order), values).mappings().all()


def found(pile: Pile, *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).select_from(pile.rows).where(*pile.where)
