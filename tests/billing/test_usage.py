from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from tests.builders import DAY, NOW, fix
from worker.billing.fix import FixOutcome
from worker.billing.journal import Counted, Move
from worker.billing.usage import UsageKey, usage_of

O = FixOutcome  # noqa: E741
MARCH, FEBRUARY = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
TODAY = UsageKey("acme", MARCH, date(2026, 3, 15), "acme/shop")


def at(outcome: FixOutcome, amount: int = 0, cycle: datetime = MARCH) -> Counted:
    return Counted(cycle, outcome, amount)


MOVES: dict[str, tuple[list[Move], dict[UsageKey, list[int]]]] = {
    "nothing": ([], {}),
    "credited": ([Move(fix(), None, at(O.CREDITED))], {TODAY: [1, 0, 0, 0, 0]}),
    "charged": ([Move(fix(), None, at(O.CHARGED, 2900))], {TODAY: [0, 1, 0, 0, 2900]}),
    "held": ([Move(fix(), None, at(O.HELD))], {TODAY: [0, 0, 1, 0, 0]}),
    "tombstone": ([Move(fix(), None, at(O.REVERTED))], {TODAY: [0, 0, 0, 1, 0]}),
    "released by a credit": (
        [Move(fix(), at(O.HELD), at(O.CREDITED))],
        {TODAY: [1, 0, -1, 0, 0]},
    ),
    "released by money": (
        [Move(fix(), at(O.HELD), at(O.CHARGED, 2900))],
        {TODAY: [0, 1, -1, 0, 2900]},
    ),
    "charged, then reverted": (
        [Move(fix(), at(O.CHARGED, 2900), at(O.REVERTED))],
        {TODAY: [0, -1, 0, 1, -2900]},
    ),
    "all in one batch": (
        [Move(fix(), None, at(O.HELD)), Move(fix(), at(O.HELD), at(O.CREDITED))],
        {TODAY: [1, 0, 0, 0, 0]},
    ),
    "released into the next cycle": (
        [Move(fix(), at(O.HELD, 0, FEBRUARY), at(O.CREDITED))],
        {TODAY: [1, 0, 0, 0, 0], TODAY._replace(cycle_start=FEBRUARY): [0, 0, -1, 0, 0]},
    ),
    "two repositories, two days, two customers": (
        [
            Move(fix(repository="acme/api"), None, at(O.CREDITED)),
            Move(fix(deployed_at=NOW - DAY), None, at(O.CREDITED)),
            Move(fix(customer_id="globex"), None, at(O.CREDITED)),
            Move(fix(), None, at(O.CREDITED)),
            Move(fix("fix-2"), None, at(O.CREDITED)),
        ],
        {
            TODAY._replace(repository="acme/api"): [1, 0, 0, 0, 0],
            TODAY._replace(day=date(2026, 3, 14)): [1, 0, 0, 0, 0],
            TODAY._replace(customer_id="globex"): [1, 0, 0, 0, 0],
            TODAY: [2, 0, 0, 0, 0],
        },
    ),
}


@pytest.mark.parametrize(("moves", "rows"), MOVES.values(), ids=MOVES)
def test_usage_is_the_sum_of_what_moved(moves: list[Move], rows: dict[UsageKey, list[int]]) -> None:
    some = iter(moves)

    counted = usage_of(some)

    assert counted == rows
