"""Deaths and faults at every step of collecting, withdrawing and refunding: all is made good.

Each test begins with the number of its row in the fault matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.builders import reverted, settle_events
from tests.collecting import (
    AFTER,
    BEFORE,
    CANCEL,
    LATER,
    PRICE,
    REFUND,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
    hasty_gateway,
    paid_in_the_end,
)
from worker.billing.charges import ChargeStatus
from worker.billing.refunds import RefundStatus
from worker.refund import request_refund

S = ChargeStatus


@pytest.mark.every(2)
@pytest.mark.parametrize("keys", ["kept", "forgotten"])
@pytest.mark.parametrize("again", [None, "retrieve", "create", "confirm"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", ["create", "confirm"])
def test_f63_a_death_while_collecting_is_made_good(
    case: Case, call: str, heard: bool, again: str | None, keys: str
) -> None:
    dies(case.collect, case, call, heard=heard)
    if again is not None:
        dies(case.collect, case, again, heard=heard)
    if keys == "forgotten":
        case.sandbox.ask("POST", "forget_keys")

    paid_in_the_end(case)

    assert case.intents() == 1
    assert case.asked_of_the_bank() == 1


DEATHS = [("create", False), ("create", True), ("confirm", False)]
WITHDRAWALS = [(None, False), ("retrieve", True), ("cancel", False), ("cancel", True)]


@pytest.mark.parametrize(("again", "heard"), WITHDRAWALS)
@pytest.mark.parametrize("first", DEATHS, ids=str)
def test_f63_a_death_while_withdrawing_is_made_good(
    owing: Callable[..., Case], first: tuple[str, bool], again: str | None, heard: bool
) -> None:
    case = owing(fixes=2)
    dies(case.collect, case, first[0], heard=first[1])
    settle_events(case.engine, reverted("fix-2"))
    if again is not None:
        dies(case.withdraw, case, again, heard=heard)

    assert case.withdraw() is S.VOID or case.charge["status"] == "void"

    rest = case.replacement()
    assert rest.collect() is S.PAID
    assert_paid_once(rest)


@pytest.mark.every(2)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
def test_f63_whatever_goes_wrong_with_a_cancellation_the_rest_is_paid_once(
    owing: Callable[..., Case], fault: str
) -> None:
    case = owing(fixes=2)
    dies(case.collect, case, "confirm", heard=False)
    settle_events(case.engine, reverted("fix-2"))
    case.sandbox.fault(fault, "POST", CANCEL, seconds=60)

    assert case.withdraw(hasty_gateway(case, fault)) is S.WITHDRAWING

    assert case.withdraw() is S.VOID
    rest = case.replacement()
    assert rest.collect() is S.PAID
    assert_paid_once(rest)


def test_f63_a_charge_that_was_paid_before_it_could_be_withdrawn_leaves_a_surplus(
    owing: Callable[..., Case],
) -> None:
    case = owing(fixes=2)
    dies(case.collect, case, "confirm", heard=True)
    settle_events(case.engine, reverted("fix-2"))

    assert case.withdraw() is S.PAID

    assert case.standing == {"cash": 2 * PRICE, "unapplied": -PRICE}
    assert case.paid_at_stripe() == [2 * PRICE]
    assert_books_equal_stripe(case)


@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("keys", ["kept", "forgotten"])
def test_f63_a_death_while_refunding_is_made_good(case: Case, heard: bool, keys: str) -> None:
    case.collect()
    key = request_refund(case.key, case.engine, case.clock, amount=1000)
    dies(lambda gateway: case.refund(key, gateway), case, "refund", heard=heard)
    if keys == "forgotten":
        case.sandbox.ask("POST", "forget_keys")

    assert case.refund(key) is RefundStatus.SUCCEEDED

    assert case.returned_at_stripe() == [1000]
    assert_books_equal_stripe(case)


@pytest.mark.every(2)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
def test_f63_whatever_goes_wrong_with_a_refund_the_money_goes_back_once(
    case: Case, fault: str
) -> None:
    case.collect()
    key = request_refund(case.key, case.engine, case.clock, amount=1000)
    case.sandbox.fault(fault, "POST", REFUND, seconds=60)

    assert case.refund(key, hasty_gateway(case, fault)) is RefundStatus.REQUESTED

    assert case.refund(key) is RefundStatus.SUCCEEDED
    assert case.refund(key) is RefundStatus.SUCCEEDED
    assert case.returned_at_stripe() == [1000]
    assert_books_equal_stripe(case)
