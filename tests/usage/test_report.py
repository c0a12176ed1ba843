"""Usage of any cycle or window, grouped: the same counts however they are cut."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.answers import FixCounts, RepositoryUsage
from schemas.usage_report import DayUsage, GroupBy, OutcomeUsage, UsageWindow
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    fixes_of,
    reverted,
    settle_events,
    usd,
)
from tests.stack import Databases, connected
from tests.stating import APRIL, MARCH_CLOSED, pass_time
from worker.storage.engine import WORKER
from worker.usage.current import current_usage
from worker.usage.report import Asked, BadWindow, NoSuchCycle, Report, usage_report, window_of

ME = "initech"
SECOND = date(2026, 3, 2)
THIRD, FOURTH = SECOND + timedelta(days=1), SECOND + timedelta(days=2)
IN_APRIL = APRIL.start + 5 * DAY


@pytest.fixture(scope="module")
def told(databases: Databases) -> Iterator[Engine]:
    """Two credits and four charges on two days of March in two repositories, one fix of April.

    One of March that came late counts in April, and one that was held has left March.
    """
    with databases.fresh() as one, connected(one.worker_url, WORKER) as engine:
        add_customer(engine, ME, credits=2)
        settle_events(
            engine,
            *(fix(f"second-{number}", SECOND, number) for number in range(3)),
            fix("third-1", THIRD, repository="initech/api"),
            fix("third-2", THIRD),
            fix("third-3", THIRD),
            now=at(FOURTH),
        )
        settle_events(engine, reverted("third-3", ME, at=at(FOURTH)), now=at(FOURTH, 1))
        with engine.begin() as tx:
            tx.execute(text("UPDATE books SET spending_cap = 0"))
        settle_events(engine, fix("held", THIRD, repository="initech/held"), now=at(FOURTH, 2))
        pass_time(engine, MARCH_CLOSED)
        with engine.begin() as tx:
            tx.execute(
                text("UPDATE books SET spending_cap = NULL, accepted_held_until = cycle_start")
            )
        april = deployed("april", ME, at=IN_APRIL - HOUR, repository="initech/api")
        settle_events(engine, april, fix("late", SECOND), now=IN_APRIL)
        yield engine


def at(day: date, hours: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, 12 + hours, tzinfo=UTC)


def fix(fix_id: str, day: date, minute: int = 0, repository: str = "initech/shop") -> Any:
    return deployed(fix_id, ME, at=at(day) - HOUR + minute * MINUTE, repository=repository)


def report(
    engine: Engine,
    period: UsageWindow | int | None = None,
    group_by: GroupBy = "day",
    *,
    customer_id: str = ME,
    now: datetime = IN_APRIL,
    **more: Any,
) -> Report:
    with engine.begin() as tx:
        found = usage_report(tx, customer_id, Asked(period, group_by, **more), now)
    assert found is not None
    return found


def test_by_day_each_day_counts_what_was_deployed_on_it(told: Engine) -> None:
    found = report(told, 1)

    assert found.groups == [
        DayUsage(day=SECOND, fixes=FixCounts(credited=2, charged=1), charged=usd(29)),
        DayUsage(day=THIRD, fixes=FixCounts(charged=2, reverted=1), charged=usd(58)),
    ]
    assert (found.cycle and found.cycle.number, found.total.charged) == (1, usd(3 * 29))


def test_by_repository_they_come_in_order_of_their_names(told: Engine) -> None:
    found = report(told, 1, "repository")

    assert found.groups == [
        RepositoryUsage(repository="initech/api", fixes=FixCounts(charged=1), charged=usd(29)),
        RepositoryUsage(
            repository="initech/shop",
            fixes=FixCounts(credited=2, charged=2, reverted=1),
            charged=usd(58),
        ),
    ]


def test_by_outcome_only_what_is_charged_has_an_amount(told: Engine) -> None:
    found = report(told, 1, "outcome")

    assert found.groups == [
        OutcomeUsage(outcome="charged", fixes=FixCounts(charged=3), charged=usd(3 * 29)),
        OutcomeUsage(outcome="credited", fixes=FixCounts(credited=2), charged=usd(0)),
        OutcomeUsage(outcome="reverted", fixes=FixCounts(reverted=1), charged=usd(0)),
    ]


def test_a_fix_that_moved_on_leaves_no_group_behind(told: Engine) -> None:
    with told.begin() as tx:
        empty = tx.execute(
            text(
                "SELECT day, repository FROM usage"
                " WHERE credited + charged + held + reverted = 0 AND repository = 'initech/held'"
            )
        ).all()

    march, april = report(told, 1, "repository"), report(told, 2, "repository")

    assert empty == [(THIRD, "initech/held")]
    assert "initech/held" not in {each.repository for each in march.groups}
    assert "initech/held" in {each.repository for each in april.groups}


def test_a_repository_whose_fixes_moved_on_is_in_no_usage_of_the_cycle(engine: Engine) -> None:
    add_customer(engine, ME, spending_cap=0)
    settle_events(engine, deployed("held", ME, at=NOW - HOUR))
    with engine.begin() as tx:
        tx.execute(text("UPDATE usage SET held = 0 WHERE customer_id = :me"), {"me": ME})
        found = current_usage(tx, ME, NOW, None)

    assert found is not None
    assert found.repositories == []


def test_one_repository_alone_can_be_asked_for(told: Engine) -> None:
    found = report(told, 1, repository="initech/api")

    assert [(each.day, each.fixes) for each in found.groups] == [(THIRD, FixCounts(charged=1))]
    assert found.total.fixes == FixCounts(charged=1)


def test_a_window_counts_by_the_day_of_deployment_whatever_the_cycle(told: Engine) -> None:
    found = report(told, UsageWindow(start=SECOND, end=THIRD))

    assert found.cycle is None
    assert found.groups == [
        DayUsage(day=SECOND, fixes=FixCounts(credited=2, charged=2), charged=usd(58))
    ]


def test_the_end_of_a_window_is_not_included(told: Engine) -> None:
    days = [
        [each.day for each in report(told, UsageWindow(start=start, end=end)).groups]
        for start, end in ((SECOND, THIRD), (THIRD, FOURTH), (SECOND, FOURTH))
    ]

    assert days == [[SECOND], [THIRD], [SECOND, THIRD]]


def test_cycles_and_windows_count_the_same_fixes(told: Engine) -> None:
    cycles = [report(told, number).total for number in (1, 2)]
    whole = report(told, UsageWindow(start=MARCH.start.date(), end=APRIL.end.date())).total

    assert sum(each.charged.amount for each in cycles) == whole.charged.amount
    assert [
        sum(getattr(each.fixes, name) for each in cycles) for name in FixCounts.model_fields
    ] == list(whole.fixes.model_dump().values())
    assert sum(whole.fixes.model_dump().values()) == 9


@pytest.mark.parametrize("group_by", ["day", "repository", "outcome"])
def test_groups_add_up_to_the_total(told: Engine, group_by: GroupBy) -> None:
    found = report(told, 2, group_by)

    summed = {
        name: sum(getattr(each.fixes, name) for each in found.groups)
        for name in FixCounts.model_fields
    }
    assert summed == found.total.fixes.model_dump()
    assert sum(each.charged.amount for each in found.groups) == found.total.charged.amount > 0


@pytest.mark.parametrize("group_by", ["day", "repository", "outcome"])
def test_page_by_page_there_is_every_group_once(told: Engine, group_by: GroupBy) -> None:
    whole, paged = report(told, 1, group_by), []
    after = None
    while page := report(told, 1, group_by, after=after, limit=1).groups:
        paged += page
        after = getattr(page[-1], group_by)

    assert paged == whole.groups
    assert len(paged) > 1


def test_a_page_has_the_total_of_all(told: Engine) -> None:
    assert report(told, 1, limit=1, after=SECOND).total == report(told, 1).total


# Which cycle.


def test_without_a_number_it_is_the_current_cycle(told: Engine) -> None:
    found = report(told)

    assert found == report(told, 2)
    assert found.cycle is not None
    assert (found.cycle.number, found.cycle.start) == (2, APRIL.start)


def test_the_current_cycle_reports_what_current_usage_says(engine: Engine) -> None:
    with engine.begin() as tx:
        current = current_usage(tx, "acme", NOW, None)

    found = report(engine, group_by="repository", customer_id="acme", now=NOW)

    assert current is not None
    assert found.cycle == current.cycle
    assert found.groups == current.repositories
    assert (found.total.fixes, found.total.charged) == (current.fixes, current.money.charged)


def test_a_cycle_that_nobody_has_rolled_over_is_reported_all_the_same(told: Engine) -> None:
    june = APRIL.end + 40 * DAY

    numbers = [report(told, number, now=june).cycle for number in (None, 3, 2)]

    assert [each and each.number for each in numbers] == [4, 3, 2]
    assert numbers[1] is not None
    assert (numbers[1].start, numbers[1].end) == (APRIL.end, APRIL.end + 31 * DAY)


@pytest.mark.parametrize("number", [3, 2**31 - 1])
def test_a_cycle_that_has_not_begun_is_none(told: Engine, number: int) -> None:
    with pytest.raises(NoSuchCycle, match=f"initech has no cycle {number}: the current one is 2"):
        report(told, number)


def test_a_customer_nobody_knows_has_no_report(told: Engine) -> None:
    with told.begin() as tx:
        assert usage_report(tx, "stranger", Asked(), NOW) is None


def test_a_customer_without_fixes_has_a_total_of_nothing(engine: Engine) -> None:
    add_customer(engine, ME)

    found = report(engine, now=NOW)

    assert (found.groups, found.total.fixes, found.total.charged) == ([], FixCounts(), usd(0))


# Windows.


def test_no_end_of_a_window_is_no_window() -> None:
    assert window_of(None, None) is None


def test_the_longest_window_has_400_days() -> None:
    window = window_of(SECOND, SECOND + timedelta(days=400))

    assert window == UsageWindow(start=SECOND, end=SECOND + timedelta(days=400))


@pytest.mark.parametrize(
    ("start", "end", "field", "problem"),
    [
        (SECOND, None, "to", "both ends"),
        (None, SECOND, "from", "both ends"),
        (SECOND, SECOND, "to", "empty"),
        (THIRD, SECOND, "to", "empty"),
        (SECOND, SECOND + timedelta(days=401), "to", "at most 400 days"),
        (date.min, date.max, "to", "at most 400 days"),
    ],
)
def test_a_bad_window_names_the_end_that_is_wrong(
    start: date | None, end: date | None, field: str, problem: str
) -> None:
    with pytest.raises(BadWindow, match=problem) as caught:
        window_of(start, end)

    assert caught.value.field == field


def test_days_are_those_of_utc(engine: Engine) -> None:
    add_customer(engine, ME)
    east = datetime.fromisoformat("2026-03-15T01:30:00+02:00")
    settle_events(engine, deployed("east", ME, at=east), *fixes_of(ME, 1))

    found = report(engine, now=NOW)

    assert [each.day for each in found.groups] == [date(2026, 3, 14), date(2026, 3, 15)]
