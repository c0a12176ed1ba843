"""A fix that was paid for in money is taken back: a credit for it, unless the money is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from tests.builders import (
    NOW,
    add_customer,
    deployed,
    one_row,
    outcomes,
    owe,
    reverted,
    rows_of,
    settle_events,
    usd,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.refunds import RefundStatus
from worker.billing.stripe_objects import StripeRefund
from worker.charges import write_off_charge
from worker.clock import Clock
from worker.collect import freeze, record
from worker.refund import record_refund, request_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.refunds import Payer, RefundKey, read_refund
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import verify

R = RefundStatus


@pytest.fixture
def key(engine: Engine) -> ChargeKey:
    """acme owes for two fixes, on one charge."""
    add_customer(engine)
    settle_events(engine, deployed("fix-1"))
    return owe(engine, fix_id="fix-2")


@pytest.fixture
def paid(key: ChargeKey, engine: Engine, clock: Clock) -> ChargeKey:
    """acme has paid for them."""
    freeze(key, engine, StripeGateway("sk_test_nobody"), clock)
    record(key, Answer(AnswerKind.SUCCEEDED, "pi_1", usd(58), "cus_acme"), engine, clock)
    return key


def request(paid: ChargeKey, engine: Engine, clock: Clock) -> RefundKey:
    """An operator gives back what fix-1 cost."""
    return request_refund(paid, engine, clock, fix_id="fix-1")


def follow(
    wanted: RefundKey, dollars: int, status: str, engine: Engine, clock: Clock, stripe: str = "re_1"
) -> None:
    """Stripe says so of it."""
    with engine.begin() as tx:
        asked = read_refund(tx, wanted)
    seen = StripeRefund(stripe, "pi_1", usd(dollars), status, wanted.refund_id, None, NOW)
    record_refund(Payer(asked.customer_id, asked.charge_id), asked, seen, engine, clock)


def refuse(wanted: RefundKey, kind: AnswerKind, engine: Engine, clock: Clock) -> None:
    with engine.begin() as tx:
        asked = read_refund(tx, wanted)
    answer = Answer(kind, code="charge_disputed")
    record_refund(Payer(asked.customer_id, asked.charge_id), asked, answer, engine, clock)


def asked_for(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    request(paid, engine, clock)


def on_its_way(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    follow(request(paid, engine, clock), 29, "pending", engine, clock)


def given_back(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    follow(request(paid, engine, clock), 29, "succeeded", engine, clock)


def given_back_whole(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    follow(request_refund(paid, engine, clock), 58, "succeeded", engine, clock)


def given_back_in_two_parts(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    for number, dollars in enumerate((20, 38)):
        wanted = request_refund(paid, engine, clock, amount=dollars * 100)
        follow(wanted, dollars, "succeeded", engine, clock, f"re_{number}")


def failed_and_given_back(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    follow(request(paid, engine, clock), 29, "failed", engine, clock, "re_0")
    given_back(paid, engine, clock)


def nothing(*_: object) -> None:
    """Nobody has given anything back."""


def failed(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    follow(request(paid, engine, clock), 29, "failed", engine, clock)


def failed_later(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    wanted = request_refund(paid, engine, clock)
    for status in ("succeeded", "failed"):
        follow(wanted, 58, status, engine, clock)


def refused(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    refuse(request(paid, engine, clock), AnswerKind.DECLINED, engine, clock)


def given_back_in_part(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    wanted = request_refund(paid, engine, clock, amount=1000)
    follow(wanted, 10, "succeeded", engine, clock)


def given_back_for_the_other(paid: ChargeKey, engine: Engine, clock: Clock) -> None:
    wanted = request_refund(paid, engine, clock, fix_id="fix-2")
    follow(wanted, 29, "succeeded", engine, clock)


Deed = Callable[[ChargeKey, Engine, Clock], None]
GONE = [
    asked_for,
    on_its_way,
    given_back,
    given_back_whole,
    given_back_in_two_parts,
    failed_and_given_back,
]
STILL_OURS = [
    nothing,
    failed,
    failed_later,
    refused,
    given_back_in_part,
    given_back_for_the_other,
]


def grants(engine: Engine) -> list[str]:
    return [row["grant_id"] for row in rows_of(engine, tables.grants)]


def assert_books_hold(engine: Engine) -> None:
    assert [each for each in verify(engine, None) if not each.ok] == []


@pytest.mark.parametrize("deed", GONE, ids=lambda each: each.__name__)
def test_for_money_that_went_back_to_the_card_there_is_no_credit(
    engine: Engine, clock: Clock, paid: ChargeKey, deed: Deed
) -> None:
    deed(paid, engine, clock)

    settle_events(engine, reverted("fix-1"))

    assert outcomes(engine) == {"fix-1": "reverted", "fix-2": "charged"}
    assert grants(engine) == []
    assert_books_hold(engine)


@pytest.mark.parametrize("deed", STILL_OURS, ids=lambda each: each.__name__)
def test_for_money_that_is_still_ours_there_is_a_credit(
    engine: Engine, clock: Clock, paid: ChargeKey, deed: Deed
) -> None:
    deed(paid, engine, clock)

    settle_events(engine, reverted("fix-1"))

    assert grants(engine) == ["revert:fix-1"]
    assert one_row(engine, tables.books)["credits"] == 1
    assert_books_hold(engine)


def test_for_what_was_written_off_there_is_no_credit(
    engine: Engine, clock: Clock, key: ChargeKey
) -> None:
    write_off_charge(key, engine, clock)

    settle_events(engine, reverted("fix-1"))

    assert outcomes(engine) == {"fix-1": "reverted", "fix-2": "charged"}
    book = one_row(engine, tables.books)
    assert (book["receivable"], book["written_off"], book["credits"]) == (0, 5800, 0)
    assert_books_hold(engine)


def test_money_and_credit_for_one_fix_are_never_both_given(
    engine: Engine, clock: Clock, paid: ChargeKey
) -> None:
    settle_events(engine, reverted("fix-1"))

    given_back(paid, engine, clock)

    book = one_row(engine, tables.books)
    assert (book["credits"], book["refunded"]) == (0, 2900)
    assert_books_hold(engine)


def test_a_refund_that_fails_after_the_revert_leaves_a_credit(
    paid: ChargeKey, engine: Engine, clock: Clock
) -> None:
    wanted = request(paid, engine, clock)
    follow(wanted, 29, "pending", engine, clock)
    settle_events(engine, reverted("fix-1"))

    follow(wanted, 29, "failed", engine, clock)

    assert grants(engine) == ["revert:fix-1"]


def test_a_refund_that_is_refused_after_the_revert_leaves_a_credit(
    paid: ChargeKey, engine: Engine, clock: Clock
) -> None:
    wanted = request(paid, engine, clock)
    settle_events(engine, reverted("fix-1"))

    refuse(wanted, AnswerKind.DECLINED, engine, clock)

    assert grants(engine) == ["revert:fix-1"]
