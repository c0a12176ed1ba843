"""Random pasts of one customer, over months: all that a plan has a say in, by the real rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from schemas.money import Money
from schemas.plans import Catalogue, Plan, PlanVersion
from tests.at_stripe import invoiced, subscribed
from tests.billing.memory import Memory
from tests.builders import DAY, HOUR, MINUTE, arrival, book, deployed, reverted
from worker.billing.answers import Answer, AnswerKind
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.cycles import Cycle, month_of, period_end
from worker.billing.dunning import next_step
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.ledger import Transfer
from worker.billing.orders import Order, OrderStatus, Wish
from worker.billing.payments import begin_attempt, take_step
from worker.billing.plan_changes import add_billing, change_plan, sign_up
from worker.billing.pricing import TAKEN, Settled, Step
from worker.billing.rollover import catch_up
from worker.billing.stripe_objects import Sold, StripeInvoice, StripeSubscription
from worker.billing.subscriptions import (
    PaidPeriod,
    included_key,
    take_invoice,
    take_period,
    take_subscription,
)
from worker.billing.terms import Invoiced

BEGINS = datetime(2026, 1, 10, 9, tzinfo=UTC)


def usd(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


def catalogue(**plans: dict[date, dict[str, Any]]) -> Catalogue:
    """Plans by code, their versions by date."""
    return Catalogue(
        {
            code: Plan.model_validate(
                {
                    "title": code,
                    "versions": [{"effective": day, **terms} for day, terms in versions.items()],
                }
            )
            for code, versions in plans.items()
        }
    )


TRIAL = {
    "signup_credits": 3,
    "billing_added_credits": 2,
    "billing_added_plan": "payg",
    "credits_expire_days": 20,
}
PRO = {"subscription": usd(59900), "after_cancel_plan": "payg"}
IN_USE = catalogue(
    trial={date(2026, 1, 1): TRIAL, date(2026, 2, 10): TRIAL | {"billing_added_credits": 4}},
    payg={
        date(2026, 1, 1): {"price": usd(2900)},
        date(2026, 3, 5): {"price": usd(3100), "collect": "cycle_end"},
    },
    pro={
        date(2026, 1, 1): PRO
        | {"price": usd(1500), "included_credits": 3, "rollover_credits_max": 2},
        date(2026, 2, 15): PRO
        | {"price": usd(1400), "included_credits": 4, "rollover_credits_max": 4},
        date(2026, 4, 1): PRO
        | {"price": usd(1300), "subscription": usd(69900), "included_credits": 5},
    },
)


def changed(
    code: str, plans: Catalogue, terms: Callable[[PlanVersion], dict[str, Any]]
) -> Catalogue:
    """Every version of this plan with other terms, whether or not they could be billed."""
    plan = plans.plan(code)
    versions = tuple(each.model_copy(update=terms(each)) for each in plan.versions)
    return Catalogue({**plans.plans, code: plan.model_copy(update={"versions": versions})})


@dataclass
class Past:
    """What happened to acme so far."""

    memory: Memory = field(default_factory=Memory, repr=False)
    now: datetime = BEGINS
    fixes: int = 0
    deeds: int = 0
    orders: list[Order] = field(default_factory=list)
    subscriptions: list[StripeSubscription] = field(default_factory=list)
    invoices: list[StripeInvoice] = field(default_factory=list)

    def __post_init__(self) -> None:
        month = month_of(self.now)
        self.memory.books["acme"] = book(
            "trial",
            plans=IN_USE,
            cycle_start=month.start,
            cycle_end=month.end,
            has_payment_method=False,
        )
        self.do(
            lambda journal, standing: sign_up(
                journal, standing, IN_USE.in_force("trial", BEGINS.date())
            )
        )

    @property
    def standing(self) -> Book:
        return self.memory.books["acme"]

    def do(self, deed: Callable[[Journal, Book], object]) -> None:
        """As the lives do: now, in one transaction."""
        self.deeds += 1
        with self.memory.transaction("acme", self.now) as (journal, standing):
            deed(journal, standing)
            settle_backlog(journal, standing)

    def deploy(self, fixes: int, age: timedelta, delay: timedelta) -> None:
        """`age` before now; we get round to it so much after it was accepted."""
        accepted = max(self.now - delay, self.standing.accepted_at or BEGINS)
        numbers = range(self.fixes, self.fixes + fixes)
        self.fixes += fixes
        events = [deployed(f"fix-{number}", at=accepted - age) for number in numbers]
        self.memory.settle([arrival(each, at=accepted) for each in events], self.now)

    def revert(self, number: int) -> None:
        if self.fixes:
            event = reverted(f"fix-{number % self.fixes}", at=self.now - MINUTE)
            self.memory.settle([arrival(event, at=self.now)], self.now)

    def grant(self, credits: int, days: int | None) -> None:
        until = None if days is None else self.now + days * DAY
        key = f"gift-{self.deeds}"
        self.do(lambda journal, standing: give(journal, standing, "operator", key, credits, until))

    def add_card(self) -> None:
        given = ("acme", "billing_added") in self.memory.grants
        if not self.standing.subscription_id:
            self.do(lambda journal, standing: add_billing(journal, standing, given))

    def accept(self, cap: int | None) -> None:
        def agree(journal: Journal, standing: Book) -> None:
            standing.accepted_held_until, standing.spending_cap = self.now, cap
            journal.touched.add("acme")

        self.do(agree)

    def sweep(self) -> None:
        self.do(lambda journal, standing: catch_up(journal, standing, self.now))

    def go_payg(self) -> None:
        if not self.standing.subscription_id:
            self.do(lambda journal, standing: change_plan(journal, standing, "payg"))

    def collect(self) -> None:
        """What is due is paid by the card."""

        def ask(journal: Journal, standing: Book) -> None:
            owed = standing.charge_in_flight or standing.open_charge
            if owed is None or not begin_attempt(journal, standing, owed):
                return
            paid = Answer(AnswerKind.SUCCEEDED, f"pi_{self.deeds}")
            step = next_step(owed, paid, standing.policy, self.now)
            take_step(journal, standing, owed, step, paid)

        self.do(ask)

    def subscribe(self) -> None:
        if self.standing.subscription_id or not self.standing.has_payment_method:
            return
        version = IN_USE.in_force("pro", self.now.date())
        number = len(self.subscriptions)
        order = Order(
            "acme",
            f"order_{number}",
            Wish.BEGIN,
            OrderStatus.DONE,
            "pro",
            version.effective,
            None,
            requested_at=self.now,
            due_at=None,
        )
        self.orders.append(order)
        self.subscriptions.append(
            subscribed(subscription_id=f"sub_{number}", anchor=self.now, order_id=order.order_id)
        )
        self.pay_period(self.now)

    def renew(self) -> None:
        """Stripe has collected all periods that have begun; the sweep was there before."""
        self.sweep()
        while self.is_renewed() and self.invoices[-1].period_end <= self.now:
            self.pay_period(self.invoices[-1].period_end)

    def is_renewed(self) -> bool:
        return self.standing.subscription_id is not None and not self.standing.ends_with_period

    def pay_period(self, start: datetime) -> None:
        subscription = self.subscriptions[-1]
        version = IN_USE.pinned("pro", self.orders[-1].plan_version or BEGINS.date())
        seen = invoiced(
            invoice_id=f"in_{len(self.invoices)}",
            payment_intent=f"pi_in_{len(self.invoices)}",
            subscription_id=subscription.subscription_id,
            money=version.subscription or Money(0, "usd"),
            period_start=start,
            period_end=period_end(subscription.anchor, start),
        )
        self.invoices.append(seen)
        sold = Sold("pro", self.orders[-1].plan_version or BEGINS.date())
        paid = PaidPeriod(seen.invoice_id, sold, seen.period_start, seen.period_end)

        def follow(journal: Journal, standing: Book) -> None:
            take_invoice(journal, standing, seen, None, already_here=False)
            take_period(journal, standing, subscription, paid, given=False)

        self.do(follow)

    def unsubscribe(self, at_once: bool) -> None:
        if not self.standing.subscription_id:
            return
        seen = self.subscriptions[-1]._replace(cancel_at_period_end=True)
        if at_once:
            seen = seen._replace(status="canceled", ended_at=self.now)
        self.do(lambda journal, standing: take_subscription(journal, standing, seen))

    # As the ledger is read for a replay.

    def cycles(self) -> list[Cycle]:
        return [Cycle(each.starts_at, each.ends_at) for each in self.memory.cycles_of("acme")]

    def steps(self) -> list[Step]:
        return [self.step(each) for each in self.memory.transfers if each.kind in TAKEN]

    def step(self, transfer: Transfer) -> Step:
        grant = None
        if transfer.kind in ("grant", "roll_in"):
            grant = self.memory.grants["acme", transfer.source_key]
        invoice_id = transfer.source_key
        if grant is not None:
            invoice_id = grant.origin or "" if grant.source == "included" else ""
        return Step(
            transfer.seq,
            transfer.kind,
            transfer.amount,
            transfer.source_key,
            transfer.recorded_at,
            self.time_of(transfer),
            transfer.grant_id,
            self.settled(transfer.fix_id),
            grant.source if grant else None,
            (grant.first_expired_at or grant.expires_at) if grant else None,
            self.invoiced(invoice_id),
        )

    def time_of(self, transfer: Transfer) -> datetime | None:
        if transfer.fix_id is None:
            return transfer.happened_at
        fix = self.memory.fixes["acme", transfer.fix_id]
        if transfer.kind == "charge":
            return self.memory.lines["acme", transfer.fix_id].added_at
        gone = transfer.kind == "consume" and fix.outcome == "reverted"
        return None if gone else fix.settled_at

    def settled(self, fix_id: str | None) -> Settled | None:
        if fix_id is None:
            return None
        fix = self.memory.fixes["acme", fix_id]
        gone = fix.outcome == "reverted"
        return Settled(fix_id, fix.plan, fix.plan_version, fix.deployed_at, gone)

    def invoiced(self, invoice_id: str) -> Invoiced | None:
        for each in self.invoices:
            if each.invoice_id == invoice_id:
                number = int((each.subscription_id or "").removeprefix("sub_"))
                order, made = self.orders[number], self.subscriptions[number]
                return Invoiced(
                    order.plan or "",
                    order.plan_version or BEGINS.date(),
                    made.anchor,
                    each.period_start,
                    each.period_end,
                    any(grant.origin == invoice_id for grant in self.memory.grants.values()),
                    included_key(made.subscription_id, each.period_start),
                )
        return None


AGES = st.sampled_from([MINUTE, MINUTE, -4 * MINUTE, 2 * HOUR, 10 * DAY])
DELAYS = st.sampled_from([timedelta(0), timedelta(0), 3 * HOUR, 2 * DAY])
PAUSES = st.sampled_from([MINUTE, MINUTE, MINUTE, 3 * HOUR, 3 * HOUR, 2 * DAY, 9 * DAY, 33 * DAY])

DEEDS: list[st.SearchStrategy[tuple[Any, ...]]] = [
    st.tuples(st.just(Past.deploy), st.integers(1, 5), AGES, DELAYS),
    st.tuples(st.just(Past.deploy), st.integers(1, 5), AGES, DELAYS),
    st.tuples(st.just(Past.deploy), st.integers(1, 5), AGES, DELAYS),
    st.tuples(st.just(Past.revert), st.integers(0, 20)),
    st.tuples(st.just(Past.revert), st.integers(0, 20)),
    st.tuples(st.just(Past.grant), st.integers(1, 3), st.sampled_from([None, 5, 40])),
    st.tuples(st.just(Past.add_card)),
    st.tuples(st.just(Past.accept), st.sampled_from([None, 6000, 100_000])),
    st.tuples(st.just(Past.sweep)),
    st.tuples(st.just(Past.go_payg)),
    st.tuples(st.just(Past.collect)),
    st.tuples(st.just(Past.collect)),
    st.tuples(st.just(Past.subscribe)),
    st.tuples(st.just(Past.subscribe)),
    st.tuples(st.just(Past.renew)),
    st.tuples(st.just(Past.renew)),
    st.tuples(st.just(Past.unsubscribe), st.booleans()),
]


@st.composite
def pasts(draw: st.DrawFn) -> Past:
    """Of up to sixty deeds, half of them on the day of the one before."""
    past = Past()
    if draw(st.booleans()):
        past.add_card()
        past.go_payg()
    deeds = st.lists(st.tuples(PAUSES, st.one_of(DEEDS)), min_size=5, max_size=60)
    for pause, (deed, *facts) in draw(deeds):
        past.now += pause
        deed(past, *facts)
    return past
