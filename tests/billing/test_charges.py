"""Charges: lines go on, amounts freeze, answers move them, money is booked once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.builders import HOUR, MINUTE, NOW, arrival, book, charge, deployed, journal
from worker.billing.answers import Answer, AnswerKind
from worker.billing.batch import decide_batch
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.dunning import Step
from worker.billing.known import Known
from worker.billing.payments import freeze_charge, take_step

S = ChargeStatus
PAID = Step(S.PAID, None, answered=True, past_due=False)
THANKS = Answer(AnswerKind.SUCCEEDED, "pi_1")


def test_the_first_line_opens_a_charge_that_is_due_at_once() -> None:
    standing = book()

    written = decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    (owed,) = written.charges.new.values()
    assert owed is standing.open_charge
    assert (owed.charge_id, owed.status, owed.amount) == ("ch_acme", S.OPEN, 2900)
    assert (owed.opened_at, owed.due_at) == (NOW, NOW)
    assert (standing.spent, standing.spent_cycle) == (2900, datetime(2026, 3, 1, tzinfo=UTC))
    assert (standing.receivable, standing.revenue) == (2900, -2900)


def test_later_lines_join_the_open_charge() -> None:
    standing = book(open_charge=charge(2900), spent=2900, receivable=2900, revenue=-2900)

    written = decide_batch(
        [arrival(deployed("a")), arrival(deployed("b"))], {"acme": standing}, Known(), NOW
    )

    (owed,) = written.charges.changed.values()
    assert owed.amount == 3 * 2900
    assert [(each.fix_id, each.price) for each in written.lines.new.values()] == [
        ("a", 2900),
        ("b", 2900),
    ]
    assert not written.charges.new


@pytest.mark.parametrize("customer_time_ahead", [0, 24], ids=["none", "a day"])
def test_a_charge_is_opened_at_the_customers_own_time(customer_time_ahead: int) -> None:
    ahead = customer_time_ahead * HOUR
    standing = book(clock_offset=ahead)

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert standing.open_charge is not None
    assert standing.open_charge.opened_at == NOW + ahead


FREEZING: dict[str, tuple[Charge, bool, ChargeStatus]] = {
    "worth collecting": (charge(2900), True, S.FROZEN),
    "exactly the minimum": (charge(50), True, S.FROZEN),
    "below the minimum": (charge(49), False, S.OPEN),
    "below the minimum in pounds": (charge(29, currency="gbp"), False, S.OPEN),
    "the minimum in pounds": (charge(30, currency="gbp"), True, S.FROZEN),
    "an unlisted currency": (charge(49, currency="sek"), False, S.OPEN),
    "nothing": (charge(0), False, S.VOID),
    "declined, tried again": (charge(2900, S.DECLINED), True, S.DECLINED),
    "frozen already": (charge(2900, S.FROZEN), False, S.FROZEN),
    "waits for the customer": (charge(2900, S.ACTION_REQUIRED), False, S.ACTION_REQUIRED),
    "parked": (charge(2900, S.PARKED), False, S.PARKED),
    "paid": (charge(2900, S.PAID), False, S.PAID),
    "void": (charge(0, S.VOID), False, S.VOID),
}


@pytest.mark.parametrize(("due", "collectable", "status"), FREEZING.values(), ids=FREEZING.keys())
def test_a_charge_freezes_once_and_only_when_it_is_worth_collecting(
    due: Charge, collectable: bool, status: ChargeStatus
) -> None:
    standing = book(open_charge=due)
    amount = due.amount

    frozen = freeze_charge(journal(standing), standing, due)

    assert (frozen, due.status, due.amount) == (collectable, status, amount)


def test_freezing_says_when() -> None:
    due = charge(2900)
    standing = book(clock_offset=HOUR)
    written = journal(standing)

    freeze_charge(written, standing, due)

    assert due.frozen_at == NOW + HOUR
    assert written.charges.changed == {"ch_acme": due}


@pytest.mark.parametrize("amount", [0, 49], ids=["nothing", "too little"])
def test_what_is_not_worth_collecting_is_not_due_again_by_itself(amount: int) -> None:
    due = charge(amount)
    standing = book()
    written = journal(standing)

    freeze_charge(written, standing, due)

    assert due.due_at is None
    assert written.charges.changed == {"ch_acme": due}


def test_a_charge_that_was_carried_over_is_due_again_once_it_takes_another_line() -> None:
    carried_over = charge(49, due_at=None)
    standing = book(open_charge=carried_over, receivable=49, revenue=-49)

    decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)

    assert carried_over.amount == 2949
    assert carried_over.due_at == NOW


def test_money_that_came_is_booked_with_its_payment() -> None:
    due = charge(2900, S.FROZEN)
    standing = book(receivable=2900, revenue=-2900, past_due=True)
    written = journal(standing)

    take_step(written, standing, due, PAID, THANKS)

    (paid,) = written.transfers
    assert (paid.kind, paid.amount, paid.source_key) == ("pay", 2900, "pi_1")
    assert (paid.charge_id, paid.happened_at) == ("ch_acme", NOW)
    assert (standing.receivable, standing.cash, standing.past_due) == (0, 2900, False)
    assert (due.status, due.due_at, due.paid_at, due.payment_intent) == (S.PAID, None, NOW, "pi_1")
    assert written.touched == {"acme"}


NOT_PAID = {
    "asked again": (Step(S.FROZEN, NOW + MINUTE, answered=False), False, set()),
    "declined, tried again": (Step(S.DECLINED, NOW + HOUR, answered=True), False, set()),
    "declined for good": (Step(S.DECLINED, None, answered=True, past_due=True), True, {"acme"}),
    "action": (Step(S.ACTION_REQUIRED, None, answered=True, past_due=True), True, {"acme"}),
    "parked": (Step(S.PARKED, None, answered=True), False, set()),
}


@pytest.mark.parametrize(("step", "past_due", "touched"), NOT_PAID.values(), ids=NOT_PAID)
def test_without_money_no_transfer_is_booked(step: Step, past_due: bool, touched: set[str]) -> None:
    due = charge(2900, S.FROZEN)
    standing = book(receivable=2900, revenue=-2900)
    written = journal(standing)

    take_step(written, standing, due, step, Answer(AnswerKind.UNKNOWN))

    assert written.transfers == []
    assert (due.status, due.due_at, due.paid_at) == (step.status, step.due_at, None)
    assert (standing.past_due, standing.cash, standing.receivable) == (past_due, 0, 2900)
    assert written.touched == touched
    assert written.charges.changed == {"ch_acme": due}


def test_an_answer_that_names_no_payment_forgets_none() -> None:
    due = charge(2900, S.FROZEN, payment_intent="pi_1")
    standing = book()
    step = Step(S.FROZEN, NOW, answered=False)

    take_step(journal(standing), standing, due, step, Answer(AnswerKind.UNKNOWN))

    assert due.payment_intent == "pi_1"
