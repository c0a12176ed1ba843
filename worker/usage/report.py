"""Usage of any cycle or window, grouped: read from the usage rows, however many fixes they count.

A fix that moved on may leave a row that counts nothing; such rows are in no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, func, select

from schemas.answers import CycleAnswer, FixCounts, RepositoryUsage
from schemas.money import Money
from schemas.usage_report import (
    GROUPS,
    DayUsage,
    GroupBy,
    OutcomeUsage,
    UsageTotal,
    UsageWindow,
)
from worker.billing.book import Book
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.rollover import catch_up
from worker.storage.books import read_book
from worker.storage.tables import cycles, usage

WINDOW_MAX = timedelta(days=400)

Group = TypeVar("Group", DayUsage, RepositoryUsage, OutcomeUsage)
Rows = Sequence[ColumnElement[bool]]  # which of the usage rows

COUNTS = [usage.c[outcome] for outcome in FixOutcome]
SUMS = [func.coalesce(func.sum(column), 0) for column in (*COUNTS, usage.c.amount)]
COUNTS_SOMETHING = usage.c.credited + usage.c.charged + usage.c.held + usage.c.reverted > 0


class BadWindow(ValueError):
    """`field` says which end is wrong, the message what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        super().__init__(problem)


class NoSuchCycle(LookupError):
    """The customer has no cycle with this number."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Of a cycle (its number; None: the current one) or a window, and which groups of it."""

    period: UsageWindow | int | None = None
    group_by: GroupBy = "day"
    repository: str | None = None
    after: object = None  # the key of the last group that was seen
    limit: int | None = None


class Report(NamedTuple):
    """What the rows say."""

    cycle: CycleAnswer | None
    groups: list[Any]  # of the kind that was asked for
    total: UsageTotal


def window_of(start: date | None, end: date | None) -> UsageWindow | None:
    """The window from `start` up to, and not including, `end`; raises BadWindow."""
    if start is None and end is None:
        return None
    if start is None or end is None:
        missing = "from" if start is None else "to"
        raise BadWindow(missing, "a window has both ends: from, and to, which is not included")
    if end <= start:
        raise BadWindow("to", "the window is empty: to must be later than from")
    if end - start > WINDOW_MAX:
        raise BadWindow("to", f"a window is at most {WINDOW_MAX.days} days long")
    return UsageWindow(start=start, end=end)


def usage_report(tx: Connection, customer_id: str, asked: Asked, now: datetime) -> Report | None:
    """None for a customer we do not know; raises NoSuchCycle."""
    book = read_book(tx, customer_id)
    if book is None:
        return None
    if isinstance(asked.period, UsageWindow):
        cycle, rows = None, rows_of_window(customer_id, asked.period)
    else:
        cycle = cycle_of(tx, book, asked.period, now)
        rows = rows_of_cycle(customer_id, cycle.start)
    if asked.repository is not None:
        rows = [*rows, usage.c.repository == asked.repository]
    total = total_of(tx, rows, book.currency)
    if asked.group_by == "outcome":
        return Report(cycle, by_outcome(total, asked), total)
    kind = GROUPS[asked.group_by]
    return Report(cycle, grouped(tx, rows, kind, book.currency, asked.after, asked.limit), total)


def cycle_of(tx: Connection, book: Book, number: int | None, now: datetime) -> CycleAnswer:
    """A cycle that time has brought and nobody has written yet is there all the same."""
    journal = Journal({book.customer_id: book}, Known(), now)
    catch_up(journal, book, now + book.clock_offset)
    number = book.cycle if number is None else number
    begun = journal.cycles.new.get((book.customer_id, number))
    row: Any = (
        begun
        or tx.execute(
            select(cycles).where(
                cycles.c.customer_id == book.customer_id, cycles.c.number == number
            )
        ).first()
    )
    if row is None:
        raise NoSuchCycle(
            f"{book.customer_id} has no cycle {number}: the current one is {book.cycle}"
        )
    return CycleAnswer(number=row.number, start=row.starts_at, end=row.ends_at)


def rows_of_cycle(customer_id: str, start: datetime) -> Rows:
    return [usage.c.customer_id == customer_id, usage.c.cycle_start == start]


def rows_of_window(customer_id: str, window: UsageWindow) -> Rows:
    return [
        usage.c.customer_id == customer_id,
        usage.c.day >= window.start,
        usage.c.day < window.end,
    ]


def total_of(tx: Connection, rows: Rows, currency: str) -> UsageTotal:
    counts, charged = counted(tx.execute(select(*SUMS).where(*rows)).one(), currency)
    return UsageTotal(fixes=counts, charged=charged)


def grouped(
    tx: Connection,
    rows: Rows,
    kind: type[Group],
    currency: str,
    after: object = None,
    limit: int | None = None,
) -> list[Group]:
    """In the order of their keys."""
    key = usage.c[next(iter(kind.model_fields))]
    found = select(key, *SUMS).where(*rows, COUNTS_SOMETHING).group_by(key).order_by(key)
    if after is not None:
        found = found.where(key > after)
    return groups_of(kind, tx.execute(found.limit(limit)), currency)


def groups_of(kind: type[Group], rows: Iterable[Sequence[Any]], currency: str) -> list[Group]:
    """Of rows that are a key and its sums."""
    return [group_of(kind, name, *counted(sums, currency)) for name, *sums in rows]


def by_outcome(total: UsageTotal, asked: Asked) -> list[OutcomeUsage]:
    """The total once more, a group for each of its counts."""
    counts = total.fixes.model_dump()
    nothing = Money(0, total.charged.currency)
    groups = [
        group_of(
            OutcomeUsage,
            outcome,
            FixCounts(**{outcome: counts[outcome]}),
            total.charged if outcome is FixOutcome.CHARGED else nothing,
        )
        for outcome in sorted(FixOutcome)
        if counts[outcome] and (asked.after is None or outcome > str(asked.after))
    ]
    return groups[: asked.limit]


def group_of(kind: type[Group], key: object, fixes: FixCounts, charged: Money) -> Group:
    return kind(**{next(iter(kind.model_fields)): key}, fixes=fixes, charged=charged)


def counted(sums: Sequence[Any], currency: str) -> tuple[FixCounts, Money]:
    *counts, amount = map(int, sums)
    fixes = FixCounts(**dict(zip(FixOutcome, counts, strict=True)))
    return fixes, Money(amount, currency)
