"""How charges are collected, as data: the policy of a plan, and the bounds of the breaker."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, NamedTuple

from schemas.plans import PlanVersion


class Policy(NamedTuple):
    """When a charge is collected, and when it is tried again."""

    collect: Literal["at_once", "cycle_end"] = "at_once"
    retry_days: tuple[int, ...] = (1, 3, 5, 7)  # after the first failure


AT_ONCE = Policy()


def policy_of(version: PlanVersion) -> Policy:
    return Policy(version.collect, version.retry_days)


class Bounds(NamedTuple):
    """One row of the circuit breaker: the most that is attempted within a window."""

    amount: int  # minor units, of whatever currency
    attempts: int
    within: timedelta


class Breaker(NamedTuple):
    """What keeps a mistake of ours from becoming thousands of payments."""

    customer: Bounds = Bounds(2_500_000, 500, timedelta(days=1))
    everyone: Bounds = Bounds(50_000_000, 20_000, timedelta(hours=1))


DEFAULT_BREAKER = Breaker()


class Tally(NamedTuple):
    """What was attempted within a window."""

    amount: int  # minor units
    attempts: int


def breach(bounds: Bounds, tally: Tally, amount: int) -> str | None:
    """Why one more attempt, for this amount, would be too much; None if it is not."""
    if tally.amount + amount > bounds.amount:
        return f"{tally.amount + amount} minor units within {bounds.within}, over {bounds.amount}"
    if tally.attempts >= bounds.attempts:
        return f"{tally.attempts} attempts within {bounds.within}, which is the most there may be"
    return None
