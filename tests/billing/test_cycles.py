from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.billing.cycles import CLOSING, cycle_for, month_of

TICK = timedelta(microseconds=1)
MOMENTS = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001
    datetime(2032, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-03-15T12:00", "2026-03-01", "2026-04-01"),
        ("2026-03-01T00:00", "2026-03-01", "2026-04-01"),
        ("2026-03-31T23:59:59.999999", "2026-03-01", "2026-04-01"),
        ("2026-02-28T23:59", "2026-02-01", "2026-03-01"),
        ("2028-02-29T00:00", "2028-02-01", "2028-03-01"),
        ("2026-12-31T23:59", "2026-12-01", "2027-01-01"),
        ("2027-01-01T00:00", "2027-01-01", "2027-02-01"),
        ("2026-04-30T12:00", "2026-04-01", "2026-05-01"),
    ],
    ids=[
        "middle",
        "first moment",
        "last moment",
        "February",
        "leap day",
        "New Year's Eve",
        "New Year",
        "30 days",
    ],
)
def test_a_cycle_is_a_calendar_month(at: str, start: str, end: str) -> None:
    moment = utc(at)

    cycle = month_of(moment)

    assert cycle == (utc(start), utc(end))


@settings(deadline=None, max_examples=100)
@given(MOMENTS)
def test_cycles_leave_no_gap_and_no_overlap(at: datetime) -> None:
    cycle = month_of(at)

    before, after = month_of(cycle.start - TICK), month_of(cycle.end)

    assert cycle.start <= at < cycle.end
    assert before.end == cycle.start
    assert after.start == cycle.end


@pytest.mark.parametrize(
    ("deployed_at", "now", "month", "late"),
    [
        ("2026-03-15T11:00", "2026-03-15T12:00", 3, False),
        ("2026-03-01T00:00", "2026-03-01T00:00", 3, False),
        ("2026-03-15T12:05", "2026-03-15T12:00", 3, False),
        ("2026-04-01T00:01", "2026-03-31T23:58", 3, False),
        ("2026-03-31T23:59", "2026-04-01T00:00", 3, False),
        ("2026-03-31T23:59", "2026-04-01T00:59:59.999999", 3, False),
        ("2026-03-31T23:59", "2026-04-01T01:00", 4, True),
        ("2026-02-28T23:59", "2026-04-01T00:30", 4, True),
        ("2026-02-27T00:00", "2026-03-01T00:30", 2, False),
        ("2026-02-20T00:00", "2026-03-01T00:30", 2, True),
        ("2026-03-08T12:00", "2026-03-15T12:00", 3, False),
        ("2026-03-08T11:59:59", "2026-03-15T12:00", 3, True),
        ("2028-02-29T12:00", "2028-03-01T00:30", 2, False),
        ("2025-12-31T23:59", "2026-01-01T00:30", 12, False),
        ("0001-01-01T00:00", "2026-01-01T00:30", 1, True),
    ],
    ids=[
        "an hour ago",
        "at the start",
        "a clock ahead",
        "a clock ahead at the end of the month",
        "last cycle just ended",
        "last cycle still closing",
        "last cycle closed",
        "the cycle before the last",
        "last cycle, two days ago",
        "last cycle, late but still closing",
        "exactly seven days",
        "more than seven days",
        "leap day, closing",
        "over the year's end",
        "the beginning of time",
    ],
)
def test_a_fix_counts_in_the_cycle_it_reached_main_in_while_that_takes_fixes(
    deployed_at: str, now: str, month: int, late: bool
) -> None:
    cycle, came_late = cycle_for(utc(deployed_at), utc(now))

    counted_in = cycle.start.month

    assert (counted_in, came_late) == (month, late)


@settings(deadline=None, max_examples=200)
@given(MOMENTS, st.timedeltas(timedelta(0), timedelta(days=800)))
def test_a_fix_counts_in_the_open_cycle_or_the_closing_one(now: datetime, age: timedelta) -> None:
    cycle, late = cycle_for(now - age, now)

    still_open = cycle.end > now - CLOSING

    assert still_open
    assert cycle.start <= now
    assert late or cycle.start <= now - age < cycle.end
