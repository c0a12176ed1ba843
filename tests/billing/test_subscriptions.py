"""Subscriptions: the invoice is booked once, and its period decides plan, cycle and credits."""

from __future__ import annotations

from datetime import datetime
from itertools import permutations
from typing import Any

import pytest

from schemas.money import Money
from tests.at_stripe import invoiced, subscribed
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    PLAN_DATE,
    arrival,
    book,
    deployed,
    journal,
    moved,
    usd,
)
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.cycles import period_end
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.payments import book_unapplied
from worker.billing.rollover import catch_up
from worker.billing.stripe_objects import Sold, StripeInvoice
from worker.billing.subscriptions import (
    PaidPeriod,
    included_key,
    take_invoice,
    take_period,
    take_subscription,
)

EARNED = ("invoice", 59900, "in_1")
PAID = ("pay", 59900, "pi_1")

SEEN: dict[str, tuple[StripeInvoice, str | None, list[tuple[str, int, str]]]] = {
    "paid, and new to us": (invoiced(), None, [EARNED, PAID]),
    "paid at last": (invoiced(), "open", [EARNED, PAID]),
    "paid though given up": (invoiced(), "uncollectible", [EARNED, PAID]),
    "paid without a payment": (
        invoiced(payment_intent=None),
        None,
        [EARNED, ("pay", 59900, "in_1")],
    ),
    "paid, as we know": (invoiced(), "paid", []),
    "paid with nothing": (invoiced(amount=0), None, []),
    "a draft": (invoiced("draft", 0), None, []),
    "open": (invoiced("open", 0), "draft", []),
    "void": (invoiced("void", 0), "open", []),
    "uncollectible": (invoiced("uncollectible", 0), "open", []),
}


@pytest.mark.parametrize(("seen", "was", "booked"), SEEN.values(), ids=SEEN)
def test_an_invoice_is_booked_when_it_is_paid_and_only_then(
    seen: StripeInvoice, was: str | None, booked: list[tuple[str, int, str]]
) -> None:
    standing = book()
    written = journal(standing)

    take_invoice(written, standing, seen, was, already_here=False)

    assert moved(written) == booked
    assert (standing.receivable, standing.cash) == (0, 59900 if booked else 0)
    assert standing.revenue == -standing.cash
    assert written.touched == ({"acme"} if booked else set())


def test_an_invoice_is_booked_by_the_customers_clock() -> None:
    standing = book(clock_offset=HOUR)
    written = journal(standing)

    take_invoice(written, standing, invoiced(), None, already_here=False)

    assert {(each.happened_at, each.recorded_at) for each in written.transfers} == {
        (NOW + HOUR, NOW + HOUR)
    }


@pytest.mark.parametrize("other", [0, 700], ids=["nothing else", "something else"])
def test_a_payment_that_came_before_its_invoice_pays_it(other: int) -> None:
    standing = book(unapplied=-other, cash=other)
    written = journal(standing)
    book_unapplied(written, standing, 59900, "pi_1")

    take_invoice(written, standing, invoiced(), None, already_here=True)

    assert moved(written) == [("unapplied_in", 59900, "pi_1"), EARNED, ("apply", 59900, "in_1")]
    assert (standing.receivable, standing.unapplied) == (0, -other)
    assert (standing.cash, standing.revenue) == (59900 + other, -59900)


LIVES = ("draft", "open", "paid", "paid")


def test_an_invoice_in_a_currency_the_ledger_does_not_have_is_not_booked() -> None:
    standing = book()
    written = journal(standing)

    take_invoice(written, standing, invoiced(money=Money(59900, "eur")), None, already_here=False)

    assert (moved(written), written.touched) == ([], set())


@pytest.mark.parametrize("order", sorted(set(permutations(LIVES))), ids=", ".join)
@pytest.mark.parametrize("payment_after", range(5))
def test_in_whatever_order_we_hear_of_it_the_same_money_is_booked_once(
    order: tuple[str, ...], payment_after: int
) -> None:
    standing, was = book(), None
    written = journal(standing)

    for number, status in enumerate([*order, None]):
        here = any(each.source_key == "pi_1" for each in written.transfers)
        if number == payment_after and not here:
            book_unapplied(written, standing, 59900, "pi_1")
            here = True
        if status is not None:
            seen = invoiced(status, 59900 if status == "paid" else 0)
            take_invoice(written, standing, seen, was, here)
            was = status if was != "paid" else was

    assert (standing.cash, standing.revenue) == (59900, -59900)
    assert (standing.receivable, standing.unapplied) == (0, 0)


# The periods that are paid for.

PRO = Sold("pro", PLAN_DATE)
BEGAN = NOW  # of the subscription, in the middle of the customer's March
SECOND, THIRD = (period_end(BEGAN, each) for each in (BEGAN, period_end(BEGAN, BEGAN)))
FIRST = PaidPeriod("in_1", PRO, BEGAN, SECOND)
RENEWAL = PaidPeriod("in_2", PRO, SECOND, THIRD)


def took(standing: Book, *periods: PaidPeriod, at: datetime = NOW, **more: Any) -> Journal:
    """What hearing that these were paid writes; credits that are there are not given again."""
    written = journal(standing, now=at)
    for each in periods:
        key = included_key("sub_1", each.start)
        given = any(row.grant_id == key for row in written.grants.new.values())
        take_period(written, standing, subscribed(**more), each, given)
    return written


def test_the_first_paid_period_cuts_the_month_and_brings_plan_and_credits() -> None:
    standing = book()

    written = took(standing, FIRST)

    assert (standing.plan, standing.price) == ("pro", usd(15))
    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (2, BEGAN, SECOND)
    assert (standing.subscription_id, standing.anchor) == ("sub_1", BEGAN)
    assert (standing.paid_until, standing.unpaid_period) == (SECOND, False)
    assert moved(written) == [("grant", 10, included_key("sub_1", BEGAN))]
    (included,) = standing.grants
    assert (included.source, included.expires_at) == ("included", SECOND)
    assert (included.rolls_max, included.origin) == (10, "in_1")


def test_a_period_that_is_heard_of_twice_brings_its_credits_once() -> None:
    standing = book()

    written = took(standing, FIRST, FIRST)

    assert [kind for kind, *_ in moved(written)] == ["grant"]
    assert (standing.cycle, standing.credits) == (2, 10)


def test_until_the_renewal_is_paid_credits_are_used_and_the_rest_is_held() -> None:
    standing = book()
    took(standing, FIRST)
    standing.grants[0].remaining, standing.credits, standing.consumed = 1, 1, 9
    came = SECOND + HOUR
    events = [arrival(deployed(name, at=came), at=came) for name in ("a", "b")]

    written = decide_batch(events, {"acme": standing}, Known(), came)
    before = {key[1]: (each.outcome, each.held_why) for key, each in written.known.fixes.items()}
    paid = took(standing, RENEWAL, at=came + HOUR)

    assert before == {
        "a": (FixOutcome.CREDITED, None),
        "b": (FixOutcome.HELD, "waits for the invoice of this period to be paid"),
    }
    assert moved(paid) == [("grant", 10, included_key("sub_1", SECOND)), ("consume", 1, "b")]
    assert (standing.paid_until, standing.cycle_end, standing.held) == (THIRD, THIRD, 0)


def test_a_renewal_that_is_paid_before_anybody_looked_ends_the_period_before() -> None:
    standing = book()
    took(standing, FIRST)

    written = took(standing, RENEWAL, at=SECOND + HOUR)

    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (3, SECOND, THIRD)
    assert [kind for kind, *_ in moved(written)] == ["grant"]


def test_credits_of_a_period_that_a_renewal_ended_wait_for_what_was_accepted_before() -> None:
    standing = book()
    took(standing, FIRST)
    took(standing, RENEWAL, at=SECOND + HOUR)
    before = decide_batch(
        [arrival(deployed(at=SECOND - MINUTE), at=SECOND - MINUTE)],
        {"acme": standing},
        Known(),
        SECOND + HOUR,
    )

    after = journal(standing, now=SECOND + HOUR)
    catch_up(after, standing, SECOND + HOUR)

    assert [each.grant_id for each in before.transfers] == [included_key("sub_1", BEGAN)]
    assert [(each.kind, each.amount, each.cycle) for each in after.transfers] == [
        ("roll_out", 9, 2),
        ("roll_in", 9, 3),
    ]


@pytest.mark.parametrize(
    "seen",
    [{"status": "canceled", "ended_at": NOW}, {"subscription_id": "sub_2"}],
    ids=["of one that has ended", "of another than the customer's"],
)
def test_a_period_of_no_subscription_of_theirs_brings_its_credits_and_no_more(
    seen: dict[str, Any],
) -> None:
    standing = book(subscription_id="sub_1", anchor=MARCH.start, paid_until=MARCH.end)
    written = journal(standing)

    take_period(written, standing, subscribed(**seen), FIRST, given=False)

    assert [(kind, amount) for kind, amount, _ in moved(written)] == [("grant", 10)]
    assert (standing.plan, standing.cycle, standing.subscription_id) == ("payg", 1, "sub_1")


def test_what_is_paid_for_a_period_that_is_over_is_good_until_the_open_cycle_ends() -> None:
    standing = book()
    took(standing, FIRST)
    at = THIRD + HOUR
    with_time = journal(standing, now=at)
    catch_up(with_time, standing, at)

    took(standing, RENEWAL, at=at)

    late = next(each for each in standing.grants if each.grant_id == included_key("sub_1", SECOND))
    assert late.expires_at == standing.cycle_end > at
    assert standing.unpaid_period


# What is told of the subscription itself.


def in_first_period() -> Book:
    standing = book()
    took(standing, FIRST)
    return standing


def test_what_stripe_says_of_another_subscription_changes_nothing() -> None:
    standing = in_first_period()
    written = journal(standing)

    take_subscription(written, standing, subscribed("past_due", subscription_id="sub_2"))

    assert (standing.subscription_status, written.touched) == ("active", set())


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_a_subscription_past_due_is_said_to_be_and_goes_on(status: str) -> None:
    standing = in_first_period()

    take_subscription(journal(standing), standing, subscribed(status))

    assert (standing.subscription_status, standing.plan) == (status, "pro")


def test_one_that_is_to_end_with_its_period_can_be_continued() -> None:
    standing = in_first_period()

    take_subscription(journal(standing), standing, subscribed(cancel_at_period_end=True))
    ends = standing.ends_with_period
    take_subscription(journal(standing), standing, subscribed())

    assert (ends, standing.ends_with_period) == (True, False)


def test_one_that_ends_at_once_cuts_the_period_and_its_credits_stay() -> None:
    standing = in_first_period()
    at = BEGAN + 2 * DAY
    written = journal(standing, now=at)

    take_subscription(written, standing, subscribed("canceled", ended_at=at))

    assert (standing.plan, standing.price) == ("payg", usd(29))
    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (3, at, MARCH.end)
    assert (standing.subscription_id, standing.subscription_status) == (None, "canceled")
    assert (standing.credits, standing.grants[0].expires_at) == (10, SECOND)
    assert moved(written) == []


def test_one_that_ended_the_moment_its_period_began_leaves_a_month_that_begins_then() -> None:
    standing = in_first_period()

    take_subscription(journal(standing), standing, subscribed("canceled", ended_at=BEGAN))

    assert (standing.plan, standing.cycle) == ("payg", 2)
    assert (standing.cycle_start, standing.cycle_end) == (BEGAN, MARCH.end)


def test_one_that_ended_with_its_period_is_left_then_however_late_we_hear_of_it() -> None:
    standing = in_first_period()
    at = SECOND + 3 * DAY

    take_subscription(journal(standing, now=at), standing, subscribed("canceled", ended_at=SECOND))

    assert (standing.plan, standing.cycle, standing.cycle_start) == ("payg", 3, SECOND)
    assert standing.time is None


def test_after_the_end_a_subscription_begins_anew() -> None:
    standing = in_first_period()
    at = BEGAN + 2 * DAY
    take_subscription(journal(standing, now=at), standing, subscribed("canceled", ended_at=at))
    again = PaidPeriod("in_9", PRO, at + DAY, period_end(at + DAY, at + DAY))
    seen = subscribed(subscription_id="sub_2", anchor=again.start)

    written = journal(standing, now=again.start)
    take_period(written, standing, seen, again, given=False)

    assert (standing.plan, standing.subscription_id) == ("pro", "sub_2")
    assert (standing.cycle_start, standing.cycle_end) == (again.start, again.end)
    assert standing.credits == 20
