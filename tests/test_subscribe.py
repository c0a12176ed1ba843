"""A subscription is begun, continued and ended at Stripe once, whatever goes wrong on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.builders import (
    DAY,
    HOUR,
    deployed,
    entry,
    outcomes,
    rows_of,
    settle_entries,
    settle_events,
)
from tests.collecting import AFTER, BEFORE, LATER
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from tests.subscribing import (
    AUTHENTICATES,
    BOOKED,
    DECLINES,
    MONTHLY,
    Member,
    assert_never_charged,
    assert_subscribed_once,
    dies,
    joined,
)
from worker.billing.orders import OrderStatus, PlanProblem
from worker.billing.stripe_objects import StripeSubscription
from worker.customers import CustomerProblem, lose_payment_method
from worker.leave import cancel_customer
from worker.storage import tables
from worker.stripe_gateway import StripeGateway

S = OrderStatus

CALLS = {
    "the price": ("GET", "/v1/prices"),
    "the subscription": ("POST", "/v1/subscriptions"),
    "the payment": ("POST", "/v1/invoices/*/pay"),
    "a look at the subscription": ("GET", "/v1/subscriptions/*"),
    "a look at the invoice": ("GET", "/v1/invoices/*"),
}


@pytest.fixture
def joining(
    engine: Engine, redis: Redis, sandbox: RunningSandbox, stripe: StripeGateway
) -> Callable[..., Member]:
    return partial(joined, engine, redis, sandbox, stripe)


@pytest.fixture
def member(joining: Callable[..., Member]) -> Member:
    return joining()


@pytest.fixture
def subscriber(member: Member) -> Member:
    member.set_plan("pro")
    assert_subscribed_once(member)
    return member


def hasty(member: Member, fault: str) -> HastyGateway:
    """Where the fault is silence, waits only as long as a busy machine may take."""
    return HastyGateway(member.sandbox, 1.0 if fault.startswith("timeout") else 5.0)


# Beginning.


def test_a_subscription_is_paid_booked_and_brings_its_credits(member: Member) -> None:
    start = member.book["cycle_start"]

    order = member.set_plan("pro")

    assert order is not None
    assert (order.status, order.due_at, order.leased_until) == (S.DONE, None, None)
    assert_subscribed_once(member)
    first, second = rows_of(member.engine, tables.cycles)
    assert (first["starts_at"], first["status"]) == (start, "closing")
    assert first["ends_at"] == second["starts_at"] == member.book["cycle_start"]
    assert second["ends_at"] == member.book["paid_until"] == member.book["cycle_end"]


@pytest.mark.every(5)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
@pytest.mark.parametrize("call", CALLS)
def test_whatever_goes_wrong_at_one_call_the_month_is_paid_once(
    member: Member, call: str, fault: str
) -> None:
    member.sandbox.fault(fault, *CALLS[call], seconds=60)

    order = member.set_plan("pro", hasty(member, fault))
    swept = member.sweep_orders()

    assert order is not None
    assert order.status is S.REQUESTED
    assert swept == [S.DONE]
    assert_subscribed_once(member)


STEPS = ["create", "pay", "subscription", "invoice"]


@pytest.mark.every(3)
@pytest.mark.parametrize("keys", ["kept", "forgotten"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", STEPS)
def test_the_sweep_finishes_what_a_death_left_and_nothing_is_paid_twice(
    member: Member, call: str, heard: bool, keys: str
) -> None:
    dies(partial(member.set_plan, "pro"), member, call, heard)
    if keys == "forgotten":
        member.sandbox.ask("POST", "forget_keys")

    swept = member.sweep_orders()

    assert swept == [S.DONE]
    assert_subscribed_once(member)


@pytest.mark.every(3)
@pytest.mark.parametrize("again", STEPS)
@pytest.mark.parametrize("call", STEPS)
def test_a_second_death_changes_nothing(member: Member, call: str, again: str) -> None:
    dies(partial(member.set_plan, "pro"), member, call, heard=True)
    dies(member.sweep_orders, member, again, heard=True)

    member.sweep_orders()

    assert_subscribed_once(member)


def test_webhooks_between_a_death_and_the_sweep_book_it_and_the_sweep_pays_no_second_time(
    member: Member,
) -> None:
    dies(partial(member.set_plan, "pro"), member, "pay", heard=True)
    member.hear()

    member.sweep_orders()

    assert_subscribed_once(member)


def test_an_operator_who_types_it_again_after_a_death_pays_no_second_month(
    member: Member,
) -> None:
    dies(partial(member.set_plan, "pro"), member, "pay", heard=True)

    tried(member, member.gateway)
    member.sweep_orders()

    assert_subscribed_once(member)


def test_a_month_that_is_paid_is_not_asked_for_again(subscriber: Member) -> None:
    order = subscriber.set_plan("pro")

    assert order is None
    assert subscriber.sweep_orders() == []
    assert_subscribed_once(subscriber)


class Meeting(StripeGateway):
    """Those who make a subscription wait for each other, as long as it may take."""

    def __init__(self, sandbox: RunningSandbox, barrier: threading.Barrier) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.barrier = barrier

    def create_subscription(self, parameters: Mapping[str, Any], key: str) -> StripeSubscription:
        with suppress(threading.BrokenBarrierError):  # the other may be kept from coming here
            self.barrier.wait(5)
        return super().create_subscription(parameters, key)


def test_two_operators_at_once_pay_one_month(member: Member) -> None:
    barrier = threading.Barrier(2)
    operators = [
        threading.Thread(target=tried, args=(member, Meeting(member.sandbox, barrier)))
        for _ in range(2)
    ]

    for each in operators:
        each.start()
    for each in operators:
        each.join(60)
    member.sweep_orders()

    assert_subscribed_once(member)


def tried(member: Member, gateway: StripeGateway) -> None:
    """One of the two may be told that it is under way."""
    with suppress(PlanProblem):
        member.set_plan("pro", gateway)


class Behind(StripeGateway):
    """The first look at a subscription is older than its payment."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.looks = 0

    def subscription(self, subscription_id: str) -> StripeSubscription:
        self.looks += 1
        return older(super().subscription(subscription_id), self.looks)

    def find_subscription(self, stripe_customer: str, order_id: str) -> StripeSubscription | None:
        self.looks += 1
        found = super().find_subscription(stripe_customer, order_id)
        return found and older(found, self.looks)


def older(seen: StripeSubscription, looks: int) -> StripeSubscription:
    return seen._replace(status="incomplete") if looks == 1 else seen


def test_a_month_that_turns_out_to_be_paid_already_is_neither_paid_again_nor_cancelled(
    member: Member,
) -> None:
    member.sandbox.fault("timeout_after", *CALLS["the payment"], seconds=60)
    member.set_plan("pro", hasty(member, "timeout_after"))

    member.sweep_orders(Behind(member.sandbox))
    member.sweep_orders()

    assert_subscribed_once(member)
    assert member.subscriptions() == ["active"]


# Cards that do not pay.


@pytest.mark.parametrize("card", [DECLINES, AUTHENTICATES])
def test_a_card_that_does_not_pay_leaves_nothing_that_is_charged_later(
    joining: Callable[..., Member], card: str
) -> None:
    member = joining(card=card)

    order = member.set_plan("pro")

    assert order is not None
    assert order.status is S.REFUSED
    assert order.message
    assert member.subscriptions()[0] in ("canceled", "incomplete_expired")
    assert member.moved() == []
    member.use_card("pm_card_visa")
    assert_never_charged(member)


@pytest.mark.every(3)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
def test_a_declined_month_is_cancelled_whatever_goes_wrong_with_that(
    joining: Callable[..., Member], fault: str
) -> None:
    member = joining(card=DECLINES)
    member.sandbox.fault(fault, "DELETE", "/v1/subscriptions/*", seconds=60)

    member.set_plan("pro", hasty(member, fault))
    member.sweep_orders()

    assert member.order["status"] == "refused"
    member.use_card("pm_card_visa")
    assert_never_charged(member)


@pytest.mark.every(2)
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
@pytest.mark.parametrize("call", ["create", "pay", "cancel"])
def test_a_death_on_the_way_to_a_decline_leaves_nothing_that_is_charged_later(
    joining: Callable[..., Member], call: str, heard: bool
) -> None:
    member = joining(card=DECLINES)
    dies(partial(member.set_plan, "pro"), member, call, heard)

    swept = member.sweep_orders()

    assert swept == [S.REFUSED]
    member.use_card("pm_card_visa")
    assert_never_charged(member)


def test_after_a_decline_another_card_pays_one_month(joining: Callable[..., Member]) -> None:
    member = joining(card=DECLINES)
    member.set_plan("pro")
    member.use_card("pm_card_visa")

    member.set_plan("pro")
    member.hear()

    assert_subscribed_once(member)


def test_a_customer_without_a_card_is_told_how_to_add_one(member: Member) -> None:
    lose_payment_method("acme", member.engine, member.clock)

    with pytest.raises(PlanProblem, match="add-payment-method acme"):
        member.set_plan("pro")

    assert rows_of(member.engine, tables.subscription_orders) == []


def test_an_unknown_customer_is_told_so(member: Member) -> None:
    stranger = Member(
        "stranger",
        member.stripe_customer,
        member.engine,
        member.redis,
        member.sandbox,
        member.gateway,
        member.clock,
        member.started,
    )
    with pytest.raises(CustomerProblem, match="stranger"):
        stranger.set_plan("pro")


@pytest.mark.parametrize("call", ["create", "pay"])
def test_an_order_that_waited_until_stripe_gave_up_begins_or_is_refused(
    member: Member, call: str
) -> None:
    """Stripe ends a subscription whose first invoice is not paid within 23 hours."""
    dies(partial(member.set_plan, "pro"), member, call, heard=call == "create")
    member.pass_time(DAY)
    member.hear()

    member.sweep_orders()
    member.hear()

    if member.order["status"] == "refused":
        assert (member.paid(), member.book["plan"]) == ([], "payg")
    else:
        assert_subscribed_once(member)


# What Stripe tells of it.


KINDS = ("invoice.paid", "customer.subscription.created", "customer.subscription.updated")


@pytest.mark.every(2)
@pytest.mark.parametrize("order", list(permutations(KINDS)), ids=" then ".join)
def test_in_whatever_order_and_however_often_it_is_told_the_credits_come_once(
    member: Member, order: tuple[str, ...]
) -> None:
    dies(partial(member.set_plan, "pro"), member, "pay", heard=True)

    for kind in order:
        member.hear(kind, twice=True)
    member.hear(twice=True)

    assert member.moved("invoice", "pay") == BOOKED
    assert member.included() == [10]
    assert member.broken() == []


def test_what_nobody_told_us_of_reconcile_books_and_its_credits_come_once(member: Member) -> None:
    dies(partial(member.set_plan, "pro"), member, "pay", heard=True)

    first, again = member.reconcile(), member.reconcile()

    assert (first.parked, again.repaired, again.parked) == ([], [], [])
    assert member.moved("invoice", "pay") == BOOKED
    assert member.included() == [10]
    assert member.book["plan"] == "pro"
    assert member.broken() == []


# Renewals.


def renew(member: Member) -> None:
    """A little more than the draft's hour into the next period."""
    member.pass_to(member.book["cycle_end"] + HOUR + timedelta(minutes=1))


def test_a_renewal_is_paid_and_its_credits_come_beside_those_that_rolled(
    subscriber: Member,
) -> None:
    renew(subscriber)
    subscriber.sweep_cycles()

    subscriber.hear()

    assert subscriber.paid() == [MONTHLY] * 2
    assert subscriber.moved("invoice", "pay") == BOOKED * 2
    assert subscriber.included() == [10, 10]
    assert subscriber.book["credits"] == 20
    assert subscriber.cycles() == [(1, "closed"), (2, "closed"), (3, "open")]
    assert subscriber.broken() == []


def test_a_renewal_that_is_told_before_the_sweep_comes_to_the_same(subscriber: Member) -> None:
    renew(subscriber)

    subscriber.hear()
    subscriber.sweep_cycles()

    assert subscriber.included() == [10, 10]
    assert subscriber.book["credits"] == 20
    assert subscriber.cycles() == [(1, "closed"), (2, "closed"), (3, "open")]
    assert subscriber.broken() == []


@pytest.mark.parametrize("first", ["inbox", "webhook"])
def test_a_fix_that_waits_in_the_inbox_over_a_renewal_costs_the_same_credit(
    subscriber: Member, first: str
) -> None:
    """It was accepted a minute before the period ended, when ten credits were about to expire."""
    renew(subscriber)
    subscriber.sweep_cycles()
    subscriber.hear()
    end = subscriber.book["cycle_end"]
    renew(subscriber)
    accepted = end - timedelta(minutes=1) - subscriber.book["clock_offset"]
    fix = entry(deployed(at=end - timedelta(minutes=2)), at=accepted)
    notice: list[Callable[[], object]] = [
        lambda: settle_entries(subscriber.engine, [fix], now=subscriber.clock.now()),
        subscriber.hear,
    ]

    for each in notice if first == "inbox" else notice[::-1]:
        each()
    subscriber.sweep_cycles()

    assert outcomes(subscriber.engine) == {"fix-1": "credited"}
    assert subscriber.book["credits"] == 20
    assert subscriber.broken() == []


def test_a_past_due_customer_with_another_card_is_active_again(subscriber: Member) -> None:
    subscriber.use_card(DECLINES)
    renew(subscriber)
    subscriber.sweep_cycles()
    subscriber.hear()
    behind = subscriber.book["subscription_status"], subscriber.included(), subscriber.paid()

    subscriber.use_card("pm_card_visa")
    subscriber.pass_time(4 * DAY)  # Stripe's next try
    subscriber.hear()

    assert behind == ("past_due", [10], [MONTHLY])
    assert subscriber.book["subscription_status"] == "active"
    assert subscriber.paid() == [MONTHLY] * 2
    assert subscriber.included() == [10, 10]
    assert subscriber.broken() == []


def test_money_fixes_of_an_unpaid_period_are_held_until_it_is_paid(subscriber: Member) -> None:
    subscriber.use_card(DECLINES)
    renew(subscriber)
    names = [f"fix-{number:02}" for number in range(12)]
    settle_events(
        subscriber.engine,
        *(deployed(each, at=subscriber.now) for each in names),
        now=subscriber.clock.now(),
    )
    subscriber.hear()
    before = sorted(outcomes(subscriber.engine).values())

    subscriber.use_card("pm_card_visa")
    subscriber.pass_time(4 * DAY)
    subscriber.hear()

    assert before == ["credited"] * 10 + ["held"] * 2
    assert sorted(outcomes(subscriber.engine).values()) == ["credited"] * 12
    assert subscriber.broken() == []


def test_a_renewal_that_is_never_paid_ends_the_subscription_and_nothing_more_is_charged(
    subscriber: Member,
) -> None:
    subscriber.use_card(DECLINES)
    renew(subscriber)
    subscriber.pass_time(20 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()
    subscriber.use_card("pm_card_visa")

    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()

    assert subscriber.paid() == [MONTHLY]
    assert (subscriber.book["plan"], subscriber.book["subscription_id"]) == ("payg", None)
    assert subscriber.broken() == []


# Ending.


def test_a_subscription_ends_with_its_period(subscriber: Member) -> None:
    end = subscriber.book["cycle_end"]

    order = subscriber.set_plan("payg")
    meanwhile = subscriber.book["plan"], subscriber.book["ends_with_period"]
    subscriber.pass_to(end + HOUR)
    subscriber.sweep_cycles()
    subscriber.hear()

    assert order is not None
    assert order.status is S.DONE
    assert meanwhile == ("pro", True)
    assert (subscriber.book["plan"], subscriber.book["subscription_id"]) == ("payg", None)
    assert subscriber.book["cycle_start"] == end
    assert subscriber.paid() == [MONTHLY]
    assert subscriber.subscriptions() == ["canceled"]
    assert subscriber.broken() == []


@pytest.mark.parametrize("first", ["sweep", "webhook"])
def test_the_end_of_a_period_comes_to_the_same_whoever_notices_first(
    subscriber: Member, first: str
) -> None:
    subscriber.set_plan("payg")
    subscriber.pass_to(subscriber.book["cycle_end"] + 2 * HOUR)
    notice: list[Callable[[], object]] = [subscriber.sweep_cycles, subscriber.hear]

    for each in notice if first == "sweep" else notice[::-1]:
        each()

    assert subscriber.cycles() == [(1, "closed"), (2, "closed"), (3, "open")]
    assert subscriber.book["plan"] == "payg"
    assert subscriber.book["credits"] == 10
    assert subscriber.broken() == []


def test_a_subscription_that_was_to_end_goes_on(subscriber: Member) -> None:
    subscriber.set_plan("payg")

    order = subscriber.set_plan("pro")
    renew(subscriber)
    subscriber.sweep_cycles()
    subscriber.hear()

    assert order is not None
    assert (order.wish, order.status) == ("continue", S.DONE)
    assert subscriber.book["plan"] == "pro"
    assert subscriber.paid() == [MONTHLY] * 2
    assert subscriber.included() == [10, 10]
    assert subscriber.broken() == []


def test_a_subscription_ends_now_and_its_credits_stay(subscriber: Member) -> None:
    order = subscriber.set_plan("payg", at_once=True)
    subscriber.hear()

    assert order is not None
    assert (order.wish, order.status) == ("end_now", S.DONE)
    assert (subscriber.book["plan"], subscriber.book["subscription_id"]) == ("payg", None)
    assert subscriber.book["credits"] == 10
    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()
    assert subscriber.paid() == [MONTHLY]
    assert subscriber.broken() == []


ENDS = [("end", False), ("cancel", True)]


@pytest.mark.parametrize(("call", "at_once"), ENDS, ids=["with its period", "now"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
def test_the_sweep_ends_a_subscription_that_a_death_left(
    subscriber: Member, call: str, at_once: bool, heard: bool
) -> None:
    dies(
        lambda gateway: subscriber.set_plan("payg", gateway, at_once=at_once),
        subscriber,
        call,
        heard,
    )

    swept = subscriber.sweep_orders()

    assert swept == [S.DONE]
    assert subscriber.subscriptions() == ["canceled" if at_once else "active"]
    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()
    assert subscriber.paid() == [MONTHLY]
    assert subscriber.book["plan"] == "payg"
    assert subscriber.broken() == []


@pytest.mark.every(5)
@pytest.mark.parametrize("fault", [*AFTER, *BEFORE, *LATER])
@pytest.mark.parametrize("at_once", [False, True], ids=["with its period", "now"])
def test_whatever_goes_wrong_a_subscription_ends_once(
    subscriber: Member, at_once: bool, fault: str
) -> None:
    method = "DELETE" if at_once else "POST"
    subscriber.sandbox.fault(fault, method, "/v1/subscriptions/*", seconds=60)

    subscriber.set_plan("payg", hasty(subscriber, fault), at_once=at_once)
    swept = subscriber.sweep_orders()

    assert swept == [S.DONE]
    assert subscriber.subscriptions() == ["canceled" if at_once else "active"]
    assert subscriber.book["ends_with_period"] is not at_once
    assert subscriber.broken() == []


def test_a_customer_who_leaves_has_no_subscription_any_more(subscriber: Member) -> None:
    cancel_customer("acme", subscriber.engine, subscriber.gateway, subscriber.clock)

    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()

    assert subscriber.subscriptions() == ["canceled"]
    assert subscriber.paid() == [MONTHLY]
    assert (subscriber.book["plan"], subscriber.book["subscription_id"]) == ("payg", None)
    assert subscriber.broken() == []


@pytest.mark.parametrize("call", ["create", "pay"])
@pytest.mark.parametrize("heard", [False, True], ids=["unheard", "heard"])
def test_a_customer_who_leaves_while_an_order_waits_is_not_charged_for_it_later(
    member: Member, call: str, heard: bool
) -> None:
    dies(partial(member.set_plan, "pro"), member, call, heard)
    paid = member.paid()

    cancel_customer("acme", member.engine, member.gateway, member.clock)
    member.sweep_orders()
    member.hear()
    member.pass_time(40 * DAY)
    member.sweep_cycles()
    member.hear()

    assert member.paid() == paid
    assert set(member.subscriptions()) <= {"canceled", "incomplete_expired"}
    assert member.broken() == []


@pytest.mark.parametrize("plan", ["pro", "payg"], ids=["to continue", "to end with the period"])
def test_a_customer_who_leaves_while_such_an_order_waits_has_no_subscription_any_more(
    subscriber: Member, plan: str
) -> None:
    if plan == "pro":
        subscriber.set_plan("payg")
    dies(partial(subscriber.set_plan, plan), subscriber, "end", heard=False)

    cancel_customer("acme", subscriber.engine, subscriber.gateway, subscriber.clock)
    subscriber.sweep_orders()
    subscriber.pass_time(70 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()

    assert subscriber.paid() == [MONTHLY]
    assert subscriber.subscriptions() == ["canceled"]
    assert subscriber.book["subscription_id"] is None
    assert subscriber.broken() == []


def test_webhooks_that_come_late_do_not_bring_back_a_customer_who_left(
    subscriber: Member,
) -> None:
    """They tell of the card that was added before; Stripe's customer still has it."""
    cancel_customer("acme", subscriber.engine, subscriber.gateway, subscriber.clock)

    subscriber.hear("customer.updated", "payment_method.attached")

    assert subscriber.book["parked_why"] == "cancelled"
    assert subscriber.book["has_payment_method"] is False


def test_a_customer_who_left_and_comes_back_subscribes_as_anybody(subscriber: Member) -> None:
    subscriber.hear()
    cancel_customer("acme", subscriber.engine, subscriber.gateway, subscriber.clock)
    with pytest.raises(PlanProblem):
        subscriber.set_plan("pro")
    subscriber.pass_time(DAY)

    subscriber.use_card("pm_card_visa")
    subscriber.set_plan("pro")
    subscriber.hear()

    assert subscriber.paid() == [MONTHLY] * 2
    assert subscriber.subscriptions() == ["canceled", "active"]
    assert subscriber.book["plan"] == "pro"
    assert subscriber.broken() == []


@pytest.mark.parametrize("first", ["sweep", "webhook"])
def test_what_somebody_cancels_at_stripe_itself_ends_here_too(
    subscriber: Member, first: str
) -> None:
    subscriber.pass_time(3 * DAY)
    subscriber.client.v1.subscriptions.cancel(str(subscriber.book["subscription_id"]))
    notice: list[Callable[[], object]] = [subscriber.sweep_cycles, subscriber.hear]

    for each in notice if first == "sweep" else notice[::-1]:
        each()

    assert (subscriber.book["plan"], subscriber.book["subscription_id"]) == ("payg", None)
    assert subscriber.book["credits"] == 10
    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    assert subscriber.paid() == [MONTHLY]
    assert subscriber.broken() == []


@pytest.mark.parametrize("at_once", [False, True], ids=["after its period", "now"])
def test_subscribing_again_begins_anew(subscriber: Member, at_once: bool) -> None:
    subscriber.set_plan("payg", at_once=at_once)
    subscriber.pass_time(40 * DAY)
    subscriber.sweep_cycles()
    subscriber.hear()

    subscriber.set_plan("pro")
    subscriber.hear()

    assert subscriber.paid() == [MONTHLY] * 2
    assert subscriber.subscriptions() == ["canceled", "active"]
    assert subscriber.included() == [10, 10]
    assert subscriber.book["plan"] == "pro"
    assert subscriber.book["paid_until"] == subscriber.book["cycle_end"]
    assert subscriber.broken() == []
