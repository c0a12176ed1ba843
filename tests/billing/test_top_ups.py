"""The pure rules of a top-up: what may be bought, and what each answer makes of it."""

from __future__ import annotations

import pytest

from tests.builders import NOW, book, fix, grant, journal, moved
from tests.buying import top_up
from worker.billing.answers import Answer, AnswerKind
from worker.billing.book import Book
from worker.billing.fix import FixOutcome
from worker.billing.top_ups import (
    TRANSITIONS,
    TopUp,
    TopUpProblem,
    TopUpStatus,
    check_buyable,
    take_payment,
)

S, K = TopUpStatus, AnswerKind
PAID = Answer(K.SUCCEEDED, payment_intent="pi_1")
CREDITED = [("top_up", 8700, "top_up:key-1"), ("pay", 8700, "pi_1"), ("grant", 3, "top_up:key-1")]


# What may be bought.


def test_who_has_a_card_and_a_price_can_buy() -> None:
    check_buyable(book())


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (book("trial"), "plan trial has no price"),
        (book(has_payment_method=False), "has no card"),
        (book(past_due=True), "is past due"),
        (book(parked_at=NOW, parked_why="too much at once"), "too much at once"),
    ],
)
def test_who_cannot_be_charged_is_told_why(standing: Book, why: str) -> None:
    with pytest.raises(TopUpProblem, match=why):
        check_buyable(standing)


# What an answer makes of it.


@pytest.mark.parametrize("status", [S.REQUESTED, S.DECLINED])
def test_a_payment_is_earned_paid_and_given_in_one(status: TopUpStatus) -> None:
    standing, bought = book(), top_up(status, message="the card was declined")
    written = journal(standing)

    assert take_payment(written, standing, bought, PAID)

    assert moved(written) == CREDITED
    assert (bought.status, bought.due_at, bought.message) == (S.PAID, None, None)
    assert (standing.credits, standing.cash, standing.receivable) == (3, 8700, 0)
    (given,) = standing.grants
    assert (given.source, given.expires_at, given.rolls_max) == ("top_up", None, 0)
    assert given.origin == "pi_1"


@pytest.mark.parametrize("kind", list(K))
def test_what_is_paid_stays_so_whatever_is_said(kind: AnswerKind) -> None:
    standing, bought = book(), top_up(S.PAID)
    written = journal(standing)

    assert not take_payment(written, standing, bought, Answer(kind, payment_intent="pi_1"))

    assert (bought.status, moved(written)) == (S.PAID, [])


@pytest.mark.parametrize("kind", [kind for kind in K if kind not in (K.SUCCEEDED, K.CANCELED)])
def test_only_what_can_not_be_paid_any_more_counts_as_declined(kind: AnswerKind) -> None:
    standing, bought = book(), top_up()
    written = journal(standing)

    assert not take_payment(written, standing, bought, Answer(kind, payment_intent="pi_1"))

    assert (bought.status, bought.due_at, moved(written)) == (S.REQUESTED, NOW, [])


@pytest.mark.parametrize(
    ("bought", "answer", "why"),
    [
        (top_up(), Answer(K.CANCELED, "pi_1"), "the payment was cancelled at Stripe"),
        (top_up(message="no money"), Answer(K.CANCELED, "pi_1"), "no money"),
        (top_up(payment_intent=None), Answer(K.OUR_BUG, message="too much"), "too much"),
    ],
    ids=["cancelled by somebody", "declined and cancelled", "never made"],
)
def test_declined_owes_nothing_and_says_why(bought: TopUp, answer: Answer, why: str) -> None:
    standing = book()
    written = journal(standing)

    assert take_payment(written, standing, bought, answer)

    assert (bought.status, bought.due_at, bought.message) == (S.DECLINED, None, why)
    assert (moved(written), standing.grants) == ([], [])


def test_what_is_declined_is_not_declined_again() -> None:
    standing, bought = book(), top_up(S.DECLINED, message="no money")

    assert not take_payment(journal(standing), standing, bought, Answer(K.CANCELED, "pi_1"))

    assert bought.message == "no money"


def test_every_way_a_top_up_moves_is_one_the_schema_allows() -> None:
    for before in S:
        for kind in K:
            for intent in (None, "pi_1"):
                bought, standing = top_up(before, payment_intent=intent), book()
                take_payment(journal(standing), standing, bought, Answer(kind))
                assert bought.status in (before, *TRANSITIONS[before])


def test_held_fixes_settle_with_the_credits_oldest_first() -> None:
    held = [fix(f"fix-{n}", FixOutcome.HELD) for n in range(1, 5)]
    standing = book(backlog=held, held=4)
    written = journal(standing)

    take_payment(written, standing, top_up(), PAID)

    assert moved(written) == [*CREDITED, *(("consume", 1, f"fix-{n}") for n in (1, 2, 3))]
    assert (standing.held, standing.credits) == (1, 0)


def test_bought_credits_come_after_those_that_were_given() -> None:
    standing = book(grants=[grant(1, "rolled", source="rolled"), grant(1, "gift")])

    take_payment(journal(standing), standing, top_up(), PAID)

    assert [each.source for each in standing.grants] == ["rolled", "operator", "top_up"]
