"""P4: a charge is paid at most once, and what Stripe took is what the books say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import DAY, reverted, rows_of, settle_events
from tests.collecting import (
    AFTER,
    BEFORE,
    CANCEL,
    CONFIRM,
    CREATE,
    LATER,
    PRICE,
    Case,
    assert_books_equal_stripe,
    dies,
    owing_case,
    sandbox_window,
)
from tests.sandbox import sandbox_process
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Databases, HastyGateway, connected
from worker.billing.answers import Answer
from worker.charges import ChargeProblem, retry_charge
from worker.clock import Clock
from worker.collect import collect
from worker.customers import add_payment_method
from worker.reconcile import reconcile
from worker.refund import request_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.engine import WORKER
from worker.stripe_gateway import StripeGateway
from worker.withdraw import withdraw


class SleepyGateway(StripeGateway):
    """Its process is stopped before one call, for longer than any lease; others go on meanwhile."""

    def __init__(self, case: Case, call: str, meanwhile: Callable[[], object]) -> None:
        super().__init__(case.sandbox.api_key, case.sandbox.url)
        self.call, self.meanwhile = call, meanwhile

    def create_intent(self, parameters: Mapping[str, Any], key: str) -> Answer:
        self.sleep("create")
        return super().create_intent(parameters, key)

    def confirm_intent(self, intent: str, payment_method: str, key: str) -> Answer:
        self.sleep("confirm")
        return super().confirm_intent(intent, payment_method, key)

    def create_refund(self, parameters: Mapping[str, Any], key: str) -> Any:
        self.sleep("refund")
        return super().create_refund(parameters, key)

    def sleep(self, call: str) -> None:
        if call == self.call:
            self.meanwhile()


@pytest.mark.parametrize("call", ["create", "confirm"])
@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeCustomerFail"])
def test_a_collector_that_was_stopped_for_longer_than_its_lease_charges_nothing_more(
    owing: Callable[..., Case], call: str, card: str
) -> None:
    case = owing(card)

    case.collect(SleepyGateway(case, call, case.collect))

    case.collect()
    case.hear(*case.events())
    assert len(case.paid_at_stripe()) == (card == "pm_card_visa")
    assert_books_equal_stripe(case)


def test_a_collector_that_was_stopped_does_not_charge_for_what_was_withdrawn_meanwhile(
    owing: Callable[..., Case],
) -> None:
    case = owing(fixes=2)

    def meanwhile() -> None:
        settle_events(case.engine, reverted("fix-2"))
        case.withdraw()
        case.replacement().collect()

    case.collect(SleepyGateway(case, "create", meanwhile))

    assert case.paid_at_stripe() == [PRICE]
    assert_books_equal_stripe(case)


def test_a_refunder_that_was_stopped_returns_nothing_more(case: Case) -> None:
    case.collect()
    key = request_refund(case.key, case.engine, case.clock, amount=1000)

    case.refund(key, SleepyGateway(case, "refund", lambda: case.refund(key)))

    assert case.returned_at_stripe() == [1000]
    assert_books_equal_stripe(case)


# One charge of two fixes, and whatever may happen to it, in any order.

FAULTS = st.sampled_from([*AFTER, *BEFORE, *LATER])
PLACES = st.sampled_from([CREATE, CONFIRM, CANCEL])
DEATHS = st.tuples(st.sampled_from(["create", "confirm", "cancel", "retrieve"]), st.booleans())
STEPS = st.one_of(
    st.just(("collect",)),
    st.just(("withdraw",)),
    st.tuples(st.just("fault"), FAULTS, PLACES),
    st.tuples(st.just("die"), DEATHS),
    st.just(("forget keys",)),
    st.just(("hear",)),
    st.just(("revert",)),
    st.just(("new card",)),
    st.just(("retry",)),
    st.just(("a day passes",)),
)
CARDS = st.sampled_from(
    [
        "pm_card_visa",
        "pm_card_chargeCustomerFail",
        "pm_card_authenticationRequired",
        "pm_card_sandbox_processing",
        "pm_card_visa_chargeCustomerFailLostCard",
    ]
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(card=CARDS, steps=st.lists(STEPS, max_size=12))
def test_whatever_happens_each_charge_is_paid_at_most_once_and_in_the_end_all_is_paid(
    databases: Databases,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    clock: Clock,
    card: str,
    steps: list[tuple[Any, ...]],
) -> None:
    sandbox.ask("DELETE", "faults")
    with databases.fresh() as database, connected(database.worker_url, WORKER) as engine:
        case = owing_case(engine, sandbox, stripe, clock, card, fixes=2)
        days = 0
        for step, *details in steps:
            days += step == "a day passes"
            take(case, step, details, days * DAY)
            assert_no_charge_was_paid_twice(case)
        finish(case, days * DAY)
        assert_no_charge_was_paid_twice(case)
        assert case.book["receivable"] == 0
        assert_books_equal_stripe(case)


def take(case: Case, step: str, details: list[Any], after: timedelta) -> None:
    hasty = HastyGateway(case.sandbox, 0.3)
    if step == "collect":
        sweep(case, hasty, after)
    elif step == "withdraw":
        sweep_withdrawals(case, hasty)
    elif step == "fault":
        case.sandbox.fault(details[0], "POST", details[1], seconds=60)
    elif step == "die":
        call, heard = details[0]
        dies(lambda gateway: sweep(case, gateway, after), case, call, heard=heard)
        dies(lambda gateway: sweep_withdrawals(case, gateway), case, call, heard=heard)
    elif step == "forget keys":
        case.sandbox.ask("POST", "forget_keys")
    elif step == "hear":
        case.hear(*case.events())
    elif step == "revert":
        settle_events(case.engine, reverted("fix-2"))
    elif step == "new card":
        add_payment_method("acme", "pm_card_visa", case.engine, case.gateway, case.later(after))
    elif step == "retry":
        retry(case, hasty, after)


def live(case: Case) -> list[Case]:
    """The customer's charges that are neither paid nor void."""
    rows = rows_of(case.engine, tables.charges)
    return [
        replace(case, key=ChargeKey(row["customer_id"], row["charge_id"]))
        for row in rows
        if row["status"] not in ("paid", "void")
    ]


def sweep(case: Case, gateway: StripeGateway, after: timedelta) -> None:
    for each in live(case):
        if each.is_due(after):
            collect(each.key, each.engine, gateway, each.later(after))


def sweep_withdrawals(case: Case, gateway: StripeGateway) -> None:
    for each in live(case):
        if each.charge["status"] == "withdrawing":
            withdraw(each.key, each.engine, gateway, each.clock)


def retry(case: Case, gateway: StripeGateway, after: timedelta) -> None:
    """An operator asks for one attempt more, and makes it."""
    for each in live(case):
        with suppress(ChargeProblem):
            retry_charge(each.key, each.engine, each.later(after))
            collect(each.key, each.engine, gateway, each.later(after))


def finish(case: Case, after: timedelta) -> None:
    """The faults are over, time goes by, and the customer has a good card."""
    case.sandbox.ask("DELETE", "faults")
    for day in range(4, 40, 4):
        later = after + day * DAY
        case.sandbox.advance(4 * sandbox_process.DAY)
        sweep_withdrawals(case, case.gateway)
        sweep(case, case.gateway, later)
        if day == 12:
            add_payment_method("acme", "pm_card_visa", case.engine, case.gateway, case.later(later))
        if day == 20:
            retry(case, case.gateway, later)
    case.hear(*case.events())
    reconcile(sandbox_window(case), case.engine, case.gateway, case.clock)


def assert_no_charge_was_paid_twice(case: Case) -> None:
    taken = case.sandbox.payments(customer=case.stripe_customer, status="succeeded")
    charges = [each["metadata"]["charge_id"] for each in taken]
    assert len(charges) == len(set(charges))
