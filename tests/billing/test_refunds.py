"""Money back: who may ask for it, and what each of Stripe's words does to the books."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.money import Money
from tests.builders import HOUR, NOW, book, charge, grant, journal, moved, refund
from worker.billing.answers import Answer, AnswerKind
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.ledger import CREDIT_ACCOUNTS, MONEY_ACCOUNTS
from worker.billing.refunds import (
    BOOKED,
    BY_STRIPE_STATUS,
    TRANSITIONS,
    Refund,
    RefundProblem,
    RefundStatus,
    check_returnable,
    claw_back,
    reissue,
    take_refund,
    take_refusal,
)
from worker.billing.stripe_objects import StripeRefund

R = RefundStatus
PAID = ChargeStatus.PAID
STRIPE_STATUSES = ("pending", "requires_action", "succeeded", "failed", "canceled")


def seen(status: str, amount: int = 2900, **more: str) -> StripeRefund:
    return StripeRefund(
        "re_1", "pi_ch_acme", Money(amount, "usd"), status, "ref_acme", more.get("code"), NOW
    )


def paid_book(owed: Charge, unapplied: int = 0) -> Book:
    """The charge was paid by a card, and perhaps more came in than it explains."""
    came = owed.asked.amount + unapplied - owed.dropped
    return book(cash=came, unapplied=-unapplied, revenue=unapplied - came)


# Who may ask.

RETURNABLE: dict[str, tuple[Charge, int, int, bool, str | None]] = {
    "all": (charge(2900, PAID), 2900, 0, False, None),
    "a part": (charge(2900, PAID), 1, 0, False, None),
    "what is left": (charge(2900, PAID, returned=1000), 1900, 0, False, None),
    "what no other refund asks for": (charge(2900, PAID), 1900, 1000, False, None),
    "what the card paid": (charge(2900, PAID, applied=900), 2000, 0, False, None),
    "more than the card paid": (
        charge(2900, PAID, applied=900),
        2001,
        0,
        False,
        r"within the \$20.00 left",
    ),
    "nothing": (charge(2900, PAID), 0, 0, False, r"within the \$29.00 left"),
    "less than nothing": (charge(2900, PAID), -1, 0, False, r"within the \$29.00 left"),
    "too much": (charge(2900, PAID), 2901, 0, False, r"within the \$29.00 left"),
    "more than is left": (
        charge(2900, PAID, returned=1000),
        1901,
        0,
        False,
        r"within the \$19.00 left",
    ),
    "what another refund asks for": (
        charge(2900, PAID),
        2900,
        1,
        False,
        r"within the \$28.99 left",
    ),
    "disputed money": (charge(2900, PAID), 100, 0, True, "disputed"),
    "what no card has paid": (
        charge(2900, PAID, applied=2900, payment_intent=None),
        100,
        0,
        False,
        "no card has paid",
    ),
    "a charge under way": (charge(2900, ChargeStatus.FROZEN), 100, 0, False, "is frozen"),
    "a void charge": (charge(2900, ChargeStatus.VOID), 100, 0, False, "is void"),
}


@pytest.mark.parametrize(
    ("owed", "amount", "under_way", "disputed", "problem"),
    RETURNABLE.values(),
    ids=RETURNABLE.keys(),
)
def test_only_what_a_card_has_paid_may_go_back(
    owed: Charge, amount: int, under_way: int, disputed: bool, problem: str | None
) -> None:
    if problem is None:
        check_returnable(owed, amount, under_way, disputed)
    else:
        with pytest.raises(RefundProblem, match=problem):
            check_returnable(owed, amount, under_way, disputed)


# Stripe tells of it.


@pytest.mark.parametrize("status", ["pending", "requires_action", "succeeded", "new_word"])
def test_a_refund_is_booked_when_stripe_has_taken_the_money(status: str) -> None:
    owed, wanted = charge(2900, PAID), refund(due_at=NOW, waits=3)
    standing = paid_book(owed)
    written = journal(standing)

    went = take_refund(written, standing, owed, wanted, seen(status), 0)

    assert went
    assert moved(written) == [("refund", 2900, "re_1")]
    assert (standing.cash, standing.refunded, owed.returned) == (0, 2900, 2900)
    assert (wanted.stripe_refund, wanted.due_at, wanted.waits) == ("re_1", None, 0)
    assert written.charges.changed == {"ch_acme": owed}


@pytest.mark.parametrize("status", ["failed", "canceled"])
@pytest.mark.parametrize("before", ["pending", "succeeded"])
def test_a_refund_that_fails_is_reversed(before: str, status: str) -> None:
    owed, wanted = charge(2900, PAID), refund()
    standing = paid_book(owed)
    written = journal(standing)
    take_refund(written, standing, owed, wanted, seen(before), 0)

    went = take_refund(written, standing, owed, wanted, seen(status, code="expired_or_canceled"), 0)

    assert not went
    assert moved(written) == [("refund", 2900, "re_1"), ("refund_failed", 2900, "re_1")]
    assert (standing.cash, standing.refunded, owed.returned) == (2900, 0, 0)
    assert (wanted.status, wanted.code) == (R.FAILED, "expired_or_canceled")


def test_a_refund_that_has_failed_before_we_hear_of_it_moves_nothing_in_the_end() -> None:
    owed, wanted = charge(2900, PAID), refund()
    standing = paid_book(owed)
    written = journal(standing)

    went = take_refund(written, standing, owed, wanted, seen("failed"), 0)

    assert not went
    assert moved(written) == [("refund", 2900, "re_1"), ("refund_failed", 2900, "re_1")]
    assert (standing.cash, owed.returned, wanted.status) == (2900, 0, R.FAILED)


ORDERS = [
    order
    for told in (("pending", "succeeded"), ("pending", "succeeded", "failed"))
    for order in permutations(told * 2)
]


@settings(max_examples=200)
@given(st.sampled_from(ORDERS))
def test_in_whatever_order_stripe_tells_of_it_the_transfers_are_the_same(
    order: tuple[str, ...],
) -> None:
    owed, wanted = charge(2900, PAID), refund()
    standing = paid_book(owed)
    written = journal(standing)

    for status in order:
        take_refund(written, standing, owed, wanted, seen(status), 0)

    failed = "failed" in order
    reversal = [("refund_failed", 2900, "re_1")] if failed else []
    assert moved(written) == [("refund", 2900, "re_1"), *reversal]
    assert owed.returned == (0 if failed else 2900)
    assert (wanted.status is R.FAILED) is failed


@pytest.mark.parametrize("told", STRIPE_STATUSES)
@pytest.mark.parametrize("status", R)
def test_a_refund_moves_on_only_as_the_schema_allows(status: RefundStatus, told: str) -> None:
    owed, wanted = charge(2900, PAID, returned=2900), refund(status=status, stripe_refund="re_1")
    standing = book(refunded=2900, revenue=-2900)

    take_refund(journal(standing), standing, owed, wanted, seen(told), 0)

    assert wanted.status is status or wanted.status in TRANSITIONS[status]


def test_every_status_of_a_refund_has_its_ways() -> None:
    final = [each for each in R if not TRANSITIONS[each]]

    assert set(TRANSITIONS) == set(R)
    assert final == [R.FAILED]
    assert set(BY_STRIPE_STATUS.values()) == set(BOOKED)


# Whose money goes back.

SOURCES: dict[str, tuple[int, int, int, int]] = {
    "of what explains a charge": (0, 5000, 2900, 0),
    "of what was paid too much": (2900, 2900, 2900, 2900),
    "of more than was paid too much": (2900, 2900, 5800, 2900),
    "of what was paid too much and is used up": (2900, 0, 2900, 0),
    "of what was paid too much and is partly used up": (2900, 1000, 5800, 1000),
    "of what was paid too much, beside other money": (900, 5000, 2900, 900),
}


@pytest.mark.parametrize(
    ("brought", "unapplied", "amount", "from_unapplied"), SOURCES.values(), ids=SOURCES.keys()
)
@pytest.mark.parametrize("owed", [None, 5800], ids=["no charge", "a charge"])
def test_money_that_explains_no_charge_goes_back_first_and_comes_back_first(
    brought: int, unapplied: int, amount: int, from_unapplied: int, owed: int | None
) -> None:
    of = None if owed is None else charge(owed, PAID)
    wanted = refund(amount, charge_id=of.charge_id if of else None)
    standing = book(cash=5800, unapplied=-unapplied, revenue=unapplied - 5800)
    written = journal(standing)

    take_refund(written, standing, of, wanted, seen("succeeded", amount), brought)
    back = {kind: part for kind, part, _ in moved(written)}
    take_refund(written, standing, of, wanted, seen("failed", amount), brought)

    parts = {"refund_unapplied": from_unapplied, "refund": amount - from_unapplied}
    assert back == {kind: part for kind, part in parts.items() if part}
    assert wanted.from_unapplied == from_unapplied
    assert (standing.unapplied, standing.refunded, standing.cash) == (-unapplied, 0, 5800)


# Stripe makes none.

UNCLEAR = (AnswerKind.UNKNOWN, AnswerKind.LATER, AnswerKind.READY)


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_refund_whose_fate_is_unknown_is_asked_about_again_and_again(kind: AnswerKind) -> None:
    wanted, pauses = refund(), []

    for _ in range(12):
        take_refusal(wanted, Answer(kind), NOW)
        assert wanted.due_at is not None
        pauses.append(wanted.due_at - NOW)

    assert wanted.status is R.REQUESTED
    assert pauses == sorted(pauses)
    assert (pauses[0].total_seconds(), max(pauses)) == (5, HOUR)


REFUSED = {
    "declined": (AnswerKind.DECLINED, "card_declined"),
    "needs the customer": (AnswerKind.NEEDS_CUSTOMER, None),
    "cancelled": (AnswerKind.CANCELED, None),
    "our bug": (AnswerKind.OUR_BUG, "parameter_missing"),
    "more than is left, which has no code": (AnswerKind.OUR_BUG, None),
    "all of it went back before": (AnswerKind.OUR_BUG, "charge_already_refunded"),
    "disputed": (AnswerKind.OUR_BUG, "charge_disputed"),
}


@pytest.mark.parametrize(("kind", "code"), REFUSED.values(), ids=REFUSED)
def test_a_refund_that_stripe_does_not_make_is_refused(kind: AnswerKind, code: str | None) -> None:
    wanted = refund()

    take_refusal(wanted, Answer(kind, code=code, message="in words"), NOW)

    assert (wanted.status, wanted.due_at) == (R.REFUSED, None)
    assert (wanted.code, wanted.message) == (code, "in words")


@pytest.mark.parametrize("status", BOOKED)
@pytest.mark.parametrize("kind", [*UNCLEAR, AnswerKind.OUR_BUG, AnswerKind.DECLINED])
def test_what_was_booked_meanwhile_no_refusal_undoes(
    status: RefundStatus, kind: AnswerKind
) -> None:
    booked = refund(status=status, stripe_refund="re_1")

    take_refusal(booked, Answer(kind, code="charge_already_refunded"), NOW)

    assert (booked.status, booked.due_at) == (status, None)


def test_a_refund_that_stripe_made_although_it_said_no_is_booked_once() -> None:
    owed, wanted = charge(2900, PAID), refund()
    standing = paid_book(owed)
    written = journal(standing)
    take_refusal(wanted, Answer(AnswerKind.OUR_BUG, code="charge_already_refunded"), NOW)

    for _ in range(2):
        take_refund(written, standing, owed, wanted, seen("succeeded"), 0)

    assert moved(written) == [("refund", 2900, "re_1")]
    assert (wanted.status, owed.returned) == (R.SUCCEEDED, 2900)


# The credits it had paid for.


def booked_refund() -> Refund:
    return refund(status=R.SUCCEEDED, stripe_refund="re_1")


def test_credits_go_back_with_the_money_as_far_as_they_are_unused() -> None:
    unused, part_used = grant(1, "revert:a"), grant(3, "revert:b", remaining=2)
    used_up = grant(1, "revert:c", remaining=0)
    standing = book(credits=3, consumed=2, issued=-5)
    written = journal(standing)

    claw_back(written, standing, booked_refund(), [unused, part_used, used_up])

    assert moved(written) == [
        ("claw_back", 1, "re_1/revert:a"),
        ("claw_back", 2, "re_1/revert:b"),
    ]
    assert (standing.credits, standing.consumed, standing.issued) == (0, 2, -2)
    assert [each.remaining for each in (unused, part_used, used_up)] == [0, 0, 0]
    assert set(written.grants.changed) == {("acme", "revert:a"), ("acme", "revert:b")}


def test_credits_come_back_with_the_money() -> None:
    clawed = grant(3, "revert:a", remaining=0)
    standing = book(credits=0, consumed=1, issued=-1)
    written = journal(standing)

    reissue(written, standing, booked_refund(), [(clawed, 2)])

    assert moved(written) == [("reissue", 2, "re_1/revert:a")]
    assert (clawed.remaining, standing.credits, standing.issued) == (2, 2, -3)
    assert written.grants.changed == {("acme", "revert:a"): clawed}


@settings(max_examples=100)
@given(st.lists(st.integers(0, 3), max_size=4))
def test_what_is_clawed_back_and_reissued_leaves_the_books_as_they_were(
    remaining: list[int],
) -> None:
    grants = [grant(3, f"revert:{n}", remaining=each) for n, each in enumerate(remaining)]
    standing = book(grants=grants)
    before = [getattr(standing, each) for each in (*CREDIT_ACCOUNTS, *MONEY_ACCOUNTS)]
    written = journal(standing)

    claw_back(written, standing, booked_refund(), grants)
    clawed = [(each, number) for each, number in zip(grants, remaining, strict=True) if number]
    reissue(written, standing, booked_refund(), clawed)

    assert [getattr(standing, each) for each in (*CREDIT_ACCOUNTS, *MONEY_ACCOUNTS)] == before
    assert [each.remaining for each in grants] == remaining
