"""The usage rows anew from the fixes, while settlers work; what was right stays as it is.

Slice by slice: as many days as hold a bounded number of fixes. `post` writes fixes and usage
together, so in any snapshot they agree, and a slice that does needs no lock. One that does not is
corrected under the lock of the book, without which nobody adds a fix or moves one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select

from worker.billing.entries import counted
from worker.billing.fix import Fix
from worker.billing.journal import Move
from worker.billing.usage import AMOUNT, UsageKey, usage_of
from worker.storage import bulk
from worker.storage.books import open_books
from worker.storage.engine import snapshot
from worker.storage.tables import books, fixes, usage

FIXES_MAX = 10_000  # of a slice, unless a single day has more: well under a second
READ_AT_ONCE = 1000
CUSTOMERS_AT_ONCE = 1000
KEY = len(UsageKey._fields)
NOTHING = [0] * (AMOUNT + 1)


class Rebuilt(NamedTuple):
    """What was found of one customer: rows that count something, and how many rows were wrong."""

    customer_id: str
    rows: int
    changed: int


class Slice(NamedTuple):
    """Days of one customer; `end` is the first that is not included, None: to the last there is."""

    customer_id: str
    start: date
    end: date | None


def everyone(engine: Engine) -> Iterator[str]:
    """Customers in order; and then those whom only usage rows know, and nobody should."""
    last = ""
    while True:
        page = select(books.c.customer_id).where(books.c.customer_id > last)
        with engine.begin() as tx:
            found = tx.scalars(page.order_by(books.c.customer_id).limit(CUSTOMERS_AT_ONCE)).all()
        if not found:
            break
        yield from found
        last = found[-1]
    has_book = select(books.c.customer_id).where(books.c.customer_id == usage.c.customer_id)
    with engine.begin() as tx:
        strays = tx.scalars(select(usage.c.customer_id).distinct().where(~has_book.exists())).all()
    yield from strays


def rebuild_usage(customer_id: str, engine: Engine, fixes_max: int = FIXES_MAX) -> Rebuilt:
    """All slices of one customer."""
    done = list(rebuild_slices(customer_id, engine, fixes_max))
    return Rebuilt(customer_id, sum(each.rows for each in done), sum(each.changed for each in done))


def rebuild_slices(customer_id: str, engine: Engine, fixes_max: int) -> Iterator[Rebuilt]:
    """A transaction each: whoever stops between two leaves nothing half done."""
    after: date | None = date.min
    while after is not None:
        with snapshot(engine) as tx:
            days = next_slice(tx, customer_id, after, fixes_max)
            if days is None:
                return
            found = compare(tx, days)
        if found.wrong:
            with engine.begin() as tx:
                open_books(tx, [customer_id])
                found = compare(tx, days)
                bulk.add(tx, usage, found.wrong)
        yield Rebuilt(customer_id, found.rows, len(found.wrong))
        after = days.end


def next_slice(tx: Connection, customer_id: str, after: date, fixes_max: int) -> Slice | None:
    """From the first day that has a fix or a row; None if no such day is left."""
    days_of_fixes = (
        select(fixes.c.deployed_at)
        .where(fixes.c.customer_id == customer_id, fixes.c.deployed_at >= midnight(after))
        .order_by(fixes.c.deployed_at, fixes.c.fix_id)
    )
    first, beyond = (tx.scalar(days_of_fixes.offset(place).limit(1)) for place in (0, fixes_max))
    first_row = tx.scalar(
        select(func.min(usage.c.day)).where(
            usage.c.customer_id == customer_id, usage.c.day >= after
        )
    )
    starts = [day for day in (first and first.date(), first_row) if day is not None]
    if not starts:
        return None
    end = beyond and max(beyond.date(), min(starts) + timedelta(days=1))
    return Slice(customer_id, min(starts), end)


def moves_of(tx: Connection, days: Slice) -> Iterator[Move]:
    """From nowhere to where each fix counts now; a few fixes at a time."""
    found = select(fixes).where(
        fixes.c.customer_id == days.customer_id, fixes.c.deployed_at >= midnight(days.start)
    )
    if days.end is not None:
        found = found.where(fixes.c.deployed_at < midnight(days.end))
    for row in tx.execute(found.execution_options(yield_per=READ_AT_ONCE)).mappings():
        fix = Fix(**row)
        yield Move(fix, None, counted(fix))


def kept_in(tx: Connection, days: Slice) -> dict[UsageKey, list[int]]:
    found = select(usage).where(usage.c.customer_id == days.customer_id, usage.c.day >= days.start)
    if days.end is not None:
        found = found.where(usage.c.day < days.end)
    return {UsageKey(*row[:KEY]): list(row[KEY:]) for row in tx.execute(found)}


class Compared(NamedTuple):
    """`wrong`: what to add to each row that is; one that should not be comes to count nothing."""

    rows: int
    wrong: Sequence[bulk.Row]


def compare(tx: Connection, days: Slice) -> Compared:
    wanted, kept = usage_of(moves_of(tx, days)), kept_in(tx, days)
    wrong = [
        (*key, *(new - old for new, old in zip(right, there, strict=True)))
        for key in sorted(wanted.keys() | kept.keys())
        if (right := wanted.get(key, NOTHING)) != (there := kept.get(key, NOTHING))
    ]
    return Compared(len(wanted), wrong)


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
