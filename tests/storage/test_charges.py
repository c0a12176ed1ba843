from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    attempt,
    charge,
    one_row,
    rows_of,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus
from worker.storage import bulk, tables
from worker.storage.charges import (
    LEASE,
    ChargeKey,
    add_attempt,
    answer_attempt,
    attempt_under_way,
    claim_due_charges,
    count_parked,
    end_lease,
    find_charge,
    last_number,
    read_charge,
    save_intent,
)

S = ChargeStatus
WALL = datetime(2026, 7, 1, tzinfo=UTC)  # far from business time: the two must not be mixed
KEY = ChargeKey("acme", "ch_acme")


def add_charges(engine: Engine, *some: Charge) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, some)


def claimed(
    engine: Engine, now: datetime = NOW, wall: datetime = WALL, limit: int = 10
) -> list[str]:
    with engine.begin() as tx:
        return [key.charge_id for key in claim_due_charges(tx, now, wall, limit)]


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


def test_a_charge_reads_back_as_it_was_written(engine: Engine) -> None:
    add_customer(engine)
    paid = charge(2900, S.PAID, leased_until=WALL)
    add_charges(engine, paid)

    with engine.begin() as tx:
        read = read_charge(tx, KEY)

    assert read == paid


@pytest.mark.parametrize(
    ("payment_intent", "charge_id", "found"),
    [
        ("pi_ch_acme", None, True),
        ("pi_ch_acme", "ch_other", True),
        ("pi_other", "ch_acme", True),
        ("pi_other", "ch_other", False),
        ("pi_other", None, False),
        (None, "ch_acme", False),
        (None, None, False),
    ],
)
def test_a_charge_is_found_by_its_payment_or_by_what_the_payment_says(
    engine: Engine, payment_intent: str | None, charge_id: str | None, found: bool
) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.PAID))

    with engine.begin() as tx:
        key = find_charge(tx, payment_intent, charge_id)

    assert key == (KEY if found else None)


def test_an_attempt_is_under_way_until_it_is_answered(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN))
    with engine.begin() as tx:
        before = attempt_under_way(tx, KEY)
        add_attempt(tx, attempt())

    with engine.begin() as tx:
        meanwhile = attempt_under_way(tx, KEY)
        assert meanwhile is not None
        answer = Answer(AnswerKind.DECLINED, None, code="lost_card", message="no")
        answer_attempt(tx, meanwhile, answer, WALL)
        afterwards = attempt_under_way(tx, KEY)

    assert (before, afterwards) == (None, None)
    assert meanwhile == attempt(resumed=True)
    stored = one_row(engine, tables.attempts)
    assert (stored["answer"], stored["code"], stored["message"]) == ("declined", "lost_card", "no")
    assert stored["answered_at"] == WALL


def test_attempts_are_counted_per_charge(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN), charge(100, S.VOID, charge_id="ch_other"))
    with engine.begin() as tx:
        none = last_number(tx, KEY)
        add_attempt(tx, attempt(1))
        answer_attempt(tx, attempt(1), Answer(AnswerKind.DECLINED), WALL)
        add_attempt(tx, attempt(2))

        some = last_number(tx, KEY)
        elsewhere = last_number(tx, ChargeKey("acme", "ch_other"))

    assert (none, some, elsewhere) == (0, 2, 0)


def test_an_intent_is_saved_with_the_attempt_and_the_charge(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN))
    with engine.begin() as tx:
        add_attempt(tx, attempt())

    with engine.begin() as tx:
        save_intent(tx, attempt(), "pi_1", None)

    assert one_row(engine, tables.attempts)["payment_intent"] == "pi_1"
    assert one_row(engine, tables.charges)["payment_intent"] == "pi_1"


@pytest.mark.parametrize(("told", "kept"), [("pi_2", "pi_2"), (None, "pi_1")])
def test_an_answer_without_an_intent_forgets_none(
    engine: Engine, told: str | None, kept: str
) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN))
    with engine.begin() as tx:
        add_attempt(tx, attempt(payment_intent="pi_1"))

    with engine.begin() as tx:
        answer_attempt(tx, attempt(), Answer(AnswerKind.DECLINED, told), WALL)

    assert [row["payment_intent"] for row in rows_of(engine, tables.attempts)] == [kept]


def test_a_charge_that_fell_due_while_nobody_looked_is_still_there(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(due_at=NOW - 400 * DAY, leased_until=WALL - 300 * DAY - HOUR))

    found = claimed(engine)

    assert found == ["ch_acme"]


def test_charges_that_wait_for_an_operator_are_counted(engine: Engine) -> None:
    add_customer(engine)
    none = count_parked(engine)
    add_charges(engine, charge(100, S.PARKED, charge_id="ch_parked"), charge())

    some = count_parked(engine)

    assert (none, some) == (0, 1)
