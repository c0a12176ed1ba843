"""The life of a dispute against the Stripe sandbox: whoever holds the money, the books know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import one_row, rows_of
from tests.collecting import (
    PRICE,
    Case,
    assert_books_equal_stripe,
    dies,
    sandbox_window,
)
from tests.sandbox.sandbox_process import DAY
from worker.reconcile import reconcile
from worker.storage import tables

KINDS = ("dispute_opened", "dispute_won", "dispute_lost")
CREATED, CLOSED = "charge.dispute.created", "charge.dispute.closed"
WHO = pytest.mark.parametrize("who", ["webhook", "reconcile"])


@pytest.fixture
def paid(case: Case) -> Case:
    """A customer whose charge was collected."""
    case.collect()
    return case


def learn_of(case: Case, who: str, *kinds: str) -> None:
    if who == "webhook":
        case.hear(*case.events(*kinds))
    else:
        reconcile(sandbox_window(case), case.engine, case.gateway, case.clock)


def dispute_of(case: Case) -> dict[str, Any]:
    return one_row(case.engine, tables.disputes)


@WHO
def test_a_dispute_that_is_opened_takes_the_money(paid: Case, who: str) -> None:
    """lago-api#6444: a dispute was not written down until it was lost."""
    dispute = paid.dispute_at_stripe(reason="product_not_received")

    learn_of(paid, who, CREATED)

    row = dispute_of(paid)
    assert (row["dispute_id"], row["funds"], row["reason"]) == (
        dispute,
        "withdrawn",
        "product_not_received",
    )
    assert paid.standing == {"disputed": PRICE}
    assert paid.charge["status"] == "paid"
    assert_books_equal_stripe(paid)


@WHO
@pytest.mark.parametrize(
    ("evidence", "funds", "standing"),
    [
        ("winning_evidence", "won", {"cash": PRICE}),
        ("losing_evidence", "lost", {"lost": PRICE}),
    ],
)
@pytest.mark.parametrize("heard_of_it", [True, False], ids=["known", "unknown until then"])
def test_the_banks_decision_is_followed(
    paid: Case, who: str, evidence: str, funds: str, standing: dict[str, int], heard_of_it: bool
) -> None:
    dispute = paid.dispute_at_stripe()
    if heard_of_it:
        learn_of(paid, who, CREATED)
    paid.decide_dispute(dispute, evidence)

    learn_of(paid, who, CLOSED)
    learn_of(paid, who, CREATED, CLOSED)

    assert (dispute_of(paid)["funds"], paid.standing) == (funds, standing)
    assert paid.moved(*KINDS) == [("dispute_opened", PRICE), (f"dispute_{funds}", PRICE)]
    assert_books_equal_stripe(paid)


def test_a_dispute_that_nobody_answers_is_lost(paid: Case) -> None:
    paid.dispute_at_stripe()
    learn_of(paid, "webhook", CREATED)

    paid.sandbox.advance(10 * DAY)
    learn_of(paid, "webhook", CLOSED)

    assert paid.standing == {"lost": PRICE}
    assert_books_equal_stripe(paid)


def test_part_of_a_payment_may_be_disputed(paid: Case) -> None:
    paid.dispute_at_stripe(amount=900)

    learn_of(paid, "webhook", CREATED)

    assert paid.standing == {"cash": 2000, "disputed": 900}
    assert_books_equal_stripe(paid)


@WHO
def test_an_inquiry_takes_no_money(paid: Case, who: str) -> None:
    dispute = paid.dispute_at_stripe(inquiry=True)

    learn_of(paid, who, CREATED)

    assert (dispute_of(paid)["funds"], paid.standing) == ("ours", {"cash": PRICE})
    paid.decide_dispute(dispute, "losing_evidence")
    learn_of(paid, who, CLOSED)
    assert (dispute_of(paid)["funds"], paid.standing) == ("ours", {"cash": PRICE})
    assert paid.moved(*KINDS) == []
    assert_books_equal_stripe(paid)


@WHO
def test_an_inquiry_that_becomes_a_dispute_takes_the_money_then(paid: Case, who: str) -> None:
    dispute = paid.dispute_at_stripe(inquiry=True)
    learn_of(paid, who, CREATED)

    paid.decide_dispute(dispute, "escalate_inquiry_evidence")
    learn_of(paid, who, "charge.dispute.funds_withdrawn")

    assert paid.standing == {"disputed": PRICE}
    paid.decide_dispute(dispute, "winning_evidence")
    learn_of(paid, who, CLOSED)
    assert paid.standing == {"cash": PRICE}
    assert paid.moved(*KINDS) == [("dispute_opened", PRICE), ("dispute_won", PRICE)]
    assert_books_equal_stripe(paid)


@pytest.mark.parametrize("card", ["pm_card_createDispute", "pm_card_createDisputeInquiry"])
def test_a_card_that_is_always_disputed_is_followed_from_the_payment_on(
    owing: Callable[..., Case], card: str
) -> None:
    case = owing(card)
    case.collect()

    learn_of(case, "webhook", CREATED)

    money = "cash" if card.endswith("Inquiry") else "disputed"
    assert case.standing == {money: PRICE}
    assert_books_equal_stripe(case)


def test_a_dispute_that_is_heard_of_before_its_payment_brings_the_payment_with_it(
    case: Case,
) -> None:
    dies(case.collect, case, "confirm", heard=True)
    case.dispute_at_stripe()

    (result,) = case.hear(*case.events(CREATED))

    assert result == "disputed money withdrawn"
    assert (case.charge["status"], case.standing) == ("paid", {"disputed": PRICE})
    assert_books_equal_stripe(case)


def test_what_was_refunded_and_what_is_disputed_are_two_things(paid: Case) -> None:
    paid.refund_in_dashboard(1000)
    paid.dispute_at_stripe(amount=1900)

    learn_of(paid, "webhook", CREATED, "refund.created")

    assert paid.standing == {"refunded": 1000, "disputed": 1900}
    assert_books_equal_stripe(paid)


def test_a_dispute_of_a_payment_that_is_not_ours_is_left_alone(paid: Case) -> None:
    client = paid.sandbox.client()
    stranger = client.v1.customers.create({}).id
    card = client.v1.payment_methods.attach("pm_card_createDispute", {"customer": stranger}).id
    intent = client.v1.payment_intents.create(
        {"amount": 700, "currency": "usd", "customer": stranger, "payment_method": card}
    ).id
    client.v1.payment_intents.confirm(intent, {"off_session": True})
    found = client.v1.events.list({"type": CREATED, "limit": 10}).data
    bodies = [each.to_dict() for each in found]
    theirs = [each for each in bodies if each["data"]["object"]["payment_intent"] == intent]

    assert paid.hear(*theirs) == ["no payment of ours"]

    assert rows_of(paid.engine, tables.disputes) == []
    assert_books_equal_stripe(paid)
