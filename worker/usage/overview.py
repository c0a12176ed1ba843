"""What the customer's page shows of one cycle, and which others there are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Column, Connection, RowMapping, select

from schemas.answers import CycleAnswer, FixCounts, RepositoryUsage
from schemas.events import DERIVED_PREFIX
from schemas.money import Money
from schemas.usage_report import UsageTotal
from worker.storage.tables import charges, cycles, fixes, statements
from worker.usage.report import Asked, NoSuchCycle, usage_report

CYCLES_MAX = 36
NEWEST = 20  # fixes, and charges


class FixShown(NamedTuple):
    """A fix in the list."""

    fix_id: str
    deployed_at: datetime
    repository: str
    pull_request: int | None
    finding: str | None
    outcome: str
    held_why: str | None
    price: Money | None

    @property
    def name(self) -> str | None:
        """What its customer calls it; a derived id says nothing to anybody."""
        return self.finding or (None if self.fix_id.startswith(DERIVED_PREFIX) else self.fix_id)


class ChargeShown(NamedTuple):
    """A charge in the list."""

    charge_id: str
    opened_at: datetime
    status: str
    amount: Money


class Overview(NamedTuple):
    """One cycle of a customer."""

    cycle: CycleAnswer
    cycles: list[CycleAnswer]  # all that there are, newest first
    stated: list[CycleAnswer]  # of them, those whose statement is written
    days: dict[date, FixCounts]
    repositories: list[RepositoryUsage]
    total: UsageTotal
    fixes: list[FixShown]  # deployed in it, the newest
    charges: list[ChargeShown]  # begun in it, the newest


def overview(
    tx: Connection, customer_id: str, number: int | None, now: datetime
) -> Overview | None:
    """Of a cycle by its number, or of the current one; None if the customer has no such cycle."""
    try:
        by_day = usage_report(tx, customer_id, Asked(number, "day"), now)
        by_repository = usage_report(tx, customer_id, Asked(number, "repository"), now)
    except NoSuchCycle:
        return None
    if by_day is None or by_repository is None or by_day.cycle is None:
        return None
    cycle = by_day.cycle
    known = cycles_of(tx, customer_id, cycle)
    return Overview(
        cycle,
        known,
        stated(tx, customer_id, known),
        {each.day: each.fixes for each in by_day.groups},
        by_repository.groups,
        by_day.total,
        newest_fixes(tx, customer_id, cycle),
        newest_charges(tx, customer_id, cycle),
    )


def cycles_of(tx: Connection, customer_id: str, shown: CycleAnswer) -> list[CycleAnswer]:
    """The newest; the one that is shown among them, even if the sweep has not written it yet."""
    rows = tx.execute(
        select(cycles.c.number, cycles.c.starts_at, cycles.c.ends_at)
        .where(cycles.c.customer_id == customer_id)
        .order_by(cycles.c.number.desc())
        .limit(CYCLES_MAX)
    )
    known = {row[0]: CycleAnswer(number=row[0], start=row[1], end=row[2]) for row in rows}
    known[shown.number] = shown
    return [known[number] for number in sorted(known, reverse=True)]


def stated(tx: Connection, customer_id: str, known: list[CycleAnswer]) -> list[CycleAnswer]:
    """Those of them with a statement."""
    written = select(statements.c.number).where(
        statements.c.customer_id == customer_id,
        statements.c.number.in_([each.number for each in known]),
    )
    numbers = set(tx.scalars(written))
    return [each for each in known if each.number in numbers]


def newest_fixes(tx: Connection, customer_id: str, cycle: CycleAnswer) -> list[FixShown]:
    rows = newest(tx, customer_id, cycle, fixes.c.deployed_at, fixes.c.fix_id)
    return [
        FixShown(
            row["fix_id"],
            row["deployed_at"],
            row["repository"],
            row["pull_request"],
            row["finding"],
            row["outcome"],
            row["held_why"],
            Money(row["price"], row["currency"]) if row["outcome"] == "charged" else None,
        )
        for row in rows
    ]


def newest_charges(tx: Connection, customer_id: str, cycle: CycleAnswer) -> list[ChargeShown]:
    rows = newest(tx, customer_id, cycle, charges.c.opened_at, charges.c.charge_id)
    return [
        ChargeShown(
            row["charge_id"],
            row["opened_at"],
            row["status"],
            Money(row["amount"] - row["dropped"], row["currency"]),
        )
        for row in rows
    ]


def newest(
    tx: Connection, customer_id: str, cycle: CycleAnswer, at: Column[datetime], key: Column[str]
) -> Sequence[RowMapping]:
    """Of the cycle's days, by the index that begins with the customer."""
    return (
        tx.execute(
            select(at.table)
            .where(at.table.c.customer_id == customer_id, at >= cycle.start, at < cycle.end)
            .order_by(at.desc(), key.desc())
            .limit(NEWEST)
        )
        .mappings()
        .all()
    )
