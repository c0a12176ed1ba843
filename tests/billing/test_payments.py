"""What collecting does to a charge and to the books, step by step."""

from __future__ import annotations

import pytest

from tests.builders import DAY, HOUR, MINUTE, NOW, book, charge, journal, moved, owing
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import Charge, ChargeStatus, Why
from worker.billing.dunning import Step
from worker.billing.payments import (
    begin_attempt,
    book_unapplied,
    take_step,
    try_at_once,
    unpark,
)

S = ChargeStatus
PAID = Step(S.PAID, None, answered=True, past_due=False)
THANKS = Answer(AnswerKind.SUCCEEDED, "pi_1")


# An attempt begins.

BEGINNINGS: dict[str, tuple[Charge, bool, ChargeStatus]] = {
    "worth collecting": (charge(2900), True, S.FROZEN),
    "exactly the minimum": (charge(50), True, S.FROZEN),
    "below the minimum": (charge(49), False, S.OPEN),
    "below the minimum in pounds": (charge(29, currency="gbp"), False, S.OPEN),
    "the minimum in pounds": (charge(30, currency="gbp"), True, S.FROZEN),
    "nothing": (charge(0), False, S.VOID),
    "declined, tried again": (charge(2900, S.DECLINED), True, S.FROZEN),
    "tried beside the schedule": (charge(2900, S.ACTION_REQUIRED), True, S.FROZEN),
    "frozen already": (charge(2900, S.FROZEN), True, S.FROZEN),
    "not due yet": (charge(2900, due_at=NOW + MINUTE), False, S.OPEN),
    "not due by itself": (charge(2900, due_at=None), False, S.OPEN),
    "due this moment": (charge(2900, due_at=NOW), True, S.FROZEN),
    "to be asked later": (charge(2900, S.FROZEN, due_at=NOW + MINUTE), False, S.FROZEN),
    "to be tried later": (charge(2900, S.DECLINED, due_at=NOW + MINUTE), False, S.DECLINED),
    "parked": (charge(2900, S.PARKED), False, S.PARKED),
    "being withdrawn": (charge(2900, S.WITHDRAWING), False, S.WITHDRAWING),
    "paid": (charge(2900, S.PAID), False, S.PAID),
    "void": (charge(0, S.VOID), False, S.VOID),
}


@pytest.mark.parametrize(("due", "begun", "status"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_an_attempt_begins_when_there_is_something_to_ask_for(
    due: Charge, begun: bool, status: ChargeStatus
) -> None:
    standing = owing(due)
    amount = due.amount

    began = begin_attempt(journal(standing), standing, due)

    assert (began, due.status, due.amount) == (begun, status, amount)


def test_freezing_says_when_and_how_much_the_card_is_asked_for() -> None:
    due = charge(2900)
    standing = owing(due, unapplied=900, clock_offset=HOUR)
    written = journal(standing)

    begin_attempt(written, standing, due)

    assert (due.frozen_at, due.asked_amount, due.applied) == (NOW + HOUR, 2000, 900)
    assert written.charges.changed == {"ch_acme": due}


def test_trying_again_does_not_freeze_again() -> None:
    failed = charge(2900, S.DECLINED, frozen_at=NOW - DAY)
    standing = owing(failed)

    begin_attempt(journal(standing), standing, failed)

    assert failed.frozen_at == NOW - DAY


CARDLESS = {
    "open": charge(2900),
    "declined": charge(2900, S.DECLINED),
    "the customer must act": charge(2900, S.ACTION_REQUIRED),
}


@pytest.mark.parametrize("due", CARDLESS.values(), ids=CARDLESS)
def test_without_a_card_nothing_is_due_by_itself(due: Charge) -> None:
    standing, status = owing(due, has_payment_method=False), due.status
    written = journal(standing)

    begun = begin_attempt(written, standing, due)

    assert (begun, due.status, due.due_at) == (False, status, None)
    assert written.charges.changed == {"ch_acme": due}


def test_without_a_card_the_customers_own_money_pays_all_the_same() -> None:
    due = charge(2900)
    standing = owing(due, unapplied=2900, has_payment_method=False, past_due=True)

    begin_attempt(journal(standing), standing, due)

    assert (due.status, standing.past_due) == (S.PAID, False)


@pytest.mark.parametrize(
    ("why", "begun"), [(Why.SCHEDULED, False), (Why.NEW_CARD, True), (Why.OPERATOR, True)]
)
def test_what_replaces_a_charge_that_was_given_up_waits_for_a_card_or_a_person(
    why: Why, begun: bool
) -> None:
    replacement = charge(2900, declined_at=NOW - 7 * DAY, tries=5, due_why=why)
    standing = owing(replacement, past_due=True)

    began = begin_attempt(journal(standing), standing, replacement)

    assert began is begun
    assert (replacement.due_at is None) is not begun


@pytest.mark.parametrize("amount", [0, 49], ids=["nothing", "too little"])
def test_what_is_not_worth_collecting_is_not_due_again_by_itself(amount: int) -> None:
    due = charge(amount)
    standing = owing(due)
    written = journal(standing)

    begin_attempt(written, standing, due)

    assert due.due_at is None
    assert written.charges.changed == {"ch_acme": due}


APPLIED: dict[str, tuple[int, int, int, ChargeStatus]] = {
    "none": (2900, 0, 0, S.FROZEN),
    "a part": (2900, 900, 900, S.FROZEN),
    "all but the minimum": (2900, 2850, 2850, S.FROZEN),
    "a rest below the minimum": (2900, 2851, 2850, S.FROZEN),
    "a cent too little": (2900, 2899, 2850, S.FROZEN),
    "all": (2900, 2900, 2900, S.PAID),
    "more than all": (2900, 9000, 2900, S.PAID),
    "a part of the minimum": (50, 20, 0, S.FROZEN),
    "a part of too little": (49, 48, 0, S.OPEN),
    "all of too little": (49, 49, 49, S.PAID),
}


@pytest.mark.parametrize(
    ("amount", "held", "applied", "status"), APPLIED.values(), ids=APPLIED.keys()
)
def test_the_customers_own_money_is_used_before_their_card(
    amount: int, held: int, applied: int, status: ChargeStatus
) -> None:
    due = charge(amount)
    standing = owing(due, unapplied=held)
    written = journal(standing)

    begun = begin_attempt(written, standing, due)

    assert (begun, due.status, due.applied) == (status is S.FROZEN, status, applied)
    assert moved(written) == ([("apply", applied, "ch_acme")] if applied else [])
    assert standing.unapplied == applied - held
    assert standing.receivable == amount - applied


def test_a_charge_that_needs_no_card_is_paid_without_a_payment() -> None:
    due = charge(2900)
    standing = owing(due, unapplied=2900)

    begin_attempt(journal(standing), standing, due)

    assert (due.paid_at, due.frozen_at, due.due_at) == (NOW, NOW, None)
    assert due.payment_intent is None


@pytest.mark.parametrize("status", [S.DECLINED, S.ACTION_REQUIRED])
def test_money_that_came_meanwhile_makes_a_charge_ask_for_less(status: ChargeStatus) -> None:
    failed = charge(2900, status, payment_intent="pi_1")
    standing = owing(failed, unapplied=100)

    begun = begin_attempt(journal(standing), standing, failed)

    assert (begun, failed.status, failed.due_at) == (False, S.WITHDRAWING, NOW)


# Beside the schedule.

AT_ONCE: dict[str, tuple[Charge, bool]] = {
    "declined for good": (charge(2900, S.DECLINED, due_at=None), True),
    "declined, due later": (charge(2900, S.DECLINED, due_at=NOW + DAY), True),
    "the customer must act": (charge(2900, S.ACTION_REQUIRED, due_at=None), True),
    "open and not due": (charge(2900, due_at=None), True),
    "open with nothing on it": (charge(0, due_at=None), False),
    "open and due by itself": (charge(2900, due_at=NOW + DAY), False),
    "open in place of a declined one": (
        charge(2900, due_at=NOW + DAY, declined_at=NOW - DAY, tries=1),
        True,
    ),
    "frozen": (charge(2900, S.FROZEN), False),
    "parked": (charge(2900, S.PARKED, due_at=None), False),
}


@pytest.mark.parametrize(("owed", "tried"), AT_ONCE.values(), ids=AT_ONCE)
def test_an_attempt_is_made_at_once_where_one_can_be(owed: Charge, tried: bool) -> None:
    standing, before = owing(owed), owed.due_at
    written = journal(standing)

    made = try_at_once(written, standing, owed, Why.NEW_CARD)

    assert made is tried
    assert (owed.due_at, owed.due_why) == (
        (NOW, Why.NEW_CARD) if tried else (before, Why.SCHEDULED)
    )
    assert bool(written.charges.changed) is tried


def test_what_replaces_a_charge_that_is_withdrawn_is_tried_at_once() -> None:
    leaving = charge(2900, S.WITHDRAWING, due_at=NOW + HOUR, resume_at=None)
    standing = owing(leaving)
    written = journal(standing)

    made = try_at_once(written, standing, leaving, Why.NEW_CARD)

    assert made
    assert (leaving.status, leaving.due_at, leaving.resume_at) == (
        S.WITHDRAWING,
        NOW + HOUR,
        NOW,
    )
    assert written.charges.changed == {"ch_acme": leaving}


INTENT_AFTER = {"canceled": None, "our_bug": "pi_1", None: "pi_1"}


@pytest.mark.parametrize(("answer", "intent"), INTENT_AFTER.items(), ids=str)
def test_a_parked_charge_goes_on_with_its_intent_unless_that_is_cancelled(
    answer: str | None, intent: str | None
) -> None:
    parked = charge(2900, S.PARKED, due_at=None, payment_intent="pi_1")
    standing = owing(parked)
    written = journal(standing)

    unpark(written, standing, parked, answer)

    assert (parked.status, parked.due_at, parked.due_why) == (S.FROZEN, NOW, Why.OPERATOR)
    assert parked.payment_intent == intent
    assert begin_attempt(written, standing, parked)


# An answer comes.


def test_money_that_came_is_booked_with_its_payment() -> None:
    due = charge(2900, S.FROZEN)
    standing = owing(due, past_due=True)
    written = journal(standing)

    take_step(written, standing, due, PAID, THANKS)

    (paid,) = written.transfers
    assert (paid.kind, paid.amount, paid.source_key) == ("pay", 2900, "pi_1")
    assert (paid.charge_id, paid.happened_at) == ("ch_acme", NOW)
    assert (standing.receivable, standing.cash, standing.past_due) == (0, 2900, False)
    assert (due.status, due.due_at, due.paid_at, due.payment_intent) == (S.PAID, None, NOW, "pi_1")
    assert written.touched == {"acme"}


def test_the_card_pays_what_the_customers_own_money_did_not() -> None:
    due = charge(2900, S.FROZEN, applied=900)
    standing = owing(due)
    written = journal(standing)

    take_step(written, standing, due, PAID, THANKS)

    assert moved(written) == [("pay", 2000, "pi_1")]
    assert standing.receivable == 0


SURPLUS: dict[str, tuple[Charge, list[tuple[str, int, str]]]] = {
    "a line had left": (
        charge(5800, S.WITHDRAWING, dropped=2900),
        [("pay", 2900, "pi_1"), ("unapplied_in", 2900, "pi_1")],
    ),
    "all lines had left": (
        charge(5800, S.WITHDRAWING, dropped=5800),
        [("unapplied_in", 5800, "pi_1")],
    ),
    "a line had left, and part was paid": (
        charge(5800, S.WITHDRAWING, applied=1000, dropped=2900),
        [("pay", 1900, "pi_1"), ("unapplied_in", 2900, "pi_1")],
    ),
}


@pytest.mark.parametrize(("withdrawn", "booked"), SURPLUS.values(), ids=SURPLUS)
def test_what_was_collected_and_is_no_longer_owed_is_the_customers_own(
    withdrawn: Charge, booked: list[tuple[str, int, str]]
) -> None:
    standing = owing(withdrawn)
    written = journal(standing)

    take_step(written, standing, withdrawn, PAID, THANKS)

    assert moved(written) == booked
    assert standing.receivable == 0


NOT_PAID = {
    "asked again": (Step(S.FROZEN, NOW + MINUTE, answered=False), False),
    "declined, tried again": (Step(S.DECLINED, NOW + HOUR, answered=True), False),
    "declined for good": (Step(S.DECLINED, None, answered=True, past_due=True), True),
    "action": (Step(S.ACTION_REQUIRED, None, answered=True, past_due=True), True),
    "parked": (Step(S.PARKED, None, answered=True), False),
}


@pytest.mark.parametrize(("step", "past_due"), NOT_PAID.values(), ids=NOT_PAID)
def test_without_money_no_transfer_is_booked(step: Step, past_due: bool) -> None:
    due = charge(2900, S.FROZEN)
    standing = owing(due)
    written = journal(standing)

    take_step(written, standing, due, step, Answer(AnswerKind.UNKNOWN))

    assert written.transfers == []
    assert (due.status, due.due_at, due.paid_at) == (step.status, step.due_at, None)
    assert (standing.past_due, standing.cash, standing.receivable) == (past_due, 0, 2900)
    assert written.touched == {"acme"}
    assert written.charges.changed == {"ch_acme": due}


def test_the_first_failure_is_remembered() -> None:
    due = charge(2900, S.FROZEN)
    standing = owing(due)
    step = Step(S.DECLINED, NOW + DAY, answered=True)

    take_step(journal(standing), standing, due, step, Answer(AnswerKind.DECLINED))
    later = journal(standing, now=NOW + DAY)
    take_step(later, standing, due, step, Answer(AnswerKind.DECLINED))

    assert (due.declined_at, due.tries) == (NOW, 2)


def test_an_answer_that_names_no_payment_forgets_none() -> None:
    due = charge(2900, S.FROZEN, payment_intent="pi_1")
    standing = owing(due)
    step = Step(S.FROZEN, NOW, answered=False)

    take_step(journal(standing), standing, due, step, Answer(AnswerKind.UNKNOWN))

    assert due.payment_intent == "pi_1"


def test_a_payment_that_no_charge_explains_is_the_customers_own() -> None:
    standing = book()
    written = journal(standing)

    book_unapplied(written, standing, 700, "pi_stray")

    assert moved(written) == [("unapplied_in", 700, "pi_stray")]
    assert (standing.cash, standing.unapplied) == (700, -700)
    assert written.touched == {"acme"}


PAYABLE: dict[str, tuple[Charge, bool]] = {
    "open, not due": (charge(2900, due_at=None), True),
    "declined for good": (charge(2900, S.DECLINED, due_at=None), True),
    "the customer must act": (charge(2900, S.ACTION_REQUIRED, due_at=None), True),
    "parked": (charge(2900, S.PARKED, due_at=None), False),
}


@pytest.mark.parametrize(("owed", "woken"), PAYABLE.values(), ids=PAYABLE)
def test_money_that_came_in_is_used_for_what_waits(owed: Charge, woken: bool) -> None:
    standing = owing(owed)
    written = journal(standing)

    book_unapplied(written, standing, 700, "pi_stray")

    assert owed.due_at == (NOW if woken else None)
    assert bool(written.charges.changed) is woken


def test_money_that_came_in_brings_nothing_forward() -> None:
    owed = charge(2900, S.DECLINED, due_at=NOW + DAY)
    standing = owing(owed)

    book_unapplied(journal(standing), standing, 700, "pi_stray")

    assert owed.due_at == NOW + DAY
