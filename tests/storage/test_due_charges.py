from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    charge,
    one_row,
)
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus
from worker.storage import bulk, tables
from worker.storage.charges import (
    LEASE,
    ChargeKey,
    ask_soon,
    claim_due_charges,
    claim_withdrawals,
    end_lease,
)
from worker.storage.collecting import switch

Claim = Callable[[Connection, datetime, datetime, int], list[ChargeKey]]

S = ChargeStatus
WALL = datetime(2026, 7, 1, tzinfo=UTC)  # far from business time: the two must not be mixed
KEY = ChargeKey("acme", "ch_acme")


def add_charges(engine: Engine, *some: Charge) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, some)


def claimed(
    engine: Engine,
    now: datetime = NOW,
    wall: datetime = WALL,
    limit: int = 10,
    claim: Claim = claim_due_charges,
) -> list[str]:
    with engine.begin() as tx:
        return [key.charge_id for key in claim(tx, now, wall, limit)]


def stop_collecting(engine: Engine) -> None:
    with engine.begin() as tx:
        switch(tx, stopped_at=WALL, why="a drill")


DUE = {
    "open and due": (charge(), True),
    "due this moment": (charge(due_at=NOW), True),
    "not due yet": (charge(due_at=NOW + timedelta(microseconds=1)), False),
    "never due": (charge(due_at=None), False),
    "frozen, asked again": (charge(2900, S.FROZEN), True),
    "declined, tried again": (charge(2900, S.DECLINED), True),
    "leased": (charge(leased_until=WALL), False),
    "lease over": (charge(leased_until=WALL - timedelta(microseconds=1)), True),
}


@pytest.mark.parametrize(("one", "due"), DUE.values(), ids=DUE)
def test_what_is_due_and_not_leased_is_claimed(engine: Engine, one: Charge, due: bool) -> None:
    add_customer(engine)
    add_charges(engine, one)

    found = claimed(engine)

    assert found == (["ch_acme"] if due else [])


def test_a_claim_is_a_lease_in_wall_time(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge())

    first, second = claimed(engine), claimed(engine)
    after_the_lease = claimed(engine, wall=WALL + LEASE + timedelta(seconds=1))

    assert (first, second, after_the_lease) == (["ch_acme"], [], ["ch_acme"])


def test_a_lease_can_be_ended(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge())
    claimed(engine)

    with engine.begin() as tx:
        end_lease(tx, KEY)

    assert claimed(engine) == ["ch_acme"]


def test_the_longest_due_come_first_and_no_more_than_asked_for(engine: Engine) -> None:
    for number in range(3):
        add_customer(engine, f"c{number}")
        late = charge(customer_id=f"c{number}", charge_id=f"ch_{number}", due_at=NOW - number * DAY)
        add_charges(engine, late)

    found = claimed(engine, limit=2)

    assert found == ["ch_2", "ch_1"]


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_an_open_charge_waits_behind_one_in_flight(engine: Engine, status: ChargeStatus) -> None:
    add_customer(engine)
    add_charges(engine, charge(100, status, charge_id="ch_before", due_at=None), charge())

    found = claimed(engine)

    assert found == []


@pytest.mark.parametrize("status", [S.PAID, S.VOID])
def test_an_open_charge_does_not_wait_behind_one_that_is_over(
    engine: Engine, status: ChargeStatus
) -> None:
    add_customer(engine)
    over = charge(100 if status is S.PAID else 0, status, charge_id="ch_before", due_at=None)
    add_charges(engine, over, charge())

    found = claimed(engine)

    assert found == ["ch_acme"]


def test_another_customers_charge_in_flight_is_no_obstacle(engine: Engine) -> None:
    add_customer(engine)
    add_customer(engine, "globex")
    theirs = charge(100, S.FROZEN, customer_id="globex", charge_id="ch_theirs", due_at=None)
    add_charges(engine, theirs, charge())

    found = claimed(engine)

    assert found == ["ch_acme"]


def test_two_sweeps_at_once_claim_different_charges(engine: Engine) -> None:
    for number in range(4):
        add_customer(engine, f"c{number}")
        add_charges(engine, charge(customer_id=f"c{number}", charge_id=f"ch_{number}"))

    with engine.begin() as one, engine.begin() as other:
        first = claim_due_charges(one, NOW, WALL, 2)
        second = claim_due_charges(other, NOW, WALL, 10)

    assert len(first) == len(second) == 2
    assert not set(first) & set(second)


def test_a_charge_of_a_customer_whose_clock_is_ahead_is_due_by_that_clock(engine: Engine) -> None:
    add_customer(engine, clock_offset=40 * DAY)
    add_charges(engine, charge(opened_at=NOW + 40 * DAY, due_at=NOW + 40 * DAY))

    found = claimed(engine, now=NOW + MINUTE)

    assert found == ["ch_acme"]


def test_a_charge_of_a_customer_whose_clock_is_behind_is_not_due_yet(engine: Engine) -> None:
    add_customer(engine, clock_offset=-HOUR)
    add_charges(engine, charge(due_at=NOW - MINUTE))

    found = claimed(engine), claimed(engine, now=NOW + HOUR)

    assert found == ([], ["ch_acme"])


def test_nothing_of_a_parked_customer_is_collected(engine: Engine) -> None:
    add_customer(engine, parked_at=NOW, parked_why="a drill")
    add_customer(engine, "globex")
    add_charges(engine, charge(), charge(customer_id="globex", charge_id="ch_globex"))

    found = claimed(engine)

    assert found == ["ch_globex"]


def test_while_collecting_is_stopped_nothing_is_collected(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge())
    stop_collecting(engine)

    stopped = claimed(engine)
    with engine.begin() as tx:
        switch(tx, started_at=WALL)
    started = claimed(engine)

    assert (stopped, started) == ([], ["ch_acme"])


def withdrawing(**more: Any) -> Charge:
    return charge(2900, S.WITHDRAWING, **more)


def test_a_charge_that_is_withdrawn_is_claimed_for_that_alone(engine: Engine) -> None:
    add_customer(engine)
    add_customer(engine, "globex")
    add_charges(engine, withdrawing(), charge(customer_id="globex", charge_id="ch_globex"))

    to_collect, to_withdraw = claimed(engine), claimed(engine, claim=claim_withdrawals)

    assert (to_collect, to_withdraw) == (["ch_globex"], ["ch_acme"])


@pytest.mark.parametrize("parked", [{}, {"parked_at": NOW, "parked_why": "cancelled"}], ids=str)
def test_a_withdrawal_moves_no_money_so_nothing_stops_it(
    engine: Engine, parked: dict[str, Any]
) -> None:
    add_customer(engine, **parked)
    add_charges(engine, withdrawing())
    stop_collecting(engine)

    found = claimed(engine, claim=claim_withdrawals)

    assert found == ["ch_acme"]


def test_a_withdrawal_is_leased_and_due_by_the_customers_clock(engine: Engine) -> None:
    add_customer(engine, clock_offset=DAY)
    add_charges(engine, withdrawing(due_at=NOW + DAY))

    too_early = claimed(engine, now=NOW - MINUTE, claim=claim_withdrawals)
    first, second = (claimed(engine, claim=claim_withdrawals) for _ in range(2))

    assert (too_early, first, second) == ([], ["ch_acme"], [])


SOON = {
    "frozen, waiting": (charge(2900, S.FROZEN, waits=3, due_at=NOW + HOUR), NOW),
    "being withdrawn, waiting": (withdrawing(waits=1, due_at=NOW + HOUR), NOW),
    "frozen, not waiting": (charge(2900, S.FROZEN, due_at=NOW + HOUR), NOW + HOUR),
    "declined": (charge(2900, S.DECLINED, waits=3, due_at=NOW + DAY), NOW + DAY),
    "the customer must act": (charge(2900, S.ACTION_REQUIRED, waits=3, due_at=None), None),
    "parked": (charge(2900, S.PARKED, waits=3, due_at=None), None),
    "open": (charge(2900, waits=3, due_at=NOW + DAY), NOW + DAY),
}


@pytest.mark.parametrize(("owed", "due_at"), SOON.values(), ids=SOON)
def test_news_ends_only_a_pause(engine: Engine, owed: Charge, due_at: datetime | None) -> None:
    add_customer(engine)
    add_charges(engine, owed)

    with engine.begin() as tx:
        ask_soon(tx, KEY, NOW)

    assert one_row(engine, tables.charges)["due_at"] == due_at


def test_a_charge_that_fell_due_while_nobody_looked_is_still_there(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(due_at=NOW - 400 * DAY, leased_until=WALL - 300 * DAY - HOUR))

    found = claimed(engine)

    assert found == ["ch_acme"]
