"""A customer in memory to whom everything happens that the product's lives do, by their own rules.

The plans have a second version from the middle of a month on, and Pro a third at another price.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import date, datetime, timedelta
from typing import NamedTuple

from schemas.money import Money
from schemas.plans import Catalogue, Plan, PlanVersion
from tests.billing.memory import Memory
from tests.billing.model import DAY, HOUR, Terms, month_later, newest
from tests.builders import MARCH, NOW, book, refund
from worker.billing.answers import Answer, AnswerKind
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.cycles import CycleRow, CycleStatus
from worker.billing.dunning import next_step
from worker.billing.fix import Arrival
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.payments import begin_attempt, take_step
from worker.billing.plan_changes import add_billing, sign_up
from worker.billing.refunds import claw_back, take_refund
from worker.billing.rollover import catch_up
from worker.billing.stripe_objects import Sold, StripeInvoice, StripeRefund, StripeSubscription
from worker.billing.subscriptions import PaidPeriod, take_invoice, take_period, take_subscription

# The plans that are shipped, and what becomes of them: in the middle of a month a new version for
# everybody, later one of Pro at another price, which those who have subscribed do not get.
V1, V2, V3 = date(2026, 1, 1), date(2026, 11, 15), date(2027, 6, 10)
TERMS: dict[str, dict[date, Terms]] = {
    "trial": {V1: Terms(signup=5, card_added=5, days=90, after="payg")},
    "payg": {V1: Terms(2900), V2: Terms(2500)},
    "pro": {
        V1: Terms(1500, 59900, 10, 10, after="payg"),
        V2: Terms(1200, 59900, 8, 4, after="payg"),
        V3: Terms(1800, 69900, 20, 20, after="payg"),
    },
}


def usd(cents: int | None) -> Money | None:
    return None if cents is None else Money(cents, "usd")


def version_of(effective: date, terms: Terms) -> PlanVersion:
    return PlanVersion(
        effective=effective,
        price=usd(terms.price),
        subscription=usd(terms.subscription),
        after_cancel_plan=terms.after if terms.subscription else None,
        signup_credits=terms.signup,
        billing_added_credits=terms.card_added,
        billing_added_plan=terms.after if terms.card_added else None,
        included_credits=terms.included,
        rollover_credits_max=terms.rolls,
        credits_expire_days=terms.days,
    )


CATALOGUE = Catalogue(
    {
        code: Plan(title=code, versions=tuple(version_of(*each) for each in versions.items()))
        for code, versions in TERMS.items()
    }
)


class Paid(NamedTuple):
    """Stripe says: this period of a subscription is paid."""

    subscription: str
    anchor: datetime
    start: datetime
    end: datetime
    plan: str
    version: date
    amount: int
    invoice: str
    ends: bool
    ended: datetime | None


class Standing(NamedTuple):
    """Stripe says: so it stands with a subscription."""

    subscription: str
    anchor: datetime
    start: datetime
    end: datetime
    ends: bool
    ended: datetime | None


class Subscription:
    """At Stripe: it renews each month, is paid some time after that, or is given up on."""

    def __init__(self, number: int, now: datetime) -> None:
        self.id, self.anchor = f"sub_{number}", now
        self.start, self.end = now, month_later(now, now)
        self.version = newest(TERMS, "pro", now)
        self.ends, self.ended = False, None  # type: bool, datetime | None
        self.pays_after: timedelta | None = HOUR
        self.unpaid = [(self.start, self.end)]

    def next(self) -> datetime | None:
        """When it does something by itself."""
        if self.ended:
            return None
        lag = 22 * DAY if self.pays_after is None else self.pays_after
        return min([self.end, *(start + lag for start, _ in self.unpaid)])

    def go_on(self, now: datetime) -> Paid | Standing:
        """What it tells then."""
        if self.unpaid and self.end > now:
            return self.pay() if self.pays_after else self.cancel(now)
        if self.ends:
            return self.cancel(self.end)
        self.start, self.end = self.end, month_later(self.anchor, self.end)
        self.unpaid.append((self.start, self.end))
        return self.standing()

    def pay(self) -> Paid:
        start, end = self.unpaid.pop(0)
        key = f"in_{self.id}_{start:%Y%m%d}"
        amount = TERMS["pro"][self.version].subscription or 0
        sold = "pro", self.version, amount, key
        return Paid(self.id, self.anchor, start, end, *sold, self.ends, self.ended)

    def cancel(self, now: datetime) -> Standing:
        self.ended, self.unpaid = now, []
        return self.standing()

    def standing(self) -> Standing:
        return Standing(self.id, self.anchor, self.start, self.end, self.ends, self.ended)


class InMemory:
    """The product's rules over the tables in memory, each as its life calls it."""

    def __init__(self, plan: str) -> None:
        self.memory = Memory(books={"acme": book(plan, plans=CATALOGUE, has_payment_method=False)})
        row = CycleRow("acme", 1, MARCH.start, MARCH.end, CycleStatus.OPEN)
        self.memory.cycles["acme", 1] = row
        with self.memory.transaction("acme", NOW) as (journal, standing):
            sign_up(journal, standing, CATALOGUE.pinned(plan, standing.plan_version))

    def settle(self, arrivals: list[Arrival], now: datetime) -> None:
        self.memory.settle(arrivals, now)

    def sweep(self, until: datetime, now: datetime) -> None:
        opened = self.memory.open("acme")
        journal = Journal({"acme": opened}, Known(), now)
        catch_up(journal, opened, until + opened.clock_offset)
        self.memory.post(journal)

    def move_clock(self, by: timedelta) -> None:
        self.memory.books["acme"].clock_offset += by

    def change(self, now: datetime, what: Callable[[Journal, Book], object]) -> None:
        """One life: it changes something, then what is held may be paid."""
        with self.memory.transaction("acme", now) as (journal, standing):
            what(journal, standing)
            journal.touched.add("acme")
            settle_backlog(journal, standing)

    def give(self, key: str, number: int, expires_in: timedelta | None, now: datetime) -> None:
        def granting(journal: Journal, standing: Book) -> None:
            until = None if expires_in is None else journal.time_of(standing) + expires_in
            give(journal, standing, "operator", key, number, until)

        self.change(now, granting)

    def add_card(self, now: datetime) -> None:
        granted = ("acme", "billing_added") in self.memory.grants
        self.change(now, lambda journal, standing: add_billing(journal, standing, granted))

    def lose_card(self, now: datetime) -> None:
        with self.memory.transaction("acme", now) as (journal, standing):
            standing.has_payment_method = False
            journal.touched.add("acme")

    def accept_held(self, now: datetime) -> None:
        def accepting(journal: Journal, standing: Book) -> None:
            standing.accepted_held_until = journal.time_of(standing)

        self.change(now, accepting)

    def set_cap(self, cents: int | None, now: datetime) -> None:
        self.change(now, lambda _, standing: setattr(standing, "spending_cap", cents))

    def collect(self, now: datetime) -> str | None:
        """Freeze the open charge, and have the card pay it; its id."""
        with self.memory.transaction("acme", now) as (journal, standing):
            owed = standing.open_charge
            if owed is None or not begin_attempt(journal, standing, owed):
                return None
        with self.memory.transaction("acme", now) as (journal, standing):
            owed = standing.charge_in_flight
            assert owed is not None
            answer = Answer(AnswerKind.SUCCEEDED, f"pi_{owed.charge_id}")
            step = next_step(owed, answer, standing.policy, journal.time_of(standing))
            take_step(journal, standing, owed, step, answer)
        return owed.charge_id

    def refund(self, charge_id: str, now: datetime) -> None:
        """All of it, and the credits that came of it."""
        with self.memory.transaction("acme", now) as (journal, standing):
            owed = copy(self.memory.charges[charge_id])
            key = f"re_{charge_id}"
            intent = f"pi_{charge_id}"
            kept = refund(owed.asked_amount, charge_id=charge_id, refund_id=key)
            seen = StripeRefund(key, intent, owed.asked, "succeeded", key, None, now)
            take_refund(journal, standing, owed, kept, seen, 0)
            bought = [each for each in self.memory.grants.values() if each.origin == charge_id]
            claw_back(journal, standing, kept, [copy(each) for each in bought])
            self.memory.refunds[key] = kept

    def subscribe(self, number: int, now: datetime) -> Subscription:
        return Subscription(number, now + self.memory.books["acme"].clock_offset)

    def hear(self, told: Paid | Standing, now: datetime) -> None:
        status = "canceled" if told.ended else "active"
        of = told.subscription
        known = StripeSubscription(
            of,
            "cus_acme",
            status,
            told.start,
            told.end,
            told.ends,
            told.anchor,
            told.ended,
            None,
            None,
        )
        with self.memory.transaction("acme", now) as (journal, standing):
            if isinstance(told, Standing):
                take_subscription(journal, standing, known)
                return
            money = Money(told.amount, "usd")
            times = told.start, told.end
            why = "subscription_cycle"
            invoice = StripeInvoice(told.invoice, "cus_acme", of, "paid", why, money, None, *times)
            given = ("acme", f"included:{of}:{told.start:%Y-%m-%dT%H:%M:%SZ}") in self.memory.grants
            paid = PaidPeriod(told.invoice, Sold(told.plan, told.version), *times)
            take_period(journal, standing, known, paid, given)
            assert take_invoice(journal, standing, invoice, None, already_here=False)
