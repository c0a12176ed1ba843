"""Bugs that other billing systems had, as stories that end well here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import DAY, HOUR, deployed, outcomes, reverted, settle_events
from tests.collecting import (
    CONFIRM,
    CREATE,
    NO_TIME,
    PRICE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
)
from tests.running import eventually
from tests.sandbox import sandbox_process
from tests.stack import HastyGateway
from worker.billing.charges import ChargeStatus
from worker.billing.refunds import RefundStatus
from worker.charges import retry_charge
from worker.customers import add_payment_method
from worker.leave import cancel_customer
from worker.refund import request_refund

S = ChargeStatus
DECLINES = "pm_card_chargeCustomerFail"
WANTS_THE_CUSTOMER = "pm_card_authenticationRequired"


def new_card(case: Case, after: timedelta = NO_TIME) -> None:
    add_payment_method("acme", "pm_card_visa", case.engine, case.gateway, case.later(after))


def test_an_unknown_first_try_that_resolves_after_a_second_one_succeeded(case: Case) -> None:
    """killbill#1015: unknown, a second try succeeds, then the first resolves."""
    case.sandbox.fault("slow", "POST", CONFIRM, seconds=3)
    assert case.collect(HastyGateway(case.sandbox, 1.0)) is S.FROZEN
    (attempt,) = case.attempts()

    assert case.collect() is S.PAID

    assert eventually(lambda: first_try(case, attempt) == "payment_intent_unexpected_state")
    case.hear(*case.events())
    assert case.collect() is None
    assert case.asked_of_the_bank() == 1
    assert_paid_once(case)


def first_try(case: Case, attempt: dict[str, Any]) -> str | None:
    """What is kept under the first try's key; while it is under way the key is in use."""
    key, method = f"{case.intent}-1", attempt["parameters"]["payment_method"]
    return case.gateway.confirm_intent(case.intent, method, key).code


def test_an_intent_that_appears_after_another_was_made_and_paid(case: Case) -> None:
    """killbill#1015, one step earlier: the first intent comes late, and is never confirmed."""
    case.sandbox.fault("slow", "POST", CREATE, seconds=3)
    assert case.collect(HastyGateway(case.sandbox, 1.0)) is S.FROZEN

    for _ in range(3):
        case.collect()
    assert eventually(lambda: case.sandbox.ask("GET", "faults") == [] and case.collect() is None)

    case.hear(*case.events())
    assert case.asked_of_the_bank() == 1
    assert_paid_once(case)


def test_a_crash_after_the_card_was_charged_and_before_that_was_written_down(case: Case) -> None:
    """killbill#508: the payment stayed unknown for ever, or was made again."""
    dies(case.collect, case, "confirm", heard=True)
    assert case.paid_at_stripe() == [PRICE]

    assert case.collect() is S.PAID

    assert_paid_once(case)


def test_a_pending_payment_that_fails_is_tried_again(owing: Callable[..., Case]) -> None:
    """killbill#1832: no retry was scheduled when a pending payment failed later."""
    case = owing("pm_card_sandbox_processingFails")
    case.collect()
    case.sandbox.advance(4 * sandbox_process.DAY)
    assert case.collect(after=4 * DAY) is S.DECLINED
    new_card(case, 4 * DAY)

    assert case.collect(after=4 * DAY) is S.PAID

    assert_paid_once(case)


def test_a_card_that_wants_the_customer_holds_nothing_for_ever(owing: Callable[..., Case]) -> None:
    """polar#13272: a new card pays at once, and the old intent is never paid beside it."""
    case = owing(WANTS_THE_CUSTOMER)
    assert case.collect() is S.ACTION_REQUIRED
    settle_events(case.engine, deployed("fix-2"))
    assert outcomes(case.engine)["fix-2"] == "held"

    new_card(case)

    assert case.is_due(NO_TIME)
    assert case.collect() is S.PAID
    assert case.book["past_due"] is False
    assert case.intents() == 1
    assert_paid_once(case)


def test_a_customer_who_left_their_banks_page_can_pay_with_another_card(
    owing: Callable[..., Case],
) -> None:
    """polar#13272, with the page of the bank left open."""
    case = owing(WANTS_THE_CUSTOMER)
    case.collect()
    (attempt,) = case.attempts()
    method = attempt["parameters"]["payment_method"]
    _, page = case.gateway.authenticate(case.intent, method, "https://fixbill.example/back")
    assert page is not None

    new_card(case)

    assert case.collect() is S.PAID
    assert [row["why"] for row in case.attempts()] == ["scheduled", "new_card"]
    assert_paid_once(case)


def test_a_standstill_burns_no_tries(owing: Callable[..., Case]) -> None:
    """polar#13355: after an outage, jobs of weeks ago used up the whole schedule in minutes."""
    case = owing(DECLINES)
    case.collect()
    back = 60 * DAY

    for minute in range(0, 60, 5):
        if case.is_due(back + timedelta(minutes=minute)):
            case.collect(after=back + timedelta(minutes=minute))

    assert (case.charge["tries"], case.asked_of_the_bank()) == (2, 2)
    assert case.charge["due_at"] > case.later(back + DAY).now()
    new_card(case, back)
    assert case.collect(after=back + HOUR) is S.PAID
    assert_paid_once(case)


def test_retries_by_hand_are_no_tries_of_the_schedule(owing: Callable[..., Case]) -> None:
    """polar#10811: manual retries exhausted the dunning schedule."""
    case = owing(DECLINES)
    case.collect()

    for hour in range(1, 9):
        retry_charge(case.key, case.engine, case.later(hour * HOUR))
        assert case.collect(after=hour * HOUR) is S.DECLINED

    assert case.charge["tries"] == 1
    assert {row["why"] for row in case.attempts()[1:]} == {"operator"}
    days = [day for day in range(1, 30) if case.is_due(day * DAY + HOUR) and scheduled(case, day)]
    assert days == [1, 3, 5, 7]
    assert case.book["past_due"] is True
    assert_books_equal_stripe(case)


def scheduled(case: Case, day: int) -> bool:
    return case.collect(after=day * DAY + HOUR) is S.DECLINED


@pytest.mark.parametrize("before", ["declined", "under way", "open"])
def test_nothing_is_charged_after_the_customer_cancelled(
    owing: Callable[..., Case], before: str
) -> None:
    """polar#6542: a cancelled subscription was charged once more."""
    case = owing(DECLINES if before == "declined" else "pm_card_visa")
    if before == "declined":
        case.collect()
    elif before == "under way":
        dies(case.collect, case, "confirm", heard=False)
    asked = case.asked_of_the_bank()

    cancel_customer("acme", case.engine, case.gateway, case.clock)

    if before != "open":
        case.withdraw()
    settle_events(case.engine, deployed("fix-2"))
    for day in range(30):
        case.replacement().collect(after=day * DAY)
        assert not case.replacement().is_due(day * DAY)
    assert case.asked_of_the_bank() == asked
    assert (case.paid_at_stripe(), case.standing) == ([], {"receivable": PRICE})
    assert outcomes(case.engine)["fix-2"] == "held"
    assert_books_equal_stripe(case)


def test_a_webhook_that_is_faster_than_our_own_save(case: Case) -> None:
    """polar#10728: Stripe's webhook came before the row it was about."""
    dies(case.collect, case, "create", heard=True)
    client = case.sandbox.client()
    (intent,) = client.v1.payment_intents.list({"customer": case.stripe_customer}).data
    client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    assert case.charge["payment_intent"] is None

    case.hear(*case.events())

    assert case.collect() is None
    assert_paid_once(case)


def test_a_retry_asks_for_what_is_still_due_after_a_fix_was_taken_back(
    owing: Callable[..., Case],
) -> None:
    """polar#10694: a retry asked for the total, though part of it was no longer owed."""
    case = owing(DECLINES, fixes=3)
    case.collect()
    settle_events(case.engine, reverted("fix-3"))
    case.withdraw()
    rest = case.replacement()

    new_card(rest)

    assert rest.collect() is S.PAID
    assert_paid_once(rest, 2 * PRICE)


def test_a_retry_asks_for_what_is_still_due_after_money_came_in(owing: Callable[..., Case]) -> None:
    """polar#10694: as above, after a payment that was made otherwise."""
    case = owing(DECLINES)
    case.collect()
    new_card(case)
    case.pay_in_dashboard(1000)
    case.hear(*case.events())

    case.collect()
    case.withdraw()
    rest = case.replacement()

    assert rest.collect() is S.PAID
    assert case.paid_at_stripe() == [1000, 1900]
    assert case.standing == {"cash": PRICE}
    assert_books_equal_stripe(case)


def test_a_refund_of_a_disputed_payment_ends_as_refused(case: Case) -> None:
    """lago-api#6257: it was retried for ever, and the credit note stayed pending."""
    case.collect()
    key = request_refund(case.key, case.engine, case.clock)
    case.dispute_at_stripe()

    assert case.refund(key) is RefundStatus.REFUSED

    case.hear(*case.events())
    assert case.standing == {"disputed": PRICE}
    assert_books_equal_stripe(case)


def test_a_refund_that_was_made_at_stripe_already_is_known_and_not_made_again(case: Case) -> None:
    """lago-api#6443: a refund made in the dashboard was made again, or failed for ever."""
    case.collect()
    key = request_refund(case.key, case.engine, case.clock)
    case.refund_in_dashboard()

    assert case.refund(key) is RefundStatus.REFUSED

    case.hear(*case.events())
    assert (case.returned_at_stripe(), case.standing) == ([PRICE], {"refunded": PRICE})
    assert_books_equal_stripe(case)


def test_a_dispute_is_written_down_when_it_is_opened(case: Case) -> None:
    """lago-api#6444: only a lost dispute was noticed."""
    case.collect()
    case.dispute_at_stripe()

    case.hear(*case.events("charge.dispute.created"))

    assert case.standing == {"disputed": PRICE}
    assert_books_equal_stripe(case)
