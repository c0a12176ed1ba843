from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from schemas.plans import DEFAULT_FILE, BadPlans, PlanVersion, install_plans, load_plans
from tests.builders import usd
from tests.schemas.plan_files import GOOD, version
from tests.test_documentation import named, rows

TODAY = date(2026, 3, 15)

DEFAULTS: dict[str, dict[str, Any]] = {
    "trial": {
        "signup_credits": 5,
        "billing_added_credits": 5,
        "billing_added_plan": "payg",
        "credits_expire_days": 90,
    },
    "payg": {"price": usd(29)},
    "pro": {
        "price": usd(15),
        "subscription": usd(599),
        "after_cancel_plan": "payg",
        "included_credits": 10,
        "rollover_credits_max": 10,
    },
}


@pytest.mark.parametrize(("code", "terms"), DEFAULTS.items(), ids=DEFAULTS)
def test_the_plans_that_are_shipped_are_those_that_are_promised(
    code: str, terms: dict[str, Any]
) -> None:
    shipped = load_plans()

    version = shipped.in_force(code, TODAY)

    assert version == PlanVersion(effective=date(2026, 1, 1), **terms)


@pytest.mark.parametrize("code", DEFAULTS)
def test_what_is_owed_is_collected_at_once_and_tried_again_for_a_week(code: str) -> None:
    shipped = load_plans()

    version = shipped.in_force(code, TODAY)

    assert (version.collect, version.retry_days) == ("at_once", (1, 3, 5, 7))


def test_no_other_plan_is_shipped() -> None:
    shipped = load_plans()

    codes = list(shipped.plans)

    assert codes == ["trial", "payg", "pro"]
    assert [shipped.title(code) for code in codes] == ["Trial", "Pay as you go", "Pro"]


@pytest.mark.parametrize(
    ("on", "price"),
    [
        (date(2026, 1, 1), usd(1)),
        (date(2026, 5, 31), usd(1)),
        (date(2026, 6, 1), usd(2)),
        (date(2030, 1, 1), usd(2)),
    ],
    ids=str,
)
def test_a_version_is_in_force_from_its_date_until_the_next(
    written: Any, on: date, price: object
) -> None:
    plans = load_plans(written(GOOD))

    version = plans.in_force("one", on)

    assert version.price == price


def test_before_its_first_version_a_plan_cannot_be_had(written: Any) -> None:
    plans = load_plans(written(GOOD))

    with pytest.raises(BadPlans, match="plan one has no version in force on 2025-12-31"):
        plans.in_force("one", date(2025, 12, 31))

    assert plans.in_force("one", date(2026, 1, 1)).price == usd(1)


def test_a_pinned_version_is_found_by_its_date_for_ever(written: Any) -> None:
    plans = load_plans(written(GOOD))

    old = plans.pinned("one", date(2026, 1, 1))
    with pytest.raises(BadPlans, match="versions are never removed"):
        plans.pinned("one", date(2026, 1, 2))

    assert old.price == usd(1)


COLLECTING: dict[str, tuple[str, tuple[str, tuple[int, ...]]]] = {
    "as a rule": ("", ("at_once", (1, 3, 5, 7))),
    "once a cycle": ('collect = "cycle_end"', ("cycle_end", (1, 3, 5, 7))),
    "tried often": ("retry_days = [1, 2, 3, 90]", ("at_once", (1, 2, 3, 90))),
    "tried once": ("retry_days = []", ("at_once", ())),
}


@pytest.mark.parametrize(("line", "terms"), COLLECTING.values(), ids=COLLECTING)
def test_a_version_says_when_it_is_collected(
    written: Any, line: str, terms: tuple[str, tuple[int, ...]]
) -> None:
    plans = load_plans(written(version(line)))

    found = plans.in_force("one", TODAY)

    assert (found.collect, found.retry_days) == terms


@pytest.mark.parametrize("ask", ["in_force", "pinned"])
def test_a_plan_that_is_not_there_is_told_with_those_that_are(written: Any, ask: str) -> None:
    plans = load_plans(written(GOOD))

    with pytest.raises(BadPlans, match="there is no plan 'two'; there are one"):
        getattr(plans, ask)("two", TODAY)

    with pytest.raises(BadPlans, match="there is no plan 'two'"):
        plans.title("two")


@pytest.fixture
def shipped_again() -> Iterator[None]:
    """For the tests after this one."""
    yield
    install_plans(DEFAULT_FILE)


@pytest.mark.usefixtures("shipped_again")
def test_an_installed_catalogue_is_the_one_that_is_loaded(written: Any) -> None:
    install_plans(written(GOOD))

    assert list(load_plans().plans) == ["one"]
    assert list(load_plans(DEFAULT_FILE).plans) == ["trial", "payg", "pro"]


def test_a_bad_catalogue_is_not_installed(written: Any) -> None:
    before = load_plans()

    with pytest.raises(BadPlans):
        install_plans(written("[one"))

    assert load_plans() is before


def test_every_field_of_a_version_is_documented() -> None:
    listed = {named(field)[0] for field, _, _ in rows("docs/plans.md", "The catalogue")}

    assert listed == PlanVersion.model_fields.keys()
