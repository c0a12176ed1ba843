"""A ledger under another catalogue: under its own it costs what it cost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings

from schemas.money import Money
from schemas.plans import BadPlans, Catalogue
from tests.billing.pasts import BEGINS, IN_USE, PRO, TRIAL, Past, catalogue, changed, pasts, usd
from tests.builders import DAY, HOUR, MINUTE
from worker.billing.pricing import Bill, Replay, Step, begin
from worker.billing.terms import Invoiced, Terms, within

AT_ONCE = timedelta(0)
JANUARY = date(2026, 1, 1)


def replayed(past: Past, candidate: Catalogue = IN_USE) -> tuple[Replay, list[Bill]]:
    replay = begin(Terms("acme", "usd", candidate, IN_USE), past.cycles())
    bills = [replay.take(each) for each in past.steps()]
    return replay, [each for each in bills if each is not None]


def cost(past: Past, candidate: Catalogue) -> tuple[int, int, int]:
    """Dollars billed, dollars under the candidate, and fixes it would hold."""
    replay, bills = replayed(past, candidate)
    billed, asked = sum(each.ledger for each in bills), sum(each.replay for each in bills)
    return billed // 100, asked // 100, replay.book.held


def left_in(replay: Replay) -> dict[str, int]:
    return {each.grant_id: each.remaining for each in replay.book.grants}


@settings(max_examples=200)
@given(pasts())
def test_under_its_own_catalogue_every_transfer_costs_what_it_cost(past: Past) -> None:
    replay, bills = replayed(past)

    assert [each.replay for each in bills] == [each.ledger for each in bills]
    assert replay.book.held == 0
    assert left_in(replay) == {
        each.grant_id: each.remaining for each in past.memory.grants.values() if each.remaining
    }


def trebled(money: Money | None) -> Money | None:
    return money * 3 if money else None


@settings(max_examples=100)
@given(pasts())
def test_three_times_the_prices_are_three_times_the_bill(past: Past) -> None:
    candidate = IN_USE
    for code in IN_USE.plans:
        candidate = changed(
            code,
            candidate,
            lambda each: {"price": trebled(each.price), "subscription": trebled(each.subscription)},
        )

    _, bills = replayed(past, candidate)

    assert [each.replay for each in bills] == [3 * each.ledger for each in bills]


@settings(max_examples=100)
@given(pasts())
def test_whoever_never_pays_has_a_bill_of_nothing(past: Past) -> None:
    free = IN_USE
    for code in IN_USE.plans:
        free = changed(code, free, lambda _: {"price": None, "subscription": None})

    replay, bills = replayed(past, free)

    assert {each.replay for each in bills} <= {0}
    assert replay.book.revenue == 0


def trial(fixes: int) -> Past:
    """On the day after the sign-up."""
    past = Past(now=BEGINS)
    past.now += DAY
    past.deploy(fixes, MINUTE, AT_ONCE)
    return past


def paying(fixes: int) -> Past:
    """The sign-up's 3 credits and the card's 2 go first."""
    past = Past(now=BEGINS)
    past.add_card()
    past.now += DAY
    past.deploy(fixes, MINUTE, AT_ONCE)
    past.now += HOUR
    return past


def subscriber(fixes: int) -> Past:
    """From the next hour on pro: 3 credits a month."""
    past = paying(5)
    past.subscribe()
    past.now += HOUR
    past.deploy(fixes, MINUTE, AT_ONCE)
    return past


def reverted(past: Past, number: int) -> Past:
    past.revert(number)
    past.now += HOUR
    return past


def renewed(past: Past, fixes: int) -> Past:
    """More than a month later."""
    past.now += 33 * DAY
    past.renew()
    past.deploy(fixes, MINUTE, AT_ONCE)
    return past


def then(past: Past, fixes: int) -> Past:
    past.deploy(fixes, MINUTE, AT_ONCE)
    return past


def collected(past: Past) -> Past:
    past.collect()
    past.now += HOUR
    return past


def given_credits(past: Past, credits: int) -> Past:
    past.now += HOUR
    past.grant(credits, None)
    return past


def terms(code: str, **values: Any) -> Catalogue:
    return changed(code, IN_USE, lambda _: values)


# What happened, the candidate, and: dollars billed, dollars under it, fixes held.
CASES: dict[str, tuple[Past, Catalogue, tuple[int, int, int]]] = {
    "another price": (paying(7), terms("payg", price=Money(3500, "usd")), (58, 70, 0)),
    "more at sign-up": (paying(7), terms("trial", signup_credits=4), (58, 29, 0)),
    "nothing at sign-up": (paying(7), terms("trial", signup_credits=0), (58, 145, 0)),
    "more with a card": (paying(9), terms("trial", billing_added_credits=10), (116, 0, 0)),
    "credits that have expired": (
        then(paying(0), 3),
        terms("trial", credits_expire_days=1),
        (0, 87, 0),
    ),
    "no price": (paying(7), terms("payg", price=None), (58, 0, 2)),
    "fewer on a trial": (trial(3), terms("trial", signup_credits=1), (0, 0, 2)),
    "held, until there is a credit": (
        given_credits(trial(3), 1),
        terms("trial", signup_credits=1),
        (0, 0, 1),
    ),
    "taken back, and had been charged here": (
        reverted(paying(5), 4),
        terms("trial", signup_credits=2),
        (0, 0, 0),
    ),
    "taken back, and had been charged there": (
        then(reverted(paying(6), 5), 1),
        terms("trial", signup_credits=4),
        (29, 0, 0),
    ),
    "taken back after it was paid": (
        then(reverted(collected(paying(6)), 5), 1),
        terms("payg", price=Money(1000, "usd")),
        (29, 10, 0),
    ),
    "taken back after it was paid, by a credit here": (
        then(reverted(collected(paying(6)), 5), 2),
        terms("trial", signup_credits=4),
        (58, 29, 0),
    ),
    "a cheaper subscription": (
        subscriber(4),
        terms("pro", subscription=Money(49900, "usd")),
        (599 + 15, 499 + 15, 0),
    ),
    "more included": (subscriber(4), terms("pro", included_credits=9), (614, 599, 0)),
    "nothing rolls over": (
        renewed(subscriber(1), 7),
        terms("pro", rollover_credits_max=0),
        (2 * 599 + 30, 2 * 599 + 60, 0),
    ),
    "no subscription at all": (
        subscriber(4),
        terms("pro", subscription=None, included_credits=0, price=Money(2000, "usd")),
        (614, 80, 0),
    ),
}


@pytest.mark.parametrize(("past", "candidate", "told"), CASES.values(), ids=CASES)
def test_what_a_plan_says_counts_in_place_of_what_it_said(
    past: Past, candidate: Catalogue, told: tuple[int, int, int]
) -> None:
    assert cost(past, candidate) == told


def test_a_new_version_applies_to_cycles_that_begin_under_it() -> None:
    past = paying(6)
    past.now = datetime(2026, 1, 31, 23, tzinfo=UTC)
    past.deploy(1, MINUTE, AT_ONCE)
    past.now += 2 * HOUR
    past.deploy(1, MINUTE, AT_ONCE)
    dearer = catalogue(
        trial={JANUARY: TRIAL},
        payg={JANUARY: {"price": usd(2900)}, date(2026, 1, 20): {"price": usd(4000)}},
    )

    _, bills = replayed(past, dearer)

    assert [each.replay for each in bills if each.ledger] == [2900, 2900, 4000]


def test_a_subscription_keeps_the_price_with_which_it_began() -> None:
    pro = PRO | {"price": usd(1500)}
    dearer = catalogue(
        trial={JANUARY: TRIAL},
        payg={JANUARY: {"price": usd(2900)}},
        pro={JANUARY: pro, date(2026, 2, 1): pro | {"price": usd(900), "subscription": usd(89900)}},
    )

    _, bills = replayed(renewed(subscriber(0), 1), dearer)

    assert [each.replay for each in bills if each.replay] == [59900, 59900, 1500]


def test_what_no_plan_was_sold_with_costs_what_it_cost() -> None:
    replay, _ = replayed(trial(0))

    bill = replay.take(Step(9, "invoice", 1234, "in_manual", BEGINS + 2 * DAY, BEGINS + 2 * DAY))

    assert bill == Bill(BEGINS + 2 * DAY, 1234, 1234)


def test_a_paid_month_brings_what_the_candidate_includes_where_the_ledger_gave_nothing() -> None:
    replay, _ = replayed(trial(0))
    at = BEGINS + 2 * DAY
    month = Invoiced("pro", JANUARY, at, at, at + 31 * DAY, gives_apart=False, key="included:1")

    bill = replay.take(Step(9, "invoice", 59900, "in_1", at, at, invoiced=month))

    assert bill == Bill(at, 59900, 59900)
    assert left_in(replay) == {"signup": 3, "included:1": 3}


def test_a_bill_is_of_the_moment_at_which_its_fix_settled() -> None:
    past = paying(6)
    settled_at = past.now - HOUR
    past.now += 3 * DAY

    _, bills = replayed(reverted(past, 5))

    assert [(each.at, each.ledger) for each in bills if each.ledger] == [
        (settled_at, 2900),
        (settled_at, -2900),
    ]


def test_a_grant_that_was_opened_again_is_replayed_as_it_was_given() -> None:
    past = Past()
    past.deploy(3, MINUTE, AT_ONCE)  # what came with signing up
    past.grant(1, days=5)
    past.now += MINUTE
    past.grant(1, days=5)
    past.now += 4 * DAY
    past.deploy(1, MINUTE, AT_ONCE)
    past.now += 2 * DAY

    past.revert(3)  # into the first of the two, both of which have expired

    replay, _ = replayed(past)
    assert left_in(replay) == {"gift-1": 1}


def test_credits_that_go_with_a_refund_go_as_far_as_they_are_left() -> None:
    past = collected(paying(6))
    replay, _ = replayed(then(reverted(past, 5), 0))
    later = past.now + HOUR

    def move(kind: str) -> int:
        replay.take(Step(99, kind, 1, f"re_1/{kind}", later, later, "revert:fix-5"))
        return left_in(replay).get("revert:fix-5", 0)

    assert [move(each) for each in ("claw_back", "claw_back", "reissue")] == [0, 0, 1]


@pytest.mark.parametrize(
    ("candidate", "says"),
    [
        (catalogue(payg={JANUARY: {"price": usd(1)}}), "there is no plan 'trial'"),
        (catalogue(trial={date(2026, 2, 1): TRIAL}), "plan trial has no version in force on"),
        (
            catalogue(trial={JANUARY: {"price": {"amount": 1, "currency": "eur"}}}),
            "plan trial is in eur, the ledger of acme in usd",
        ),
    ],
)
def test_a_candidate_that_cannot_take_the_place_is_refused(candidate: Catalogue, says: str) -> None:
    with pytest.raises(BadPlans, match=says):
        replayed(trial(1), candidate)


@pytest.mark.parametrize(
    ("effective", "day", "nearest"),
    [
        (JANUARY, date(2026, 2, 1), date(2026, 2, 1)),
        (JANUARY, date(2025, 12, 1), JANUARY),
        (JANUARY, date(2026, 3, 5), date(2026, 3, 4)),
        (date(2026, 3, 5), date(2026, 3, 1), date(2026, 3, 5)),
        (date(2026, 3, 5), date(2030, 1, 1), date(2030, 1, 1)),
    ],
)
def test_a_version_was_pinned_while_it_was_in_force(
    effective: date, day: date, nearest: date
) -> None:
    assert within(IN_USE, "payg", effective, day) == nearest
