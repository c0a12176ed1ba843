from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas.plans import BadPlans, PlanVersion, load_plans
from tests.builders import usd

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


GOOD = """
[one]
title = "One"
[[one.versions]]
effective = 2026-01-01
price = { amount = 100, currency = "usd" }
[[one.versions]]
effective = 2026-06-01
price = { amount = 200, currency = "usd" }
"""


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        file = tmp_path / "plans.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return file

    return write


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


def version(line: str) -> str:
    return f'[one]\ntitle = "One"\n[[one.versions]]\neffective = 2026-01-01\n{line}\n'


BAD: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("[one", "plans.toml"),
    "no UTF-8": (b'[one]\ntitle = "\xff"\n', "plans.toml"),
    "a plan that is a number": ("one = 1\n", "plans.toml"),
    "no title": ("[one]\n[[one.versions]]\neffective = 2026-01-01\n", "title"),
    "no versions": ('[one]\ntitle = "One"\n', "versions"),
    "versions of nothing": ('[one]\ntitle = "One"\nversions = []\n', "versions"),
    "no date": ('[one]\ntitle = "One"\n[[one.versions]]\n', "versions.0.effective"),
    "a date that is none": (version("")[:-1].replace("2026-01-01", '"soon"'), "effective"),
    "an unheard-of term": (version("discount = 5"), "versions.0.discount"),
    "an unheard-of word beside the title": (version("") + "[one.more]\n", "more"),
    "a price in floats": (
        version('price = { amount = 29.0, currency = "usd" }'),
        "versions.0.price",
    ),
    "a price of nothing": (
        version('price = { amount = 0, currency = "usd" }'),
        "versions.0.price",
    ),
    "a negative price": (
        version('price = { amount = -1, currency = "usd" }'),
        "versions.0.price",
    ),
    "a price without a currency": (version("price = { amount = 1 }"), "versions.0.price"),
    "a price in capitals": (
        version('price = { amount = 1, currency = "USD" }'),
        "versions.0.price",
    ),
    "a price that is a word": (version('price = "free"'), "versions.0.price"),
    "a truth for a price": (
        version('price = { amount = true, currency = "usd" }'),
        "versions.0.price",
    ),
    "negative credits": (version("signup_credits = -1"), "versions.0.signup_credits"),
    "half a credit": (version("signup_credits = 0.5"), "versions.0.signup_credits"),
    "credits in words": (version('signup_credits = "5"'), "versions.0.signup_credits"),
    "too many credits": (version("included_credits = 1000001"), "versions.0.included_credits"),
    "a card that leads to no plan": (version('billing_added_plan = "two"'), "billing_added_plan"),
    "an unheard-of way to collect": (version('collect = "sometimes"'), "versions.0.collect"),
    "days that do not rise": (version("retry_days = [1, 1]"), "versions.0.retry_days"),
    "days that fall": (version("retry_days = [3, 1]"), "versions.0.retry_days"),
    "a try on the day itself": (version("retry_days = [0, 1]"), "versions.0.retry_days"),
    "a try in a year": (version("retry_days = [1, 365]"), "versions.0.retry_days"),
    "half a day": (version("retry_days = [0.5]"), "versions.0.retry_days"),
    "days in words": (version('retry_days = ["1"]'), "versions.0.retry_days"),
    "days that are one number": (version("retry_days = 3"), "versions.0.retry_days"),
    "dates that do not rise": (
        version("") + "[[one.versions]]\neffective = 2026-01-01\n",
        "versions",
    ),
    "dates that fall": (
        version("") + "[[one.versions]]\neffective = 2025-01-01\n",
        "versions",
    ),
}


@pytest.mark.parametrize(("text", "field"), BAD.values(), ids=BAD)
def test_a_bad_catalogue_is_refused_by_file_and_field(
    written: Any, text: str | bytes, field: str
) -> None:
    file = written(text)

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    assert str(refused.value).startswith(f"{file}: ")
    assert field in str(refused.value)


def test_a_bad_catalogue_names_the_plan_that_is_wrong(written: Any) -> None:
    file = written(GOOD + version("discount = 5").replace("one", "second"))

    with pytest.raises(BadPlans) as refused:
        load_plans(file)

    assert "second" in str(refused.value)


def test_a_catalogue_that_is_not_there_is_told_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "missing.toml"

    with pytest.raises(BadPlans, match=r"missing\.toml"):
        load_plans(file)

    assert not file.exists()
