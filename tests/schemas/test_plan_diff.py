"""What may change in a catalogue that is in use."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.plan_diff import Difference, diff
from schemas.plans import Catalogue, Plan, PlanVersion
from tests.builders import usd

TODAY = date(2026, 3, 15)
PAST, TOMORROW, LATER = date(2026, 1, 1), date(2026, 3, 16), date(2026, 6, 1)


def plan(*versions: PlanVersion, title: str = "One") -> Plan:
    return Plan(title=title, versions=versions)


def version(effective: date = PAST, dollars: int = 1, **more: Any) -> PlanVersion:
    return PlanVersion(effective=effective, price=usd(dollars), **more)


def one(*versions: PlanVersion, title: str = "One") -> dict[str, Plan]:
    return {"one": plan(*versions, title=title)}


OLD = one(version(), version(LATER, 2))
TWO = {"two": plan(version(collect="cycle_end"), title="Two")}

# The new catalogue; then version, field, change, before, after, and whether history is rewritten.
CHANGES: dict[str, tuple[dict[str, Plan], list[tuple[Any, ...]]]] = {
    "nothing": (OLD, []),
    "a title": (
        one(version(), version(LATER, 2), title="Uno"),
        [(None, "title", "changed", "One", "Uno", False)],
    ),
    "a version from tomorrow": (
        one(version(), version(TOMORROW, 3), version(LATER, 2)),
        [
            (TOMORROW, "effective", "added", None, TOMORROW, False),
            (TOMORROW, "price", "added", None, usd(3), False),
        ],
    ),
    "a version from today": (
        one(version(), version(TODAY, 3), version(LATER, 2)),
        [
            (TODAY, "effective", "added", None, TODAY, True),
            (TODAY, "price", "added", None, usd(3), True),
        ],
    ),
    "a price that is not in force yet": (
        one(version(), version(LATER, 3)),
        [(LATER, "price", "changed", usd(2), usd(3), False)],
    ),
    "a price in force": (
        one(version(PAST, 3), version(LATER, 2)),
        [(PAST, "price", "changed", usd(1), usd(3), True)],
    ),
    "a rule in force that was a default": (
        one(version(retry_days=(1,)), version(LATER, 2)),
        [(PAST, "retry_days", "changed", (1, 3, 5, 7), (1,), True)],
    ),
    "a price in force that goes": (
        one(PlanVersion(effective=PAST), version(LATER, 2)),
        [(PAST, "price", "removed", usd(1), None, True)],
    ),
    "a version to come that goes": (
        one(version()),
        [
            (LATER, "effective", "removed", LATER, None, False),
            (LATER, "price", "removed", usd(2), None, False),
        ],
    ),
    "a version in force that goes": (
        one(version(LATER, 2)),
        [
            (PAST, "effective", "removed", PAST, None, True),
            (PAST, "price", "removed", usd(1), None, True),
        ],
    ),
}


@pytest.mark.parametrize(("new", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_was_in_force_stays(new: dict[str, Plan], expected: list[tuple[Any, ...]]) -> None:
    found = diff(Catalogue(OLD), Catalogue(new), TODAY)

    assert found == [Difference("one", *each) for each in expected]


def test_a_new_plan_may_have_been_in_force_before() -> None:
    found = diff(Catalogue(OLD), Catalogue(OLD | TWO), TODAY)

    assert [(each.plan, each.field, each.rewrites_history) for each in found] == [
        ("two", "title", False),
        ("two", "effective", False),
        ("two", "price", False),
        ("two", "collect", False),
    ]


@pytest.mark.parametrize(("effective", "refused"), [(TODAY, True), (TOMORROW, False)])
def test_a_plan_goes_only_while_nobody_can_have_it(effective: date, refused: bool) -> None:
    offered = {"gone": plan(version(effective), title="Gone")}

    found = diff(Catalogue(OLD | offered), Catalogue(OLD), TODAY)

    assert {(each.plan, each.change, each.rewrites_history) for each in found} == {
        ("gone", "removed", refused)
    }


DAYS = st.integers(-3, 3).map(lambda days: TODAY + timedelta(days=days))
PLANS = st.dictionaries(DAYS, st.integers(1, 2), min_size=1).map(
    lambda prices: plan(*(version(day, prices[day]) for day in sorted(prices)))
)
CATALOGUES = st.dictionaries(st.sampled_from("ab"), PLANS).map(Catalogue)


@given(CATALOGUES, CATALOGUES)
def test_history_is_rewritten_where_a_day_until_today_reads_differently(
    old: Catalogue, new: Catalogue
) -> None:
    days = [TODAY - timedelta(days=back) for back in range(5)]

    same = all(
        each.in_force(day) == (new.plans[code].in_force(day) if code in new.plans else None)
        for code, each in old.plans.items()
        for day in days
    )

    assert same is not any(each.rewrites_history for each in diff(old, new, TODAY))


@given(CATALOGUES)
def test_a_catalogue_does_not_differ_from_itself(plans: Catalogue) -> None:
    assert diff(plans, plans, TODAY) == []
