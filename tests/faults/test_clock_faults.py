"""Clocks that are wrong, step or jump, and dates that are odd: nothing ends early, or twice.

Each test begins with the number of its row in the fault matrix. A process's clock is one object,
`Clock`: it is made to run ahead or behind, which shifts what libfaketime would shift. The inbox has
its own clock, which is right. Years that are to come are reached by a customer's business clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from producers.publish import append_all
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    add_customer,
    deployed,
    give_credits,
    one_row,
    rows_of,
)
from tests.stack import Database
from tests.sweeping import (
    CLOSED,
    ENDED,
    UNTOUCHED,
    broken,
    changed_by,
    cycles_of,
    settle_at,
    sweep_at,
    sweeper,
)
from worker.local.valkey import Valkey
from worker.storage import tables

MIDNIGHT = MARCH.end
SECOND = timedelta(seconds=1)
WRONG = {"an hour ahead": HOUR, "an hour behind": -HOUR, "a day and an hour ahead": 25 * HOUR}


def add_ending(engine: Engine, after: timedelta) -> datetime:
    """acme, whose cycle and credits end at this distance from now, by the clock on the wall."""
    end = datetime.now(UTC) + after
    add_customer(engine, cycle_start=end - 30 * DAY, cycle_end=end)
    give_credits(engine, credits=2, expires_at=end, now=end - DAY)
    return end


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_f78_a_clock_that_is_wrong_ends_no_cycle_early(
    engine: Engine, redis: Redis, wrong: timedelta
) -> None:
    """The sweep goes no further than the inbox says that everything is settled."""
    add_ending(engine, 10 * MINUTE)

    sweep_at(datetime.now(UTC) + wrong, engine, redis)

    assert cycles_of(engine) == UNTOUCHED
    assert rows_of(engine, tables.transfers, kind="expire") == []


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_f78_a_clock_that_is_wrong_closes_no_cycle_early_and_none_twice(
    engine: Engine, redis: Redis, wrong: timedelta
) -> None:
    add_ending(engine, -30 * MINUTE)
    sweep_at(datetime.now(UTC), engine, redis)

    for _ in range(2):
        sweep_at(datetime.now(UTC) + wrong, engine, redis)
        sweep_at(datetime.now(UTC), engine, redis)

    assert cycles_of(engine) == ENDED
    assert len(rows_of(engine, tables.transfers, kind="expire")) == 1
    assert broken(engine) == []


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_f78_a_fix_that_is_settled_by_a_wrong_clock_counts_in_its_cycle(
    engine: Engine, redis: Redis, wrong: timedelta
) -> None:
    """It is decided as of the moment the inbox took it, by the inbox's clock."""
    end = add_ending(engine, -30 * MINUTE)
    append_all([deployed(at=end - 90 * MINUTE)], redis)

    settle_at(datetime.now(UTC) + wrong, engine, redis)
    sweep_at(datetime.now(UTC), engine, redis)

    (fix,) = rows_of(engine, tables.fixes)
    assert (fix["cycle_start"], fix["late"]) == (end - 30 * DAY, False)
    assert cycles_of(engine) == ENDED
    assert broken(engine) == []


STEPS = [-30 * MINUTE, 30 * MINUTE, -30 * MINUTE, 90 * MINUTE, -30 * MINUTE, 25 * HOUR, HOUR]


def test_f78_a_clock_that_steps_to_and_fro_over_midnight_ends_the_cycle_once(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine)
    give_credits(engine, credits=2, expires_at=MIDNIGHT)

    seen = []
    for step in STEPS:
        sweep_at(MIDNIGHT + step, engine, redis)
        seen.append(cycles_of(engine))

    assert seen == [UNTOUCHED, ENDED, ENDED, CLOSED, CLOSED, CLOSED, CLOSED]
    (lapse,) = rows_of(engine, tables.transfers, kind="expire")
    assert lapse["happened_at"] == MIDNIGHT
    assert broken(engine) == []


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "America/New_York", "Asia/Kolkata"])
def test_f78_a_month_ends_at_midnight_utc_wherever_the_machine_stands(
    engine: Engine, database: Database, valkey: Valkey, redis: Redis, zone: str
) -> None:
    """In some of these the clocks were changed in that month."""
    add_customer(engine)

    changed = [
        changed_by(sweeper(database, valkey, moment, TZ=zone, PGTZ=zone))
        for moment in (MIDNIGHT - MINUTE, MIDNIGHT + MINUTE)
    ]

    assert changed == [0, 1]
    assert cycles_of(engine) == ENDED
    assert one_row(engine, tables.cycles, number=2)["starts_at"] == MIDNIGHT


# The dates on which cycles begin: of months, and of periods from this day and time.
MONTHS = {
    "the end of a year": [(2027, 12, 1), (2028, 1, 1), (2028, 2, 1)],
    "a leap year": [(2028, 2, 1), (2028, 3, 1), (2028, 4, 1)],
    "a year that is none": [(2027, 2, 1), (2027, 3, 1)],
}
PERIODS = {
    "from a 31st over the end of a leap year's February": [
        (2027, 12, 31),
        (2028, 1, 31),
        (2028, 2, 29),
        (2028, 3, 31),
        (2028, 4, 30),
        (2028, 5, 31),
    ],
    "from a 29th of February": [(2028, 2, 29), (2028, 3, 29), (2028, 4, 29)],
    "from a 30th": [(2026, 12, 30), (2027, 1, 30), (2027, 2, 28), (2027, 3, 30)],
}


def moments(days: list[tuple[int, int, int]], **time: int) -> list[datetime]:
    return [datetime(*day, **time, tzinfo=UTC) for day in days]


def add_ahead(engine: Engine, start: datetime, end: datetime, **more: Any) -> None:
    """acme, by whose clock the first of these cycles has a second to go when it is midnight."""
    ahead = end - SECOND - MIDNIGHT
    add_customer(
        engine, cycle_start=start, cycle_end=end, clock_offset=ahead, due_at=end - ahead, **more
    )


def assert_cycles_begin_at(engine: Engine, redis: Redis, starts: list[datetime]) -> None:
    """Swept a second before each begins, and at that moment."""
    first = starts[1] - SECOND
    for number, start in enumerate(starts[1:], start=1):
        sweep_at(MIDNIGHT + (start - SECOND - first), engine, redis)
        assert cycles_of(engine)[-1] == (number, "open")
        sweep_at(MIDNIGHT + (start - first), engine, redis)
        assert cycles_of(engine)[-2:] == [(number, "closing"), (number + 1, "open")]
    assert [row["starts_at"] for row in rows_of(engine, tables.cycles)] == starts
    assert broken(engine) == []


@pytest.mark.parametrize("days", MONTHS.values(), ids=MONTHS)
def test_f78_months_end_where_they_should(
    engine: Engine, redis: Redis, days: list[tuple[int, int, int]]
) -> None:
    starts = moments(days)
    add_ahead(engine, starts[0], starts[1])

    assert_cycles_begin_at(engine, redis, starts)


@pytest.mark.parametrize("days", PERIODS.values(), ids=PERIODS)
def test_f78_periods_end_on_their_day_or_the_last_of_a_month(
    engine: Engine, redis: Redis, days: list[tuple[int, int, int]]
) -> None:
    starts = moments(days, hour=15, minute=7, second=9)
    subscribed = {"subscription_id": "sub_1", "subscription_status": "active"}
    add_ahead(engine, starts[0], starts[1], plan="pro", anchor=starts[0], **subscribed)

    assert_cycles_begin_at(engine, redis, starts)
