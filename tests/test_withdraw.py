"""The life of a charge whose debt has changed: nothing is asked for twice, nothing is forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.builders import DAY, deployed, outcomes, reverted, rows_of, settle_events
from tests.collecting import (
    CANCEL,
    PRICE,
    RETRIEVE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
)
from tests.sandbox import sandbox_process
from tests.stack import HastyGateway
from worker.billing.charges import ChargeStatus
from worker.charges import write_off_charge
from worker.storage import tables

S = ChargeStatus
DECLINES = "pm_card_chargeCustomerFail"


@pytest.fixture
def two(owing: Callable[..., Case]) -> Callable[..., Case]:
    """A customer who owes for two fixes on one charge."""

    def with_card(card: str = "pm_card_visa") -> Case:
        return owing(card, fixes=2)

    return with_card


def begin(case: Case, step: str = "confirm") -> None:
    """The collector dies before this step."""
    dies(case.collect, case, step, heard=False)


def intent_status(case: Case) -> str:
    return str(case.sandbox.client().v1.payment_intents.retrieve(case.intent).status)


def test_a_reverted_fix_of_a_charge_in_flight_is_not_paid_for(two: Callable[..., Case]) -> None:
    case = two()
    begin(case)

    settle_events(case.engine, reverted("fix-2"))

    assert (case.charge["status"], case.charge["dropped"]) == ("withdrawing", PRICE)
    assert outcomes(case.engine) == {"fix-1": "charged", "fix-2": "reverted"}
    assert case.standing == {"receivable": PRICE}
    assert case.collect() is None
    assert case.withdraw() is S.VOID
    assert intent_status(case) == "canceled"
    rest = case.replacement()
    assert rest.collect() is S.PAID
    assert_paid_once(rest)


def test_an_intent_that_was_never_made_needs_no_cancelling(two: Callable[..., Case]) -> None:
    case = two()
    begin(case, "create")
    settle_events(case.engine, reverted("fix-2"))

    assert case.withdraw() is S.VOID

    assert case.intents() == 0
    assert case.replacement().collect() is S.PAID
    assert case.intents() == 1
    assert_books_equal_stripe(case)


def test_a_charge_of_which_nothing_is_left_is_cancelled_and_replaced_by_none(
    two: Callable[..., Case],
) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-1"), reverted("fix-2"))

    assert case.withdraw() is S.VOID

    assert case.standing == {}
    assert [row["status"] for row in rows_of(case.engine, tables.charges)] == ["void"]
    assert (intent_status(case), case.paid_at_stripe()) == ("canceled", [])
    assert_books_equal_stripe(case)


def test_the_rest_keeps_its_place_in_the_schedule(two: Callable[..., Case]) -> None:
    case = two(DECLINES)
    assert case.collect() is S.DECLINED
    declined = case.charge

    settle_events(case.engine, reverted("fix-2"))
    assert case.withdraw() is S.VOID

    rest = case.replacement()
    kept = ("tries", "declined_at", "due_at")
    assert [rest.charge[name] for name in kept] == [declined[name] for name in kept]
    assert not rest.is_due(DAY / 2)
    for day in range(1, 30):
        rest.collect(after=day * DAY)
    assert case.asked_of_the_bank() == 5
    assert_books_equal_stripe(case)


def test_new_fixes_go_with_the_rest(two: Callable[..., Case]) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-2"))
    settle_events(case.engine, deployed("fix-3"))
    case.withdraw()

    rest = case.replacement()
    assert rest.collect() is S.PAID
    assert_paid_once(rest, 2 * PRICE)


def test_a_customer_who_must_authenticate_is_asked_for_the_rest_only(
    two: Callable[..., Case],
) -> None:
    case = two("pm_card_authenticationRequired")
    assert case.collect() is S.ACTION_REQUIRED

    settle_events(case.engine, reverted("fix-2"))

    assert case.withdraw() is S.VOID
    assert intent_status(case) == "canceled"
    assert case.replacement().charge["amount"] == PRICE
    assert_books_equal_stripe(case)


@pytest.mark.parametrize(
    ("card", "ends"),
    [("pm_card_sandbox_processing", "paid"), ("pm_card_sandbox_processingFails", "void")],
)
def test_a_payment_that_the_bank_still_thinks_about_is_waited_for(
    two: Callable[..., Case], card: str, ends: str
) -> None:
    case = two(card)
    case.collect()
    settle_events(case.engine, reverted("fix-2"))

    assert case.withdraw() is S.WITHDRAWING

    case.sandbox.advance(4 * sandbox_process.DAY)
    case.withdraw()
    assert case.charge["status"] == ends
    if ends == "paid":
        assert case.standing == {"cash": 2 * PRICE, "unapplied": -PRICE}
    else:
        assert case.replacement().charge["amount"] == PRICE
    assert_books_equal_stripe(case)


def test_a_surplus_pays_the_next_charge_before_the_card_does(two: Callable[..., Case]) -> None:
    case = two()
    dies(case.collect, case, "confirm", heard=True)
    settle_events(case.engine, reverted("fix-2"))
    assert case.withdraw() is S.PAID
    settle_events(case.engine, deployed("fix-3"))
    case.replacement().collect()

    assert case.paid_at_stripe() == [2 * PRICE]
    assert case.standing == {"cash": 2 * PRICE}
    assert_books_equal_stripe(case)


def test_an_intent_that_was_cancelled_in_the_dashboard_is_as_good(two: Callable[..., Case]) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-2"))
    case.sandbox.client().v1.payment_intents.cancel(case.intent)

    assert case.withdraw() is S.VOID

    assert case.replacement().collect() is S.PAID
    assert_books_equal_stripe(case)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", RETRIEVE), ("POST", CANCEL)], ids=["retrieve", "cancel"]
)
def test_without_stripes_word_nothing_takes_its_place(
    two: Callable[..., Case], method: str, path: str
) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-2"))
    case.sandbox.fault("http_500_before", method, path, times=3)

    statuses = [case.withdraw(HastyGateway(case.sandbox)) for _ in range(3)]

    assert statuses == [S.WITHDRAWING] * 3
    assert len(rows_of(case.engine, tables.charges)) == 1
    assert case.charge["waits"] == 3
    assert case.withdraw() is S.VOID
    assert_books_equal_stripe(case)


def test_a_cancellation_that_stripe_forbids_is_parked(two: Callable[..., Case]) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-2"))
    case.sandbox.fault("http_403", "POST", CANCEL)

    assert case.withdraw() is S.PARKED

    assert_books_equal_stripe(case)


def test_withdrawing_again_changes_nothing(two: Callable[..., Case]) -> None:
    case = two()
    begin(case)
    settle_events(case.engine, reverted("fix-2"))
    case.withdraw()
    before = rows_of(case.engine, tables.charges)

    assert case.withdraw() is S.VOID

    assert rows_of(case.engine, tables.charges) == before
    assert_books_equal_stripe(case)


def test_a_written_off_charge_in_flight_is_cancelled_before_its_debt_is_given_up(
    two: Callable[..., Case],
) -> None:
    case = two(DECLINES)
    case.collect()

    assert write_off_charge(case.key, case.engine, case.clock) is S.WITHDRAWING

    assert case.standing == {"receivable": 2 * PRICE}
    assert case.withdraw() is S.VOID
    assert case.standing == {"written_off": 2 * PRICE}
    assert intent_status(case) == "canceled"
    assert_books_equal_stripe(case)
