"""What a cycle will come to: whole numbers all the way."""

from __future__ import annotations

from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from schemas.answers import Forecast
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    fixes_of,
    give_credits,
    settle_events,
    usd,
)
from worker.usage.current import current_usage
from worker.usage.forecast import ASSUMED, Pace, at_pace, forecast


def pace(**more: Any) -> Pace:
    """Ten days of thirty; $29 a fix without a credit."""
    values: dict[str, Any] = {
        "elapsed": 10 * DAY,
        "whole": 30 * DAY,
        "credited": 0,
        "charged": 0,
        "money": usd(29) * more.get("charged", 0),
        "subscription": usd(0),
        "due": usd(0),
        "credits": 0,
        "price": usd(29),
        "room": None,
    }
    return Pace(**values | more)


def told(pace: Pace) -> tuple[int, int, int, int]:
    """Fixes, those by credits, those held, and the dollars."""
    ahead = forecast(pace)
    assert ahead is not None
    return (
        ahead.fixes_by_end,
        ahead.credits_by_end,
        ahead.held_by_end,
        ahead.money_by_end.amount // 100,
    )


@pytest.mark.parametrize(
    ("known", "by_end"),
    [
        ({}, (0, 0, 0, 0)),
        ({"charged": 4}, (12, 0, 0, 12 * 29)),
        ({"credited": 4, "credits": 100}, (12, 12, 0, 0)),
        ({"credited": 4, "credits": 3}, (12, 7, 0, 5 * 29)),
        ({"credited": 1, "charged": 3, "credits": 2}, (12, 3, 0, 9 * 29)),
        ({"charged": 4, "price": None}, (12, 0, 8, 4 * 29)),
        ({"credited": 4, "credits": 3, "price": None}, (12, 7, 5, 0)),
        ({"charged": 4, "room": 3 * 2900}, (12, 0, 5, 7 * 29)),
        ({"charged": 4, "room": 3 * 2900 - 1}, (12, 0, 6, 6 * 29)),
        ({"charged": 4, "room": -1}, (12, 0, 8, 4 * 29)),
        ({"charged": 4, "room": 0, "credits": 2}, (12, 2, 6, 4 * 29)),
        ({"charged": 1, "subscription": usd(599)}, (3, 0, 0, 599 + 3 * 29)),
        ({"due": usd(599)}, (0, 0, 0, 599)),
        ({"charged": 4, "elapsed": 30 * DAY}, (4, 0, 0, 4 * 29)),
        ({"charged": 4, "elapsed": 31 * DAY}, (4, 0, 0, 4 * 29)),
    ],
)
def test_credits_come_first_then_money_as_far_as_the_cap_allows(
    known: dict[str, Any], by_end: tuple[int, int, int, int]
) -> None:
    assert told(pace(**known)) == by_end


@pytest.mark.parametrize(
    ("fixes", "elapsed", "whole", "by_end"),
    [
        (1, 3 * DAY, 30 * DAY, 10),
        (1, 4 * DAY, 30 * DAY, 8),  # 7.5: halves go up
        (1, 7 * DAY, 30 * DAY, 4),  # 4.29
        (2, 7 * DAY, 30 * DAY, 9),  # 8.57
        (7, HOUR, 31 * DAY, 7 * 31 * 24),
        (1, 30 * DAY - MINUTE, 30 * DAY, 1),
    ],
)
def test_the_pace_is_rounded_to_whole_fixes(
    fixes: int, elapsed: timedelta, whole: timedelta, by_end: int
) -> None:
    assert at_pace(fixes, elapsed, whole) == by_end


@pytest.mark.parametrize(
    ("elapsed", "told"), [(HOUR - timedelta(microseconds=1), False), (HOUR, True)]
)
def test_in_the_first_hour_it_is_too_early_to_tell(elapsed: timedelta, told: bool) -> None:
    assert (forecast(pace(charged=3, elapsed=elapsed)) is not None) is told


paces = st.builds(
    pace,
    elapsed=st.timedeltas(HOUR, 31 * DAY),
    whole=st.timedeltas(28 * DAY, 31 * DAY),
    credited=st.integers(0, 5000),
    charged=st.integers(0, 5000),
    credits=st.integers(0, 5000),
    price=st.none() | st.integers(1, 10**6).map(lambda cents: usd(0, cents)),
    room=st.none() | st.integers(-1000, 10**9),
    subscription=st.sampled_from([usd(0), usd(599)]),
)


def seen(pace: Pace) -> Forecast:
    ahead = forecast(pace)
    assert ahead is not None
    return ahead


@given(paces)
def test_every_fix_is_paid_by_a_credit_or_by_money_or_held(known: Pace) -> None:
    ahead = seen(known)
    so_far = known.credited + known.charged
    more_by_credit = ahead.credits_by_end - known.credited
    more_money = ahead.money_by_end - ahead.money
    price = known.price or usd(0, 1)
    more_by_money, rest = divmod(more_money.amount, price.amount)

    assert rest == 0
    assert ahead.fixes == so_far
    assert ahead.fixes_by_end == so_far + more_by_credit + more_by_money + ahead.held_by_end
    assert 0 <= more_by_credit <= known.credits
    assert not (more_by_money or ahead.held_by_end) or more_by_credit == known.credits
    assert known.room is None or more_money.amount <= max(0, known.room)
    assert min(more_by_money, ahead.held_by_end) >= 0
    if ahead.held_by_end and known.price and known.room is not None:
        assert more_money.amount + known.price.amount > known.room


@given(st.integers(0, 10**6), st.timedeltas(HOUR, 31 * DAY), st.timedeltas(28 * DAY, 31 * DAY))
def test_the_pace_is_exact_to_half_a_fix(fixes: int, elapsed: timedelta, whole: timedelta) -> None:
    exact = Fraction(fixes) * Fraction(
        whole // timedelta.resolution, elapsed // timedelta.resolution
    )

    by_end = at_pace(fixes, elapsed, whole)

    assert by_end == max(fixes, int(exact + Fraction(1, 2)))


def ahead_of(engine: Engine, at: datetime) -> Forecast | None:
    with engine.begin() as tx:
        usage = current_usage(tx, "initech", at, None)
    assert usage is not None
    return usage.forecast


def test_usage_looks_ahead(engine: Engine) -> None:
    """On noon of the 15th of March: 3 x 31 / 14.5 is 6.4 fixes."""
    add_customer(engine, "initech", spending_cap=4 * 2900)
    give_credits(engine, "initech", 1)
    settle_events(engine, *fixes_of("initech", 3))

    ahead = ahead_of(engine, NOW)

    assert ahead == Forecast(
        fixes=3,
        money=usd(58),
        fixes_by_end=6,
        credits_by_end=1,
        money_by_end=usd(4 * 29),
        held_by_end=1,
        assumes=ASSUMED,
    )


def test_a_cycle_that_has_just_begun_has_no_forecast(engine: Engine) -> None:
    add_customer(engine, "initech")

    assert ahead_of(engine, MARCH.end + 59 * MINUTE) is None
    assert ahead_of(engine, MARCH.end + HOUR) is not None


def test_without_a_card_nothing_more_becomes_money(engine: Engine) -> None:
    add_customer(engine, "initech", card=False, credits=1)
    settle_events(engine, *fixes_of("initech", 1))

    ahead = ahead_of(engine, NOW)

    assert ahead is not None
    assert (ahead.fixes_by_end, ahead.held_by_end, ahead.money_by_end) == (2, 1, usd(0))
