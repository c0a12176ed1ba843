"""Where a cycle begins and ends, how many customers share it, and in which one a fix counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import DAY, HOUR, MARCH, MINUTE, NOW, arrival, book, deployed, fix
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.cycles import (
    CLOSING,
    LATE_AFTER,
    TRANSITIONS,
    CycleRow,
    CycleStatus,
    month_of,
    period_end,
    spread,
)
from worker.billing.entries import place
from worker.billing.fix import Fix
from worker.billing.known import Known

TICK = timedelta(microseconds=1)
MOMENTS = st.datetimes(
    datetime(2024, 1, 1),  # noqa: DTZ001
    datetime(2032, 12, 31),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Calendar months.


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
def test_without_a_subscription_a_cycle_is_a_calendar_month(at: str, start: str, end: str) -> None:
    moment = utc(at)

    cycle = month_of(moment)

    assert cycle == (utc(start), utc(end))


@settings(max_examples=100)
@given(MOMENTS)
def test_months_leave_no_gap_and_no_overlap(at: datetime) -> None:
    cycle = month_of(at)

    before, after = month_of(cycle.start - TICK), month_of(cycle.end)

    assert cycle.start <= at < cycle.end
    assert before.end == cycle.start
    assert after.start == cycle.end


# Periods of a subscription.

ENDS = {
    "the middle of a month": ["2026-01-15T09:30", "2026-02-15T09:30", "2026-03-15T09:30"],
    "the first": ["2026-01-01T00:00", "2026-02-01T00:00", "2026-03-01T00:00"],
    "the 31st": [
        "2026-01-31T23:59:59",
        "2026-02-28T23:59:59",
        "2026-03-31T23:59:59",
        "2026-04-30T23:59:59",
        "2026-05-31T23:59:59",
    ],
    "the 30th": ["2026-01-30T12:00", "2026-02-28T12:00", "2026-03-30T12:00", "2026-04-30T12:00"],
    "the 29th": ["2026-01-29T12:00", "2026-02-28T12:00", "2026-03-29T12:00"],
    "the 31st of a leap year": ["2028-01-31T06:00", "2028-02-29T06:00", "2028-03-31T06:00"],
    "29 February": ["2028-02-29T06:00", "2028-03-29T06:00", "2028-04-29T06:00"],
    "over the year's end": ["2026-11-30T12:00", "2026-12-30T12:00", "2027-01-30T12:00"],
    "New Year's Eve": ["2026-12-31T00:00", "2027-01-31T00:00", "2027-02-28T00:00"],
}


@pytest.mark.parametrize("moments", ENDS.values(), ids=ENDS)
def test_a_period_ends_on_the_anchors_day_or_the_last_of_a_shorter_month(
    moments: list[str],
) -> None:
    anchor, *ends = map(utc, moments)

    found = [period_end(anchor, start) for start, _ in pairwise([anchor, *ends])]

    assert found == ends


def test_an_anchor_of_29_february_is_the_28th_only_where_there_is_no_29th() -> None:
    anchor, start = utc("2028-02-29T06:00"), utc("2029-01-29T06:00")

    february = period_end(anchor, start)

    assert february == utc("2029-02-28T06:00")
    assert period_end(anchor, february) == utc("2029-03-29T06:00")


@settings(max_examples=100)
@given(MOMENTS, st.integers(1, 48))
def test_periods_never_drift_from_their_anchor(anchor: datetime, months: int) -> None:
    ends = [anchor]

    for _ in range(months):
        ends.append(period_end(anchor, ends[-1]))

    assert all(timedelta(days=28) <= after - before <= 31 * DAY for before, after in pairwise(ends))
    assert {each.timetz() for each in ends} == {anchor.timetz()}
    assert all(
        each.day == anchor.day or ((each + DAY).day == 1 and each.day < anchor.day) for each in ends
    )
    assert len({(each.year, each.month) for each in ends}) == months + 1


# A customer's place in a crowd.


def test_the_place_in_a_crowd_is_the_same_every_time() -> None:
    places = {spread("acme", HOUR) for _ in range(3)}

    assert len(places) == 1
    assert spread("acme", 2 * HOUR) // 2 == spread("acme", HOUR)


def test_a_crowd_is_spread_evenly_and_within_the_time_it_has() -> None:
    places = [spread(f"customer-{number}", 10 * MINUTE) for number in range(2000)]

    by_minute = [sum(each // MINUTE == minute for each in places) for minute in range(10)]

    assert sum(by_minute) == len(places)
    assert min(by_minute) > 150
    assert max(by_minute) < 250


# Rows.


def test_a_cycle_follows_the_one_with_the_number_before() -> None:
    rows = [CycleRow("acme", number, *MARCH, CycleStatus.OPEN) for number in (1, 2, 9)]

    follows = [each.follows for each in rows]

    assert follows == [None, 1, 8]


def test_a_cycle_never_opens_again() -> None:
    assert TRANSITIONS.keys() == set(CycleStatus)
    assert all(CycleStatus.OPEN not in after for after in TRANSITIONS.values())
    assert TRANSITIONS[CycleStatus.CLOSED] == ()


# In which cycle a fix counts. All of these are settled in the cycle that began on 1 April.

FEBRUARY, APRIL = month_of(MARCH.start - TICK), month_of(MARCH.end)


def settled(deployed_at: datetime, now: datetime) -> Fix:
    """A fix that is accepted and settled at that time."""
    written = decide_batch(
        [arrival(deployed(at=deployed_at), at=now)], {"acme": in_april()}, Known(), now
    )
    (reported,) = written.fixes.new.values()
    return reported


def in_april(*, closing: bool = True) -> Book:
    return book(
        cycle=3,
        cycle_start=APRIL.start,
        cycle_end=APRIL.end,
        closing_start=MARCH.start if closing else None,
    )


COUNTED = {
    "in the open cycle": ("2026-04-10T12:00", "2026-04-10T12:01", 4, False),
    "at its first moment": ("2026-04-01T00:00", "2026-04-01T00:00", 4, False),
    "a clock ahead": ("2026-04-10T12:05", "2026-04-10T12:00", 4, False),
    "in the last cycle, which has just ended": ("2026-03-31T23:59", "2026-04-01T00:00", 3, False),
    "in the last cycle, at the last moment": (
        "2026-03-31T23:59:59.999999",
        "2026-04-01T00:59:59.999999",
        3,
        False,
    ),
    "at the first moment of the last cycle": ("2026-03-01T00:00", "2026-04-01T00:30", 3, True),
    "in the last cycle, an hour after its end": ("2026-03-31T23:59", "2026-04-01T01:00", 4, True),
    "in the cycle before the last": ("2026-02-28T23:59", "2026-04-01T00:30", 4, True),
    "in the last cycle, two days ago": ("2026-03-30T00:30", "2026-04-01T00:30", 3, False),
    "in the last cycle, exactly a week ago": ("2026-03-25T00:30", "2026-04-01T00:30", 3, False),
    "in the last cycle, more than a week ago": ("2026-03-25T00:29", "2026-04-01T00:30", 3, True),
    "in the open cycle, exactly a week ago": ("2026-04-02T12:00", "2026-04-09T12:00", 4, False),
    "in the open cycle, more than a week ago": ("2026-04-02T11:59", "2026-04-09T12:00", 4, True),
    "at the beginning of time": ("0001-01-01T00:00", "2026-04-01T00:30", 4, True),
}


@pytest.mark.parametrize(
    ("deployed_at", "now", "month", "late"), COUNTED.values(), ids=COUNTED.keys()
)
def test_a_fix_counts_in_the_cycle_it_reached_main_in_while_that_takes_fixes(
    deployed_at: str, now: str, month: int, late: bool
) -> None:
    reported = settled(utc(deployed_at), utc(now))

    assert (reported.cycle_start.month, reported.late) == (month, late)


def test_once_the_last_cycle_is_closed_its_fixes_count_in_the_open_one() -> None:
    closed = in_april(closing=False)

    counted_in = closed.cycle_for(APRIL.start - MINUTE, APRIL.start + MINUTE)

    assert counted_in == APRIL.start


@pytest.mark.parametrize(
    ("deployed_at", "late"),
    [(APRIL.start + DAY, False), (MARCH.start + DAY, True)],
    ids=["in the open cycle", "in one that is closed"],
)
def test_a_fix_that_was_held_for_weeks_is_late_only_if_its_cycle_is_over(
    deployed_at: datetime, late: bool
) -> None:
    held = fix(deployed_at=deployed_at, recorded_at=deployed_at)

    place(held, in_april(), APRIL.end - DAY)

    assert held.late is late


def test_a_fix_that_was_late_stays_so_in_whatever_cycle_it_is_paid() -> None:
    held = fix(deployed_at=APRIL.start + MINUTE, late=True)

    place(held, in_april(), APRIL.start + 2 * MINUTE)

    assert held.late


@pytest.mark.parametrize(
    ("start", "number"),
    [(APRIL.start, 3), (MARCH.start, 2), (FEBRUARY.start, 3)],
    ids=["the open cycle", "the closing one", "a closed one"],
)
def test_what_concerns_a_closed_cycle_is_written_into_the_open_one(
    start: datetime, number: int
) -> None:
    found = in_april().cycle_of(start)

    assert found == number


def test_without_a_closing_cycle_all_is_written_into_the_open_one() -> None:
    closed = in_april(closing=False)

    found = {closed.cycle_of(each.start) for each in (FEBRUARY, MARCH, APRIL)}

    assert found == {3}


@settings(max_examples=200)
@given(
    st.timedeltas(timedelta(0), APRIL.end - APRIL.start - TICK),
    st.timedeltas(timedelta(0), timedelta(days=800)),
)
def test_a_fix_counts_in_the_open_cycle_or_the_closing_one(
    since_start: timedelta, age: timedelta
) -> None:
    now = APRIL.start + since_start
    reported = settled(now - age, now)

    own = month_of(reported.deployed_at).start == reported.cycle_start
    assert reported.cycle_start in (APRIL.start, MARCH.start)
    assert reported.cycle_start == APRIL.start or since_start < CLOSING
    assert reported.late == (not own or age > LATE_AFTER)


def test_a_customers_next_moment_is_swept_in_its_turn() -> None:
    standing = book(clock_offset=DAY)

    due = standing.due_at

    assert standing.next_due == MARCH.end
    assert due == MARCH.end - DAY + spread("acme", 10 * MINUTE)
    assert due > NOW
