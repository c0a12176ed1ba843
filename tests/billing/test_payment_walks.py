"""Fixes, reverts, answers and money in any order: the books hold at every step."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.events import Event
from schemas.money import Money
from schemas.plans import Catalogue, Plan, PlanVersion
from tests.billing.checks import check_books, check_chains, check_usage
from tests.billing.memory import Memory
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PLAN_DATE,
    arrival,
    book,
    deployed,
    refund,
    reverted,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import FINAL, IN_FLIGHT, Charge, ChargeStatus, Why, minimum
from worker.billing.dunning import next_step
from worker.billing.payments import (
    begin_attempt,
    book_unapplied,
    replace,
    take_step,
    try_at_once,
    unpark,
    withdraw,
)
from worker.billing.plan_changes import change_plan
from worker.billing.refunds import Refund, RefundStatus, take_refund
from worker.billing.stripe_objects import StripeRefund

S = ChargeStatus
K = AnswerKind

# What Stripe can say of an intent, by what we were about to do with it.
POSSIBLE = {
    S.FROZEN: tuple(K),
    S.ACTION_REQUIRED: (K.SUCCEEDED,),
    S.DECLINED: (K.SUCCEEDED,),
    S.PARKED: (K.SUCCEEDED,),
    S.WITHDRAWING: (K.SUCCEEDED, K.UNKNOWN, K.LATER, K.CANCELED, K.CANCELED),
}


def plan(cents: int) -> Plan:
    version = PlanVersion(effective=PLAN_DATE, price=Money(cents, "usd"))
    return Plan(title=f"{cents} cents", versions=(version,))


PRICES = (30, 60, 2900)
PLANS = Catalogue({str(cents): plan(cents) for cents in PRICES})

RETURNED = ("pending", "succeeded", "succeeded", "failed")
BACK = (RefundStatus.PENDING, RefundStatus.SUCCEEDED)


def is_paid(owed: Charge) -> bool:
    return owed.status is S.PAID and owed.payment_intent is not None


class Collecting(RuleBasedStateMachine):
    """One customer, one sweep, and a Stripe that answers what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory(books={"acme": book(plan="2900", plans=PLANS)})
        self.now = NOW
        self.numbers = count(1)
        self.fixes: list[str] = []
        self.asked: dict[str, int] = {}  # what each intent asks for, by charge
        self.collected = 0

    @rule(cents=st.sampled_from(PRICES))
    def a_fix_is_deployed(self, cents: int) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            change_plan(journal, standing, str(cents))
        fix_id = f"fix-{next(self.numbers)}"
        self.fixes.append(fix_id)
        self.settle(deployed(fix_id, at=self.now - MINUTE))

    @precondition(lambda self: self.fixes)
    @rule(which=st.integers(0, 10))
    def a_fix_is_reverted(self, which: int) -> None:
        fix_id = self.fixes.pop(which % len(self.fixes))
        self.settle(reverted(fix_id, at=self.now - MINUTE))

    def settle(self, event: Event) -> None:
        self.memory.settle([arrival(event, at=self.now)], self.now)

    @rule(cents=st.sampled_from([1, 20, 1000, 2890]))
    def money_comes_in(self, cents: int) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            book_unapplied(journal, standing, cents, f"pi_stray_{next(self.numbers)}")
        self.collected += cents

    @precondition(lambda self: self.live())
    @rule()
    def the_sweep_comes(self) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            due = standing.charge_in_flight or standing.open_charge
            if due is not None and begin_attempt(journal, standing, due):
                asked = due.asked.amount
                assert self.asked.setdefault(due.charge_id, asked) == asked
                assert asked >= minimum(due.currency)

    @precondition(lambda self: self.in_flight())
    @rule(which=st.integers(0, 10))
    def stripe_answers(self, which: int) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            owed = standing.charge_in_flight
            assert owed is not None
            kinds = POSSIBLE[owed.status]
            answer = Answer(kinds[which % len(kinds)], f"pi_{owed.charge_id}")
            step = next_step(owed, answer, standing.policy, self.now)
            take_step(journal, standing, owed, step, answer)
            if step.status is S.PAID:
                self.collected += self.asked[owed.charge_id]
            if step.status is S.VOID:
                lines = self.memory.standing_lines(owed.charge_id)
                replace(journal, standing, owed, lines, self.memory.fixes_on(lines))

    @precondition(lambda self: self.returnable())
    @rule(which=st.integers(0, 10), part=st.booleans(), status=st.sampled_from(RETURNED))
    def money_goes_back(self, which: int, part: bool, status: str) -> None:
        owed = self.returnable()[which % len(self.returnable())]
        left = owed.asked_amount - owed.returned
        number = next(self.numbers)
        wanted = refund(
            1 if part else left,
            charge_id=owed.charge_id,
            payment_intent=str(owed.payment_intent),
            refund_id=f"ref_{number}",
        )
        self.memory.refunds[wanted.refund_id] = wanted
        self.follow(wanted, f"re_{number}", status)

    @precondition(lambda self: self.on_its_way())
    @rule(which=st.integers(0, 10), status=st.sampled_from(RETURNED))
    def more_is_heard_of_a_refund(self, which: int, status: str) -> None:
        wanted = self.on_its_way()[which % len(self.on_its_way())]
        self.follow(wanted, str(wanted.stripe_refund), status)

    def follow(self, wanted: Refund, stripe_refund: str, status: str) -> None:
        money = Money(wanted.amount, wanted.currency)
        seen = StripeRefund(stripe_refund, wanted.payment_intent, money, status, None, None, NOW)
        with self.memory.transaction("acme", self.now) as (journal, standing):
            owed = self.memory.charges[str(wanted.charge_id)]
            brought = self.memory.brought(wanted.payment_intent)
            was = wanted.status in BACK
            take_refund(journal, standing, copy(owed), wanted, seen, brought)
            self.collected += wanted.amount * (was - (wanted.status in BACK))

    @precondition(lambda self: self.live())
    @rule(why=st.sampled_from([Why.NEW_CARD, Why.OPERATOR]))
    def it_is_tried_beside_the_schedule(self, why: Why) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            owed = standing.charge_in_flight or standing.open_charge
            if owed is not None and owed.status is S.PARKED:
                unpark(journal, standing, owed, None)
            elif owed is not None:
                try_at_once(journal, standing, owed, why)

    @precondition(lambda self: self.in_flight())
    @rule()
    def it_is_written_off(self) -> None:
        with self.memory.transaction("acme", self.now) as (journal, standing):
            assert standing.charge_in_flight is not None
            standing.charge_in_flight.write_off = True
            withdraw(journal, standing, standing.charge_in_flight)

    @rule(span=st.sampled_from([HOUR, DAY, 30 * DAY]))
    def time_passes(self, span: timedelta) -> None:
        self.now += span

    @invariant()
    def the_books_hold(self) -> None:
        check_books(self.memory)
        check_chains(self.memory)
        check_usage(self.memory)

    @invariant()
    def cash_is_what_was_collected(self) -> None:
        assert self.memory.books["acme"].cash == self.collected

    @invariant()
    def a_charge_returns_what_its_refunds_do(self) -> None:
        for owed in self.charges():
            mine = [each.amount for each in self.on_its_way() if each.charge_id == owed.charge_id]
            assert owed.returned == sum(mine) <= owed.asked_amount

    @invariant()
    def what_is_over_is_not_due(self) -> None:
        assert all(each.due_at is None for each in self.charges() if each.status in FINAL)

    @invariant()
    def what_is_in_flight_is_never_tried_too_often(self) -> None:
        assert all(each.tries <= 5 for each in self.charges())

    def charges(self) -> list[Charge]:
        return list(self.memory.charges.values())

    def returnable(self) -> list[Charge]:
        return [
            each for each in self.charges() if each.asked_amount > each.returned and is_paid(each)
        ]

    def on_its_way(self) -> list[Refund]:
        return [each for each in self.memory.refunds.values() if each.status in BACK]

    def live(self) -> bool:
        return any(each.status not in FINAL for each in self.charges())

    def in_flight(self) -> bool:
        return any(each.status in IN_FLIGHT for each in self.charges())


Collecting.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestCollecting = Collecting.TestCase
