from __future__ import annotations

from datetime import date, timedelta

import pytest

from schemas.plans import PlanVersion, load_plans
from tests.builders import DAY, HOUR, PLAN_DATE
from worker.billing.policy import (
    AT_ONCE,
    DEFAULT_BREAKER,
    Bounds,
    Policy,
    Tally,
    breach,
    policy_of,
)

BOUNDS = Bounds(amount=10_000, attempts=3, within=HOUR)

ATTEMPTS: dict[str, tuple[Tally, int, str | None]] = {
    "the first": (Tally(0, 0), 2900, None),
    "the last that fits": (Tally(7100, 2), 2900, None),
    "a cent too much": (Tally(7101, 2), 2900, "10001 minor units within 1:00:00, over 10000"),
    "alone too much": (Tally(0, 0), 10_001, "10001 minor units within 1:00:00, over 10000"),
    "one too many": (
        Tally(0, 3),
        1,
        "3 attempts within 1:00:00, which is the most there may be",
    ),
    "far too many": (
        Tally(0, 9),
        1,
        "9 attempts within 1:00:00, which is the most there may be",
    ),
    "both": (Tally(10_000, 3), 1, "10001 minor units within 1:00:00, over 10000"),
    "full, for nothing more": (Tally(10_000, 2), 0, None),
}


@pytest.mark.parametrize(("tally", "amount", "why"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_the_breaker_says_what_would_be_too_much(
    tally: Tally, amount: int, why: str | None
) -> None:
    bounds = BOUNDS

    found = breach(bounds, tally, amount)

    assert found == why


def test_one_customer_trips_before_everyone_does() -> None:
    customer, everyone = DEFAULT_BREAKER

    assert customer.amount < everyone.amount
    assert customer.attempts < everyone.attempts
    assert (customer.within, everyone.within) == (DAY, timedelta(hours=1))


def test_a_policy_is_what_the_plan_says() -> None:
    version = PlanVersion(effective=date(2026, 1, 1), collect="cycle_end", retry_days=(2, 4))

    policy = policy_of(version)

    assert policy == Policy("cycle_end", (2, 4))


@pytest.mark.parametrize("plan", ["trial", "payg", "pro"])
def test_the_plans_that_are_shipped_collect_at_once(plan: str) -> None:
    version = load_plans().pinned(plan, PLAN_DATE)

    policy = policy_of(version)

    assert policy == AT_ONCE == Policy("at_once", (1, 3, 5, 7))
