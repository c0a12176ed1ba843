"""The debt changes while it is being collected: a charge is withdrawn, and replaced."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import pytest

from tests.builders import DAY, HOUR, NOW, book, charge, fix, journal, moved, owing
from worker.billing.answers import Answer, AnswerKind
from worker.billing.book import Book
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus, Line, Why
from worker.billing.dunning import Step, next_step
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.payments import (
    begin_attempt,
    drop_line,
    give_up,
    replace,
    take_step,
    try_at_once,
    withdraw,
)
from worker.billing.policy import AT_ONCE

S = ChargeStatus
PAID = Step(S.PAID, None, answered=True, past_due=False)
THANKS = Answer(AnswerKind.SUCCEEDED, "pi_1")
CANCELED = Answer(AnswerKind.CANCELED, "pi_1")


# The debt changes while it is being collected.

RESUMED = {
    "under way": (charge(status=S.FROZEN), NOW),
    "tried again tomorrow": (charge(status=S.DECLINED, due_at=NOW + DAY), NOW + DAY),
    "never tried again": (charge(status=S.DECLINED, due_at=None), None),
    "the customer must act": (charge(status=S.ACTION_REQUIRED, due_at=None), NOW),
    "parked": (charge(status=S.PARKED, due_at=None), NOW),
    "withdrawn already": (
        charge(status=S.WITHDRAWING, due_at=NOW - HOUR, resume_at=NOW + DAY),
        NOW + DAY,
    ),
}


@pytest.mark.parametrize(("owed", "resume_at"), RESUMED.values(), ids=RESUMED)
def test_what_replaces_a_withdrawn_charge_is_due_when_that_was(
    owed: Charge, resume_at: object
) -> None:
    standing = owing(owed)
    written = journal(standing)

    withdraw(written, standing, owed)

    assert (owed.status, owed.due_at, owed.resume_at) == (S.WITHDRAWING, NOW, resume_at)
    assert written.charges.changed == {"ch_acme": owed}


DROPPED: dict[str, tuple[Charge, int, list[tuple[str, int, str]], int]] = {
    "one of two lines": (charge(5800, S.FROZEN), 2900, [], 2900),
    "the only line": (charge(2900, S.DECLINED), 2900, [], 0),
    "a line, part paid": (charge(5800, S.FROZEN, applied=1000), 2900, [], 1900),
    "a line that the customer's own money paid": (
        charge(5800, S.FROZEN, applied=4000),
        2900,
        [("unapply", 1100, "fix-1")],
        0,
    ),
}


@pytest.mark.parametrize(("owed", "price", "booked", "left"), DROPPED.values(), ids=DROPPED.keys())
def test_a_line_that_leaves_takes_its_debt_along(
    owed: Charge, price: int, booked: list[tuple[str, int, str]], left: int
) -> None:
    standing = owing(owed)
    written = journal(standing)

    drop_line(written, standing, owed, fix(), price)

    assert moved(written) == booked
    assert (owed.owed, owed.dropped, owed.status) == (left, price, S.WITHDRAWING)


def test_what_the_card_was_asked_for_is_booked_whatever_has_left_since() -> None:
    owed = charge(5800, S.FROZEN, applied=4000)
    standing = owing(owed)
    written = journal(standing)

    drop_line(written, standing, owed, fix(), 2900)
    take_step(written, standing, owed, PAID, THANKS)

    assert moved(written) == [("unapply", 1100, "fix-1"), ("unapplied_in", 1800, "pi_1")]
    assert standing.cash == 4000 + 1800


# A withdrawn charge is replaced.


def lines_of(owed: Charge, *fix_ids: str) -> list[Line]:
    return [Line("acme", owed.charge_id, each, 2900, NOW - HOUR) for each in fix_ids]


def withdrawn(**more: Any) -> Charge:
    values: dict[str, Any] = {"resume_at": NOW + DAY, "declined_at": NOW - DAY, "tries": 2}
    return charge(5800, S.VOID, **values | more)


def test_the_lines_of_a_withdrawn_charge_go_to_a_new_one_in_its_place() -> None:
    old = withdrawn(dropped=2900)
    standing = book(fresh_charge_id="ch_next", receivable=2900, revenue=-2900)
    written = journal(standing)
    line, paid_for = lines_of(old, "fix-1")[0], fix("fix-1", FixOutcome.CHARGED)

    replace(written, standing, old, [line], [paid_for])

    (new,) = written.charges.new.values()
    assert new is standing.open_charge
    assert (new.charge_id, new.amount, new.status) == ("ch_next", 2900, S.OPEN)
    assert (new.due_at, new.declined_at, new.tries) == (NOW + DAY, NOW - DAY, 2)
    assert (line.charge_id, paid_for.charge_id) == ("ch_next", "ch_next")
    assert written.lines.changed == {("ch_next", "fix-1"): line}
    assert written.fixes.changed == {("acme", "fix-1"): paid_for}
    assert (old.dropped, moved(written)) == (5800, [])


def test_the_lines_of_a_withdrawn_charge_join_the_open_one() -> None:
    old, standing_open = withdrawn(), charge(2900, charge_id="ch_open")
    standing = book(open_charge=standing_open, receivable=8700, revenue=-8700)
    written = journal(standing)

    replace(written, standing, old, lines_of(old, "fix-1", "fix-2"), [])

    assert standing_open.amount == 8700
    assert (standing_open.due_at, standing_open.tries) == (NOW + DAY, 2)
    assert written.charges.new == {}


def test_a_withdrawn_charge_without_lines_leaves_nothing() -> None:
    old = withdrawn(dropped=5800)
    standing = book()
    written = journal(standing)

    replace(written, standing, old, [], [])

    assert standing.open_charge is None
    assert (written.charges.new, moved(written), old.dropped) == ({}, [], 5800)


def test_money_that_was_applied_to_a_withdrawn_charge_is_free_again() -> None:
    old = withdrawn(applied=1000)
    standing = book(receivable=4800, revenue=-5800, cash=1000)
    written = journal(standing)

    replace(written, standing, old, lines_of(old, "fix-1", "fix-2"), [])

    assert moved(written) == [("unapply", 1000, "ch_acme")]
    assert (standing.unapplied, standing.receivable, old.applied) == (-1000, 5800, 0)


@pytest.mark.parametrize("dropped", [0, 2900, 5800])
def test_a_debt_that_is_given_up_is_written_off(dropped: int) -> None:
    old = withdrawn(write_off=True, dropped=dropped, due_at=None)
    standing = book(receivable=5800 - dropped, revenue=dropped - 5800)
    written = journal(standing)

    replace(written, standing, old, lines_of(old, "fix-1"), [])

    left = 5800 - dropped
    assert moved(written) == ([("write_off", left, "ch_acme")] if left else [])
    assert (standing.receivable, standing.written_off) == (0, left)
    assert (old.status, old.due_at, old.dropped) == (S.VOID, None, dropped)
    assert (written.charges.new, written.lines.changed) == ({}, {})


def test_an_open_charge_can_be_given_up_at_once() -> None:
    owed = charge(2900)
    standing = owing(owed)
    written = journal(standing)

    give_up(written, standing, owed)

    assert moved(written) == [("write_off", 2900, "ch_acme")]
    assert (owed.status, owed.due_at, standing.receivable) == (S.VOID, None, 0)
    assert written.charges.changed == {"ch_acme": owed}


# A card is put in, and the charge it is for must be withdrawn first.


def void(written: Journal, standing: Book, owed: Charge) -> None:
    """Stripe has cancelled the intent."""
    step = next_step(owed, CANCELED, AT_ONCE, NOW)
    take_step(written, standing, owed, step, CANCELED)
    replace(written, standing, owed, lines_of(owed, "fix-1"), [])
    standing.charge_in_flight = None


def given_up(status: ChargeStatus) -> Charge:
    return charge(2900, status, due_at=None, declined_at=NOW - 7 * DAY, tries=5)


@pytest.mark.parametrize("why", [Why.NEW_CARD, Why.OPERATOR])
@pytest.mark.parametrize("unapplied", [0, 100], ids=["not to be withdrawn", "to be withdrawn"])
def test_a_given_up_charge_is_tried_once_more_though_it_must_be_withdrawn_first(
    why: Why, unapplied: int
) -> None:
    owed = given_up(S.DECLINED)
    standing = owing(owed, unapplied=unapplied, past_due=True)
    written = journal(standing)

    assert try_at_once(written, standing, owed, why)
    if not begin_attempt(written, standing, owed):
        void(written, standing, owed)
        owed = unpaid(standing)
        assert begin_attempt(written, standing, owed)

    assert (owed.status, owed.due_why, owed.tries) == (S.FROZEN, why, 5)
    assert owed.asked_amount == 2900 - unapplied


def test_a_card_that_comes_while_a_charge_is_withdrawn_is_tried_on_what_replaces_it() -> None:
    owed = given_up(S.WITHDRAWING)
    standing = owing(owed, past_due=True)
    written = journal(standing)

    assert try_at_once(written, standing, owed, Why.NEW_CARD)
    void(written, standing, owed)

    new = unpaid(standing)
    assert (new.due_at, new.due_why) == (NOW, Why.NEW_CARD)
    assert begin_attempt(written, standing, new)


def test_a_card_that_comes_after_a_charge_was_withdrawn_is_tried_on_what_replaced_it() -> None:
    owed = given_up(S.WITHDRAWING)
    owed.resume_at = NOW + DAY
    standing = owing(owed, past_due=True)
    written = journal(standing)

    void(written, standing, owed)
    assert not begin_attempt(written, standing, unpaid(standing))
    assert try_at_once(written, standing, unpaid(standing), Why.NEW_CARD)

    assert begin_attempt(written, standing, unpaid(standing))


def test_without_a_new_card_what_replaces_a_given_up_charge_is_not_tried() -> None:
    owed = given_up(S.WITHDRAWING)
    standing = owing(owed, past_due=True)
    written = journal(standing)

    void(written, standing, owed)

    assert not begin_attempt(written, standing, unpaid(standing))


def unpaid(standing: Book) -> Charge:
    assert standing.open_charge is not None
    return standing.open_charge


# Arrears end with the debt.

ENDINGS: dict[str, tuple[Charge, Callable[[Journal, Book, Charge], None]]] = {
    "the last line has left": (
        charge(2900, S.VOID, dropped=2900),
        lambda written, standing, owed: replace(written, standing, owed, [], []),
    ),
    "written off once withdrawn": (
        charge(2900, S.VOID, write_off=True),
        lambda written, standing, owed: replace(written, standing, owed, [], []),
    ),
    "written off at once": (charge(2900), give_up),
}


@pytest.mark.parametrize(("owed", "end"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("more", [0, 2900], ids=["nothing else", "something else"])
def test_who_owes_nothing_any_more_is_no_longer_past_due(
    owed: Charge, end: Callable[[Journal, Book, Charge], None], more: int
) -> None:
    owed = copy(owed)
    standing = owing(owed, past_due=True)
    standing.receivable += more
    written = journal(standing)

    end(written, standing, owed)

    assert (standing.receivable, standing.past_due) == (more, bool(more))
    assert more or written.touched == {"acme"}


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_whatever_is_in_flight_can_be_withdrawn(status: ChargeStatus) -> None:
    owed = charge(2900, status)
    standing = owing(owed)

    withdraw(journal(standing), standing, owed)

    assert owed.status is S.WITHDRAWING
