"""Usage is counted from the moves of a journal, and from nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import NamedTuple

from worker.billing.fix import FixOutcome
from worker.billing.journal import Counted, Move

COLUMN = {outcome: index for index, outcome in enumerate(FixOutcome)}
AMOUNT = len(COLUMN)


class UsageKey(NamedTuple):
    """One row of the usage table: a repository on the day its fixes were deployed."""

    customer_id: str
    cycle_start: datetime
    day: date
    repository: str


def usage_of(moves: Iterable[Move]) -> dict[UsageKey, list[int]]:
    """What to add to each row: a count per outcome, then the amount charged (minor units)."""
    rows: defaultdict[UsageKey, list[int]] = defaultdict(lambda: [0] * (AMOUNT + 1))
    for move in moves:
        if move.before is not None:
            count(rows, move, move.before, -1)
        count(rows, move, move.after, 1)
    return rows


def count(rows: dict[UsageKey, list[int]], move: Move, place: Counted, sign: int) -> None:
    fix = move.fix
    key = UsageKey(fix.customer_id, place.cycle_start, fix.deployed_at.date(), fix.repository)
    row = rows[key]
    row[COLUMN[place.outcome]] += sign
    row[AMOUNT] += sign * place.amount
