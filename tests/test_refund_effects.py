"""What refunds do to credits and to money that explains no charge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import deployed, outcomes, reverted, rows_of, settle_events
from tests.collecting import (
    PRICE,
    Case,
    assert_books_equal_stripe,
    dies,
)
from tests.sandbox.sandbox_process import DAY
from worker.refund import request_refund
from worker.storage import tables


@pytest.fixture
def paid(owing: Callable[..., Case]) -> Callable[..., Case]:
    """A customer whose charge of two fixes was collected."""

    def with_card(card: str = "pm_card_visa") -> Case:
        case = owing(card, fixes=2)
        case.collect()
        return case

    return with_card


@pytest.fixture
def overpaid(owing: Callable[..., Case]) -> Case:
    """Two fixes were paid, one of which had just been taken back."""
    case = owing(fixes=2)
    dies(case.collect, case, "confirm", heard=True)
    settle_events(case.engine, reverted("fix-2"))
    case.withdraw()
    assert case.standing == {"cash": 2 * PRICE, "unapplied": -PRICE}
    return case


def refund(case: Case, **wanted: Any) -> None:
    case.refund(request_refund(case.key, case.engine, case.clock, **wanted))


def fail_later(case: Case) -> None:
    """The bank sends back what it was given."""
    case.sandbox.advance(3 * DAY)
    case.hear(*case.events("refund.failed"))


# Credits.


def test_no_revert_ever_returns_money_to_the_card(paid: Callable[..., Case]) -> None:
    case = paid()

    settle_events(case.engine, reverted("fix-1"), reverted("fix-2"))

    assert case.book["credits"] == 2
    assert (case.returned_at_stripe(), rows_of(case.engine, tables.refunds)) == ([], [])
    assert_books_equal_stripe(case)


def test_credits_that_the_money_had_paid_for_go_with_it_and_come_back_when_it_fails(
    paid: Callable[..., Case],
) -> None:
    case = paid("pm_card_refundFail")
    settle_events(case.engine, reverted("fix-1"), reverted("fix-2"))
    settle_events(case.engine, deployed("fix-3"))
    assert (case.book["credits"], outcomes(case.engine)["fix-3"]) == (1, "credited")

    for times in (1, 2):
        refund(case)
        assert case.book["credits"] == 0
        assert case.moved("claw_back") == [("claw_back", 1)] * times

        fail_later(case)
        assert case.book["credits"] == 1
        assert case.moved("reissue") == [("reissue", 1)] * times
        assert_books_equal_stripe(case)


def test_the_refund_of_one_fix_takes_that_fixs_credit_only(paid: Callable[..., Case]) -> None:
    case = paid()
    settle_events(case.engine, reverted("fix-1"), reverted("fix-2"))

    refund(case, fix_id="fix-1")

    assert case.book["credits"] == 1
    assert case.moved("claw_back") == [("claw_back", 1)]
    assert_books_equal_stripe(case)


def test_credits_go_when_the_last_part_of_the_money_has_gone(paid: Callable[..., Case]) -> None:
    case = paid()
    settle_events(case.engine, reverted("fix-1"), reverted("fix-2"))

    refund(case, amount=1000)
    assert case.book["credits"] == 2

    refund(case)
    assert case.book["credits"] == 0
    assert_books_equal_stripe(case)


@pytest.mark.parametrize(
    ("wanted", "credits"), [({}, 0), ({"fix_id": "fix-1"}, 0), ({"fix_id": "fix-2"}, 1)]
)
def test_a_fix_whose_price_was_returned_becomes_no_credit_when_it_is_taken_back(
    paid: Callable[..., Case], wanted: dict[str, str], credits: int
) -> None:
    case = paid()
    refund(case, **wanted)

    settle_events(case.engine, reverted("fix-1"))

    assert case.book["credits"] == credits
    assert_books_equal_stripe(case)


def test_a_refund_that_is_heard_of_when_it_has_failed_leaves_nothing_changed(
    paid: Callable[..., Case],
) -> None:
    case = paid("pm_card_refundFail")
    case.refund_in_dashboard(1000)

    fail_later(case)

    assert case.standing == {"cash": 2 * PRICE}
    assert case.moved("refund", "refund_failed") == [("refund", 1000), ("refund_failed", 1000)]
    assert_books_equal_stripe(case)


# Money that explains no charge.


def test_a_surplus_goes_back_before_what_paid_for_fixes(overpaid: Case) -> None:
    refund(overpaid, amount=1000)
    refund(overpaid, amount=3000)

    assert overpaid.standing == {"cash": 2 * PRICE - 4000, "refunded": 4000 - PRICE}
    assert overpaid.moved("refund", "refund_unapplied") == [
        ("refund_unapplied", 1000),
        ("refund_unapplied", PRICE - 1000),
        ("refund", 4000 - PRICE),
    ]
    assert_books_equal_stripe(overpaid)


def test_a_surplus_that_went_back_takes_no_other_money_with_it(overpaid: Case) -> None:
    refund(overpaid, amount=PRICE)
    overpaid.pay_in_dashboard(1000)
    overpaid.hear(*overpaid.events())

    refund(overpaid, amount=500)

    assert overpaid.standing == {"cash": PRICE + 500, "unapplied": -1000, "refunded": 500}
    assert_books_equal_stripe(overpaid)


def test_an_unexplained_payment_can_be_returned_in_parts(case: Case) -> None:
    client = case.sandbox.client()
    intent = case.pay_in_dashboard(1000)
    case.hear(*case.events())

    client.v1.refunds.create({"payment_intent": intent, "amount": 400})
    case.hear(*case.events())
    assert case.standing == {"receivable": PRICE, "cash": 600, "unapplied": -600}

    client.v1.refunds.create({"payment_intent": intent})
    case.hear(*case.events())
    assert case.standing == {"receivable": PRICE}
    assert_books_equal_stripe(case)


def test_an_unexplained_payment_that_was_used_is_returned_all_the_same(case: Case) -> None:
    intent = case.pay_in_dashboard(1000)
    case.hear(*case.events())
    case.collect()

    case.sandbox.client().v1.refunds.create({"payment_intent": intent})
    case.hear(*case.events())

    assert case.paid_at_stripe() == [1000, 1900]
    assert case.standing == {"cash": 1900, "refunded": 1000}
    assert_books_equal_stripe(case)
