from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from schemas.inbox import PARTITIONS
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    NOW,
    add_customer,
    deployed,
    fix,
    give_credits,
    outcomes,
    settle_events,
)
from worker.clock import Clock
from worker.rollover import roll_over
from worker.settle import settle_backlog
from worker.storage import bulk, tables
from worker.storage.backlog import due_backlogs

PRO = {"plan": "pro", "subscription_id": "sub_1", "anchor": MARCH.start}


def hold(engine: Engine, customer_id: str = "acme", **standing: Any) -> None:
    """A customer of this standing with one held fix."""
    add_customer(engine, customer_id, held=1, **standing)
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [fix("held", customer_id=customer_id)])


def due(engine: Engine, now: datetime = NOW, limit: int = 10) -> list[str]:
    with engine.begin() as tx:
        return due_backlogs(tx, now, limit)


STANDINGS: dict[str, tuple[dict[str, Any], bool]] = {
    "nobody agreed": ({}, False),
    "accepted": ({"accepted_held_until": NOW}, True),
    "accepted, no card": ({"accepted_held_until": NOW, "card": False}, False),
    "accepted, past due": ({"accepted_held_until": NOW, "past_due": True}, False),
    "a cap with room": ({"spending_cap": 2900}, True),
    "a cap with room left this month": (
        {"spending_cap": 5800, "spent": 2900},
        True,
    ),
    "a cap that is used up": (
        {"spending_cap": 2900, "spent": 2900},
        False,
    ),
    "accepted, the period is not paid": ({"accepted_held_until": NOW} | PRO, False),
    "a cap, the period is not paid": ({"spending_cap": 1500} | PRO, False),
    "accepted, the last period is paid": (
        {"accepted_held_until": NOW, "paid_until": MARCH.start} | PRO,
        False,
    ),
    "accepted, the period is paid": (
        {"accepted_held_until": NOW, "paid_until": MARCH.end} | PRO,
        True,
    ),
    "a credit, the period is not paid": ({"credits": 1} | PRO, True),
    "a cap, no card": ({"spending_cap": 2900, "card": False}, False),
}


@pytest.mark.parametrize(("standing", "expected"), STANDINGS.values(), ids=STANDINGS)
def test_a_backlog_is_due_where_money_may_be_taken(
    engine: Engine, standing: dict[str, Any], expected: bool
) -> None:
    hold(engine, **standing)

    found = due(engine)

    assert found == (["acme"] if expected else [])


@pytest.mark.parametrize("standing", [{}, {"card": False}, {"past_due": True}, {"plan": "trial"}])
def test_a_credit_makes_a_backlog_due(engine: Engine, standing: dict[str, Any]) -> None:
    hold(engine, **standing)
    give_credits(engine)

    found = due(engine)

    assert found == ["acme"]


@pytest.mark.parametrize(
    ("ends", "expected"), [(NOW, []), (NOW + HOUR, ["acme"])], ids=["expired", "still good"]
)
def test_an_expired_credit_makes_nothing_due(
    engine: Engine, ends: datetime, expected: list[str]
) -> None:
    hold(engine)
    give_credits(engine, expires_at=ends)

    found = due(engine)

    assert found == expected


def test_without_a_held_fix_nothing_is_due(engine: Engine) -> None:
    add_customer(engine, credits=3, spending_cap=5000)

    found = due(engine)

    assert found == []


STUCK: dict[str, dict[str, Any]] = {
    "accepted before the fix came": {"accepted_held_until": NOW - 2 * HOUR},
    "not enough room for one fix": {"spending_cap": 100},
    "a plan without a price": {"plan": "trial", "spending_cap": 100},
}


@pytest.mark.parametrize("standing", STUCK.values(), ids=STUCK)
def test_a_backlog_that_nothing_can_pay_does_not_keep_others_waiting(
    engine: Engine, standing: dict[str, Any]
) -> None:
    hold(engine, "stuck", **standing)
    hold(engine, "payable", spending_cap=2900)

    for _ in range(3):
        for customer_id in due(engine, limit=1):
            settle_backlog(customer_id, engine, NOW)

    assert outcomes(engine, "payable") == {"held": "charged"}


def test_a_sweep_settles_what_is_due(engine: Engine) -> None:
    hold(engine, spending_cap=2900)

    for customer_id in due(engine):
        settle_backlog(customer_id, engine, NOW)

    assert outcomes(engine) == {"held": "charged"}
    assert due(engine) == []


def test_what_the_cap_held_last_month_settles_this_month_though_nothing_new_comes(
    engine: Engine,
) -> None:
    add_customer(engine, spending_cap=2900)
    settle_events(engine, deployed("paid"), deployed("above-the-cap"))
    assert outcomes(engine) == {"paid": "charged", "above-the-cap": "held"}

    april = NOW + 20 * DAY
    everywhere = dict.fromkeys(range(PARTITIONS), april)
    roll_over(["acme"], engine, everywhere, Clock(april - Clock().wall()))

    assert outcomes(engine) == {"paid": "charged", "above-the-cap": "charged"}
