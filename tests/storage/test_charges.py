from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from tests.builders import (
    DAY,
    HOUR,
    NOW,
    add_customer,
    attempt,
    charge,
    deployed,
    journal,
    one_row,
    reverted,
    rows_of,
    settle_events,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.policy import Tally
from worker.storage import bulk, tables
from worker.storage.books import open_books
from worker.storage.charges import (
    ChargeKey,
    add_attempt,
    attempt_under_way,
    attempted_since,
    count_parked,
    find_by_id,
    find_charge,
    fixes_on,
    has_payment,
    newest_attempt,
    note_answer,
    read_charge,
    save_intent,
    standing_lines,
    status_of,
)
from worker.storage.post import post

S = ChargeStatus
WALL = datetime(2026, 7, 1, tzinfo=UTC)  # far from business time: the two must not be mixed
KEY = ChargeKey("acme", "ch_acme")


def add_charges(engine: Engine, *some: Charge) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, some)


def test_a_charge_is_found_by_its_own_id(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.PARKED))

    with engine.begin() as tx:
        found, status = find_by_id(tx, "ch_acme"), status_of(tx, KEY)
        nothing = find_by_id(tx, "ch_other")

    assert (found, status, nothing) == (KEY, S.PARKED, None)


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
    ],
)
def test_a_charge_is_found_by_its_payment_or_by_what_the_payment_says(
    engine: Engine, payment_intent: str, charge_id: str | None, found: bool
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
        note_answer(tx, meanwhile, answer, WALL)
        afterwards = attempt_under_way(tx, KEY)

    assert (before, afterwards) == (None, None)
    assert meanwhile == attempt(resumed=True)
    stored = one_row(engine, tables.attempts)
    assert (stored["answer"], stored["code"], stored["message"]) == ("declined", "lost_card", "no")
    assert stored["answered_at"] == WALL


def test_the_payment_counts_for_more_than_what_it_says(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.PAID), charge(100, charge_id="ch_named"))

    with engine.begin() as tx:
        key = find_charge(tx, "pi_ch_acme", "ch_named")

    assert key == KEY


def test_the_newest_attempt_is_that_of_the_highest_number(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN), charge(100, S.VOID, charge_id="ch_other"))
    with engine.begin() as tx:
        none = newest_attempt(tx, KEY)
        add_attempt(tx, attempt(1))
        note_answer(tx, attempt(1), Answer(AnswerKind.DECLINED), WALL)
        add_attempt(tx, attempt(2))

        newest = newest_attempt(tx, KEY)
        elsewhere = newest_attempt(tx, ChargeKey("acme", "ch_other"))

    assert (none, elsewhere) == (None, None)
    assert newest == attempt(2, resumed=True)


def test_what_was_attempted_is_added_up_for_one_customer_and_for_all(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
        add_charges(
            engine, charge(status=S.FROZEN, customer_id=customer_id, charge_id=f"ch_{customer_id}")
        )
    with engine.begin() as tx:
        add_attempt(tx, attempt(1, started_at=NOW - HOUR))
        note_answer(tx, attempt(1), Answer(AnswerKind.DECLINED), WALL)
        add_attempt(tx, attempt(2, started_at=NOW))
        add_attempt(tx, attempt(1, customer_id="globex", started_at=NOW))

        tallies = [
            attempted_since(tx, NOW - DAY, "acme"),
            attempted_since(tx, NOW - HOUR, "acme"),
            attempted_since(tx, NOW - HOUR),
            attempted_since(tx, NOW),
        ]

    assert tallies == [Tally(5800, 2), Tally(2900, 1), Tally(5800, 2), Tally(0, 0)]


def test_the_lines_that_stand_and_their_fixes_are_read(engine: Engine) -> None:
    add_customer(engine)
    add_customer(engine, "globex")
    settle_events(engine, deployed("a"), deployed("b"), deployed("c"), deployed("a", "globex"))
    settle_events(engine, reverted("b"))
    key = ChargeKey("acme", one_row(engine, tables.charges, customer_id="acme")["charge_id"])

    with engine.begin() as tx:
        lines = standing_lines(tx, key)
        fixes = fixes_on(tx, lines)
        none = fixes_on(tx, [])

    assert sorted(each.fix_id for each in lines) == ["a", "c"]
    assert {(each.customer_id, each.charge_id) for each in lines} == {key}
    assert {(each.customer_id, each.charge_id) for each in fixes} == {key}
    assert sorted(each.fix_id for each in fixes) == ["a", "c"]
    assert none == []


@pytest.mark.parametrize("kind", ["pay", "unapplied_in"])
def test_a_payment_is_in_the_ledger_whatever_it_paid(engine: Engine, kind: str) -> None:
    add_customer(engine, receivable=100, revenue=-100)
    with engine.begin() as tx:
        (standing,) = open_books(tx, ["acme"]).values()
        written = journal(standing)
        move = standing.move(kind, 100, "pi_1", happened_at=NOW, recorded_at=NOW)
        written.transfers.append(move)
        written.touched.add("acme")
        post(tx, written)

        found = [
            has_payment(tx, *each)
            for each in (("acme", "pi_1"), ("acme", "pi_2"), ("globex", "pi_1"))
        ]

    assert found == [True, False, False]


def test_an_intent_is_saved_with_the_attempt_and_the_charge(engine: Engine) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN))
    with engine.begin() as tx:
        add_attempt(tx, attempt())

    with engine.begin() as tx:
        save_intent(tx, attempt(), "pi_1", None)

    assert one_row(engine, tables.attempts)["payment_intent"] == "pi_1"
    assert one_row(engine, tables.charges)["payment_intent"] == "pi_1"


OVERTAKEN = {
    "another intent was first": charge(2900, S.FROZEN, payment_intent="pi_2"),
    "it was withdrawn": charge(2900, S.WITHDRAWING),
    "it was paid": charge(2900, S.PAID, payment_intent="pi_2"),
    "it was given up": charge(2900, S.VOID),
    "it was declined": charge(2900, S.DECLINED, payment_intent="pi_1"),
}


@pytest.mark.parametrize("owed", OVERTAKEN.values(), ids=OVERTAKEN)
def test_an_intent_of_an_attempt_that_was_overtaken_is_not_saved(
    engine: Engine, owed: Charge
) -> None:
    add_customer(engine)
    add_charges(engine, owed)
    with engine.begin() as tx:
        add_attempt(tx, attempt())

        saved = save_intent(tx, attempt(), "pi_1", None)

    assert not saved
    assert one_row(engine, tables.attempts)["payment_intent"] is None
    assert one_row(engine, tables.charges)["payment_intent"] == owed.payment_intent


@pytest.mark.parametrize("known", [None, "pi_1"])
def test_an_intent_is_saved_however_often(engine: Engine, known: str | None) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN, payment_intent=known))
    with engine.begin() as tx:
        add_attempt(tx, attempt())

        saved = [save_intent(tx, attempt(), "pi_1", before) for before in (None, "ch_1")]

    assert saved == [True, True]
    kept = one_row(engine, tables.attempts)
    assert (kept["payment_intent"], kept["charge_before"]) == ("pi_1", "ch_1")


@pytest.mark.parametrize(("told", "kept"), [("pi_2", "pi_2"), (None, "pi_1")])
def test_an_answer_without_an_intent_forgets_none(
    engine: Engine, told: str | None, kept: str
) -> None:
    add_customer(engine)
    add_charges(engine, charge(2900, S.FROZEN))
    with engine.begin() as tx:
        add_attempt(tx, attempt(payment_intent="pi_1"))

    with engine.begin() as tx:
        note_answer(tx, attempt(), Answer(AnswerKind.DECLINED, told), WALL)

    assert [row["payment_intent"] for row in rows_of(engine, tables.attempts)] == [kept]


def test_charges_that_wait_for_an_operator_are_counted(engine: Engine) -> None:
    add_customer(engine)
    none = count_parked(engine)
    add_charges(engine, charge(100, S.PARKED, charge_id="ch_parked"), charge())

    some = count_parked(engine)

    assert (none, some) == (0, 1)
