"""What pays for a fix: credits before money, and when neither does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import DAY, HOUR, NOW, book, fix, grant, usd
from worker.billing.decide import decide_backlog, decide_payment
from worker.billing.grants import Grant, order_of_use
from worker.billing.outcome import Charged, Credited, Held

EXPIRED = grant(grant_id="expired", expires_at=NOW)
USED_UP = grant(grant_id="used-up", remaining=0)
NO_PRICE = "no credit left, and the plan has no price per fix"


@pytest.mark.parametrize(
    ("plan", "price"), [("payg", usd(29)), ("pro", usd(15))], ids=["payg", "pro"]
)
def test_without_a_credit_the_price_of_the_plan_is_charged(plan: str, price: object) -> None:
    standing = book(plan)

    payment = decide_payment(standing, NOW)

    assert payment == Charged(price)  # type: ignore[arg-type]


@pytest.mark.parametrize("plan", ["trial", "payg", "pro"])
@pytest.mark.parametrize(
    "standing",
    [{}, {"past_due": True}, {"has_payment_method": False}, {"spending_cap": 0}],
    ids=["in good standing", "past due", "without a card", "with a cap of nothing"],
)
def test_a_credit_that_is_there_is_used_whatever_else(plan: str, standing: dict[str, Any]) -> None:
    given = grant()

    payment = decide_payment(book(plan, grants=[given], **standing), NOW)

    assert payment == Credited(given)


def test_one_fix_costs_one_credit_on_every_plan() -> None:
    given = [grant(3)]

    payments = [decide_payment(book(plan, grants=given), NOW) for plan in ("trial", "payg", "pro")]

    assert payments == [Credited(given[0])] * 3


@pytest.mark.parametrize(
    "unusable",
    [[EXPIRED], [USED_UP], [EXPIRED, USED_UP]],
    ids=["expired this moment", "used up", "both"],
)
def test_a_credit_that_is_gone_pays_nothing(unusable: list[Grant]) -> None:
    standing = book(grants=unusable)

    payment = decide_payment(standing, NOW)

    assert payment == Charged(usd(29))


def test_a_grant_is_good_until_the_moment_it_expires() -> None:
    last = grant(expires_at=NOW)

    just_before = decide_payment(book(grants=[last]), NOW - timedelta(microseconds=1))

    assert just_before == Credited(last)


HELD: list[tuple[str, dict[str, Any], str]] = [
    ("trial", {"plan": "trial"}, NO_PRICE),
    ("trial past due", {"plan": "trial", "past_due": True}, NO_PRICE),
    ("trial without a card", {"plan": "trial", "has_payment_method": False}, NO_PRICE),
    ("no card", {"has_payment_method": False}, "no payment method"),
    ("no card and past due", {"has_payment_method": False, "past_due": True}, "no payment method"),
    ("past due", {"past_due": True}, "past due"),
    ("past due within the cap", {"past_due": True, "spending_cap": 10_000}, "past due"),
    ("cap below one fix", {"spending_cap": 2899}, "spending cap reached"),
    ("cap of nothing", {"spending_cap": 0}, "spending cap reached"),
    (
        "cap used",
        {"spending_cap": 5799, "spent": 2900},
        "spending cap reached",
    ),
]


@pytest.mark.parametrize(
    ("standing", "why"), [case[1:] for case in HELD], ids=[case[0] for case in HELD]
)
def test_a_fix_that_nothing_may_pay_is_held_and_says_why(
    standing: dict[str, Any], why: str
) -> None:
    unpaid = book(**standing)

    payment = decide_payment(unpaid, NOW)

    assert payment == Held(why)


@pytest.mark.parametrize(
    "room",
    [
        {"spending_cap": 2900},
        {"spending_cap": 5800, "spent": 2900},
        {"spending_cap": None, "spent": 10**9},
    ],
    ids=["just enough", "the last of it", "no cap"],
)
def test_the_spending_cap_may_be_used_up_to_the_cent(room: dict[str, Any]) -> None:
    standing = book(**room)

    payment = decide_payment(standing, NOW)

    assert payment == Charged(usd(29))


def test_a_new_fix_waits_behind_the_part_of_the_backlog_that_was_not_read() -> None:
    standing = book(grants=[grant(9)], held=1)

    payment = decide_payment(standing, NOW)

    assert payment == Held("behind older held fixes")


ORDER = [
    (
        "what was given before what was bought",
        [
            grant(grant_id="operator", source="operator"),
            grant(grant_id="revert", source="revert"),
            grant(grant_id="included", source="included"),
            grant(grant_id="signup", source="signup"),
        ],
        ["signup", "included", "revert", "operator"],
    ),
    (
        "priority before expiry",
        [
            grant(grant_id="soon", source="operator", expires_at=NOW + HOUR),
            grant(grant_id="never", source="signup"),
        ],
        ["never", "soon"],
    ),
    (
        "the soonest expiry",
        [
            grant(grant_id="never"),
            grant(grant_id="later", expires_at=NOW + DAY),
            grant(grant_id="soon", expires_at=NOW + HOUR),
        ],
        ["soon", "later", "never"],
    ),
    (
        "the oldest",
        [
            grant(grant_id="young", recorded_at=NOW - HOUR),
            grant(grant_id="old", recorded_at=NOW - DAY),
        ],
        ["old", "young"],
    ),
    (
        "by name, where nothing else differs",
        [grant(grant_id="b"), grant(grant_id="a")],
        ["a", "b"],
    ),
]


@pytest.mark.parametrize(
    ("given", "expected"), [case[1:] for case in ORDER], ids=[case[0] for case in ORDER]
)
def test_grants_are_used_in_their_order(given: list[Grant], expected: list[str]) -> None:
    unsorted = list(given)

    in_order = sorted(unsorted, key=order_of_use)

    assert [each.grant_id for each in in_order] == expected


def test_the_first_usable_grant_pays_and_unusable_ones_are_passed_over() -> None:
    usable = grant(grant_id="usable")

    payment = decide_payment(book(grants=[EXPIRED, USED_UP, usable, grant()]), NOW)

    assert payment == Credited(usable)


UNASKED = Held("waits for a credit, a spending cap, or for the backlog to be accepted")
BACKLOG: list[tuple[str, dict[str, Any], object]] = [
    ("money without a word", {}, UNASKED),
    ("accepted", {"accepted_held_until": NOW}, Charged(usd(29))),
    ("accepted at that very moment", {"accepted_held_until": NOW - HOUR}, Charged(usd(29))),
    (
        "accepted before it came",
        {"accepted_held_until": NOW - HOUR - timedelta(seconds=1)},
        UNASKED,
    ),
    ("within the cap", {"spending_cap": 2900}, Charged(usd(29))),
    ("above the cap", {"spending_cap": 2899}, Held("spending cap reached")),
    (
        "accepted, above the cap",
        {"spending_cap": 0, "accepted_held_until": NOW},
        Held("spending cap reached"),
    ),
    ("accepted, past due", {"past_due": True, "accepted_held_until": NOW}, Held("past due")),
    (
        "accepted, without a card",
        {"has_payment_method": False, "accepted_held_until": NOW},
        Held("no payment method"),
    ),
    ("accepted, on trial", {"plan": "trial", "accepted_held_until": NOW}, Held(NO_PRICE)),
]


@pytest.mark.parametrize(
    ("standing", "expected"), [case[1:] for case in BACKLOG], ids=[case[0] for case in BACKLOG]
)
def test_a_held_fix_becomes_money_only_where_the_customer_agreed(
    standing: dict[str, Any], expected: object
) -> None:
    held = fix(recorded_at=NOW - HOUR)

    payment = decide_backlog(book(**standing), held, NOW)

    assert payment == expected


@pytest.mark.parametrize(
    "standing",
    [{}, {"past_due": True}, {"has_payment_method": False}, {"plan": "trial"}],
    ids=["in good standing", "past due", "without a card", "on trial"],
)
def test_a_held_fix_takes_a_credit_by_itself(standing: dict[str, Any]) -> None:
    given = grant()

    payment = decide_backlog(book(grants=[given], **standing), fix(), NOW)

    assert payment == Credited(given)


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ({"held": 1}, False),
        ({"held": 1, "grants": [grant()]}, True),
        ({"held": 1, "spending_cap": 5000}, True),
        ({"held": 1, "accepted_held_until": NOW}, True),
        ({"held": 1, "accepted_held_until": NOW, "past_due": True}, False),
        ({"held": 1, "spending_cap": 5000, "has_payment_method": False}, False),
        ({"held": 1, "spending_cap": 5000, "plan": "trial"}, False),
    ],
    ids=[
        "nobody agreed",
        "a credit",
        "a cap",
        "accepted",
        "past due",
        "no card",
        "no price",
    ],
)
def test_a_backlog_may_settle_by_a_credit_or_by_agreed_money(
    standing: dict[str, Any], expected: bool
) -> None:
    waiting = book(**standing)

    may = waiting.backlog_may_settle()

    assert may is expected
