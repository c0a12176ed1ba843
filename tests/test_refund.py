"""The life of a refund against the Stripe sandbox: money goes back once, and the books follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import one_row, rows_of
from tests.collecting import (
    NO_TIME,
    PRICE,
    REFUND,
    Case,
    assert_books_equal_stripe,
    dies,
    sandbox_window,
)
from tests.sandbox.sandbox_process import DAY
from tests.stack import HastyGateway
from worker.billing.refunds import RefundProblem, RefundStatus
from worker.reconcile import reconcile
from worker.refund import request_refund
from worker.storage import tables
from worker.storage.refunds import RefundKey, claim_due_refunds

R = RefundStatus


@pytest.fixture
def paid(owing: Callable[..., Case]) -> Callable[..., Case]:
    """A customer whose charge was collected."""

    def with_card(card: str = "pm_card_visa", **more: Any) -> Case:
        case = owing(card, **more)
        case.collect()
        assert case.charge["status"] == "paid"
        return case

    return with_card


def request(case: Case, **wanted: Any) -> RefundKey:
    return request_refund(case.key, case.engine, case.clock, **wanted)


def refund_of(case: Case) -> dict[str, Any]:
    return one_row(case.engine, tables.refunds)


# Whole, partial, per fix.


def test_what_is_asked_for_is_written_down_before_it_is_sent(paid: Callable[..., Case]) -> None:
    case = paid()

    key = request(case, amount=1000, reason="too slow")

    row = refund_of(case)
    assert (row["status"], row["amount"], row["tried"], row["reason"]) == (
        "requested",
        1000,
        False,
        "too slow",
    )
    assert case.returned_at_stripe() == []
    assert_books_equal_stripe(case)
    assert (swept(case, NO_TIME), swept(case, timedelta(minutes=10))) == ([], [key])


def swept(case: Case, after: timedelta) -> list[RefundKey]:
    """What a sweep takes up so much later; the first turn is whoever's who asked."""
    with case.engine.begin() as tx:
        return claim_due_refunds(tx, case.clock.now(), case.clock.wall() + after, 10)


def test_a_whole_charge_is_refunded(paid: Callable[..., Case]) -> None:
    case = paid()

    status = case.refund(request(case))

    assert status is R.SUCCEEDED
    assert case.returned_at_stripe() == [PRICE]
    assert case.standing == {"refunded": PRICE}
    assert case.charge["returned"] == PRICE
    assert refund_of(case)["stripe_refund"].startswith("re_")
    assert_books_equal_stripe(case)


def test_parts_are_refunded_until_nothing_is_left(paid: Callable[..., Case]) -> None:
    case = paid()

    case.refund(request(case, amount=1000))
    case.refund(request(case, amount=500))
    case.refund(request(case))

    assert case.returned_at_stripe() == [1000, 500, 1400]
    assert case.standing == {"refunded": PRICE}
    with pytest.raises(RefundProblem, match="nothing is left"):
        request(case)
    assert_books_equal_stripe(case)


@pytest.mark.parametrize("amount", [0, -1, PRICE + 1, 10**12])
def test_more_than_was_paid_or_nothing_is_never_refunded(
    paid: Callable[..., Case], amount: int
) -> None:
    case = paid()

    with pytest.raises(RefundProblem, match="amount"):
        request(case, amount=amount)

    assert rows_of(case.engine, tables.refunds) == []


def test_what_is_asked_for_counts_as_gone(paid: Callable[..., Case]) -> None:
    case = paid()
    first = request(case, amount=2000)

    with pytest.raises(RefundProblem, match=r"not within the \$9.00 left"):
        request(case, amount=901)

    second = request(case)
    assert [case.refund(each) for each in (first, second)] == [R.SUCCEEDED] * 2
    assert case.returned_at_stripe() == [2000, 900]
    assert_books_equal_stripe(case)


def test_one_fix_of_several_is_refunded(paid: Callable[..., Case]) -> None:
    case = paid(fixes=2)

    case.refund(request(case, fix_id="fix-2"))

    assert case.returned_at_stripe() == [PRICE]
    assert case.standing == {"cash": PRICE, "refunded": PRICE}
    with pytest.raises(RefundProblem, match="refunded already"):
        request(case, fix_id="fix-2")
    with pytest.raises(RefundProblem, match="not on charge"):
        request(case, fix_id="fix-3")
    assert_books_equal_stripe(case)


def test_a_charge_that_no_card_has_paid_cannot_be_refunded(owing: Callable[..., Case]) -> None:
    case = owing()

    with pytest.raises(RefundProblem, match="is open: no card has paid it"):
        request(case)


def test_sending_a_refund_again_does_nothing(paid: Callable[..., Case]) -> None:
    case = paid()
    key = request(case, amount=1000)

    statuses = [case.refund(key) for _ in range(3)]

    assert statuses == [R.SUCCEEDED] * 3
    assert case.returned_at_stripe() == [1000]
    assert case.moved("refund") == [("refund", 1000)]
    assert_books_equal_stripe(case)


# An unknown outcome.


def test_after_an_unknown_outcome_stripe_is_asked_before_anything_is_sent(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    key = request(case, amount=1000)
    case.sandbox.fault("cut_after", "POST", REFUND)
    assert case.refund(key, HastyGateway(case.sandbox)) is R.REQUESTED
    assert refund_of(case)["waits"] == 1
    case.sandbox.fault("http_500_before", "GET", REFUND)
    asked_in_vain = HastyGateway(case.sandbox)

    assert case.refund(key, asked_in_vain) is R.REQUESTED

    assert case.returned_at_stripe() == [1000]
    assert case.refund(key) is R.SUCCEEDED
    assert case.returned_at_stripe() == [1000]
    assert_books_equal_stripe(case)


def test_what_stripe_never_heard_of_is_sent_again(paid: Callable[..., Case]) -> None:
    case = paid()
    key = request(case, amount=1000)
    dies(lambda gateway: case.refund(key, gateway), case, "refund", heard=False)

    assert case.refund(key) is R.SUCCEEDED

    assert case.returned_at_stripe() == [1000]
    assert_books_equal_stripe(case)


def test_an_unknown_outcome_is_asked_about_after_longer_and_longer_pauses(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    key = request(case, amount=1000)
    case.sandbox.fault("http_500_before", "POST", REFUND, times=5)
    pauses = []

    for _ in range(5):
        before = case.clock.now()
        assert case.refund(key, HastyGateway(case.sandbox)) is R.REQUESTED
        pauses.append(refund_of(case)["due_at"] - before)

    assert pauses == sorted(pauses)
    assert pauses[0] < timedelta(seconds=8) < timedelta(seconds=60) < pauses[-1]
    assert case.refund(key) is R.SUCCEEDED
    assert_books_equal_stripe(case)


# Stripe's no.


def test_a_refund_that_was_made_at_stripe_meanwhile_is_refused_and_then_known(
    paid: Callable[..., Case],
) -> None:
    """lago-api#6443: already refunded at Stripe."""
    case = paid()
    key = request(case)
    case.refund_in_dashboard()

    assert case.refund(key) is R.REFUSED

    assert one_row(case.engine, tables.refunds)["code"] == "charge_already_refunded"
    case.hear(*case.events("refund.created"))
    assert case.returned_at_stripe() == [PRICE]
    assert case.standing == {"refunded": PRICE}
    assert_books_equal_stripe(case)


def test_a_refund_of_a_payment_whose_dispute_we_know_of_is_refused_at_once(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    case.dispute_at_stripe()
    case.hear(*case.events("charge.dispute.created"))

    with pytest.raises(RefundProblem, match="disputed"):
        request(case)


def test_a_refund_of_a_payment_whose_dispute_we_have_not_heard_of_ends_as_refused(
    paid: Callable[..., Case],
) -> None:
    """lago-api#6257: a refund of a disputed charge ends, and nothing is stuck."""
    case = paid()
    key = request(case)
    dispute = case.dispute_at_stripe()

    assert case.refund(key) is R.REFUSED

    row = refund_of(case)
    assert (row["code"], row["due_at"]) == ("charge_disputed", None)
    case.hear(*case.events("charge.dispute.created"))
    case.decide_dispute(dispute, "winning_evidence")
    case.hear(*case.events("charge.dispute.closed"))
    assert case.refund(request(case)) is R.SUCCEEDED
    assert case.standing == {"refunded": PRICE}
    assert_books_equal_stripe(case)


# A bank that takes its time, or sends the money back.


def test_a_pending_refund_is_booked_at_once_and_ends_later(paid: Callable[..., Case]) -> None:
    case = paid("pm_card_pendingRefund")

    assert case.refund(request(case)) is R.PENDING

    assert case.standing == {"refunded": PRICE}
    assert_books_equal_stripe(case)
    case.sandbox.advance(2 * DAY)
    case.hear(*case.events("refund.updated"))
    assert refund_of(case)["status"] == "succeeded"
    assert case.moved("refund") == [("refund", PRICE)]
    assert_books_equal_stripe(case)


@pytest.mark.parametrize("who", ["webhook", "reconcile"])
def test_a_refund_that_fails_later_is_reversed(paid: Callable[..., Case], who: str) -> None:
    case = paid("pm_card_refundFail")
    assert case.refund(request(case)) is R.SUCCEEDED

    case.sandbox.advance(3 * DAY)
    if who == "webhook":
        case.hear(*case.events("refund.failed"), *case.events("charge.refund.updated"))
    else:
        reconcile(sandbox_window(case), case.engine, case.gateway, case.clock)

    assert refund_of(case)["status"] == "failed"
    assert refund_of(case)["code"] == "expired_or_canceled_card"
    assert case.standing == {"cash": PRICE}
    assert case.charge["returned"] == 0
    assert_books_equal_stripe(case)
    case.refund(request(case, amount=1000))
    assert case.standing == {"cash": 1900, "refunded": 1000}
    assert_books_equal_stripe(case)


# Made in Stripe's dashboard.


@pytest.mark.parametrize("who", ["refund.created", "charge.refunded", "reconcile"])
@pytest.mark.parametrize("amount", [None, 1000], ids=["whole", "part"])
def test_a_refund_made_in_the_dashboard_is_booked(
    paid: Callable[..., Case], who: str, amount: int | None
) -> None:
    case = paid()
    case.refund_in_dashboard(amount)

    case.hear(*case.events(who))
    reconcile(sandbox_window(case), case.engine, case.gateway, case.clock)

    row = refund_of(case)
    assert (row["amount"], row["status"]) == (amount or PRICE, "succeeded")
    assert row["reason"] == "made at Stripe"
    assert case.moved("refund") == [("refund", amount or PRICE)]
    assert_books_equal_stripe(case)


def test_a_refund_that_is_heard_of_before_its_payment_brings_the_payment_with_it(
    case: Case,
) -> None:
    dies(case.collect, case, "confirm", heard=True)
    case.refund_in_dashboard(1000)

    (result,) = case.hear(*case.events("refund.created"))

    assert result == "refund succeeded"
    assert case.charge["status"] == "paid"
    assert case.standing == {"cash": 1900, "refunded": 1000}
    assert_books_equal_stripe(case)


def test_our_own_refund_is_known_by_its_webhook_before_its_answer_is_read(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    key = request(case, amount=1000)
    dies(lambda gateway: case.refund(key, gateway), case, "refund", heard=True)

    case.hear(*case.events("refund.created"))

    assert refund_of(case)["status"] == "succeeded"
    assert case.refund(key) is R.SUCCEEDED
    assert case.returned_at_stripe() == [1000]
    assert case.moved("refund") == [("refund", 1000)]
    assert_books_equal_stripe(case)


def test_a_request_that_stripe_refuses_for_our_fault_moves_nothing_and_can_be_made_again(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    key = request(case, amount=1000)
    case.sandbox.fault("http_403", "POST", REFUND)

    assert case.refund(key) is R.REFUSED

    assert refund_of(case)["due_at"] is None
    assert case.returned_at_stripe() == []
    assert case.refund(request(case, amount=1000)) is R.SUCCEEDED
    assert_books_equal_stripe(case)


def test_part_of_a_refund_that_was_made_at_stripe_already_leaves_the_rest_returnable(
    paid: Callable[..., Case],
) -> None:
    case = paid()
    key = request(case)
    case.refund_in_dashboard(1000)
    case.refund(key)
    case.hear(*case.events())

    again = request(case)

    assert case.refund(again) is R.SUCCEEDED
    assert case.returned_at_stripe() == [1000, 1900]
    assert_books_equal_stripe(case)
