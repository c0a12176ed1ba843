"""One customer who may subscribe, everything it takes, and what Stripe says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import stripe as sdk
from redis import Redis
from sqlalchemy import Engine

from tests.builders import one_row, rows_of
from tests.collecting import Died, store
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from worker.billing.drift import Window
from worker.billing.orders import Order, OrderStatus
from worker.billing.stripe_objects import StripeInvoice, StripeSubscription
from worker.clock import Clock
from worker.customers import add_payment_method, create_customer, customer_at_stripe
from worker.inbox import Inbox
from worker.reconcile import Reconciled, reconcile
from worker.rollover import roll_over_due
from worker.storage import tables
from worker.storage.clock import move_clock, move_clock_of
from worker.storage.orders import LEASE, claim_due_orders
from worker.stripe_calls import StripeRefused
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.subscribe import carry_out, set_plan
from worker.usage.verify import verify

MONTHLY = 59900
BOOKED = [("invoice", MONTHLY), ("pay", MONTHLY)]
DECLINES, AUTHENTICATES = "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"

SECOND = timedelta(seconds=1)
Reply = TypeVar("Reply")


@dataclass
class Member:
    """A customer with a card, whose time passes at Stripe and in our books alike."""

    customer_id: str
    stripe_customer: str
    engine: Engine
    redis: Redis
    sandbox: RunningSandbox
    gateway: StripeGateway
    clock: Clock
    started: datetime  # by the customer's clock
    heard: set[str] = field(default_factory=set)
    sweeps: int = 0

    # The lives.

    def set_plan(
        self, plan: str, gateway: StripeGateway | None = None, *, at_once: bool = False
    ) -> Order | None:
        stripe = gateway or self.gateway
        return set_plan(self.customer_id, plan, self.engine, stripe, self.clock, at_once=at_once)

    def sweep_orders(self, gateway: StripeGateway | None = None) -> list[OrderStatus]:
        """As the sweep does once the lease of whoever began is over."""
        self.sweeps += 1
        with self.engine.begin() as tx:
            keys = claim_due_orders(tx, self.clock.wall() + self.sweeps * (LEASE + SECOND), 10)
        return [carry_out(key, self.engine, gateway or self.gateway, self.clock) for key in keys]

    def use_card(self, card: str) -> None:
        add_payment_method(self.customer_id, card, self.engine, self.gateway, self.clock)

    def hear(self, *kinds: str, twice: bool = False) -> list[str]:
        """The webhooks of these kinds, or all, that have not arrived yet; oldest first."""
        told = [each for each in self.events(*kinds) if each["id"] not in self.heard]
        self.heard.update(each["id"] for each in told)
        store(self.engine, self.clock, *told)
        return [
            apply_stripe_event(each["id"], self.engine, self.gateway, self.clock)
            for each in told
            for _ in range(2 if twice else 1)
        ]

    def pass_time(self, by: timedelta) -> None:
        """At Stripe and with us; nothing is told or swept yet."""
        self.sandbox.advance(int(by.total_seconds()), self.stripe_customer)
        with self.engine.begin() as tx:
            move_clock_of(tx, self.customer_id, by)

    def pass_to(self, moment: datetime) -> None:
        self.pass_time(timedelta(seconds=int((moment - self.now).total_seconds()) + 1))

    def sweep_cycles(self) -> int:
        return roll_over_due(self.engine, Inbox(self.redis), self.clock, all_now=True)

    def reconcile(self) -> Reconciled:
        window = Window(self.now - timedelta(days=2), self.now + timedelta(minutes=1))
        return reconcile(window, self.engine, self.gateway, self.clock)

    # What the books say.

    @property
    def now(self) -> datetime:
        """By the customer's clock."""
        lead: timedelta = self.book["clock_offset"]
        return self.clock.now() + lead

    @property
    def book(self) -> dict[str, Any]:
        return one_row(self.engine, tables.books, customer_id=self.customer_id)

    @property
    def order(self) -> dict[str, Any]:
        """The newest."""
        found = rows_of(self.engine, tables.subscription_orders, customer_id=self.customer_id)
        return max(found, key=lambda row: row["requested_at"])

    def moved(self, *kinds: str) -> list[tuple[str, int]]:
        """The transfers, or those of these kinds, oldest first."""
        found = rows_of(self.engine, tables.transfers, customer_id=self.customer_id)
        return [(row["kind"], row["amount"]) for row in found if not kinds or row["kind"] in kinds]

    def included(self) -> list[int]:
        """How many credits each paid period brought."""
        found = rows_of(self.engine, tables.grants, customer_id=self.customer_id, source="included")
        return [row["granted"] for row in found]

    def cycles(self) -> list[tuple[int, str]]:
        found = rows_of(self.engine, tables.cycles, customer_id=self.customer_id)
        return [(row["number"], row["status"]) for row in found]

    def broken(self) -> list[str]:
        checks = verify(self.engine, self.gateway)
        return [f"{each.name}: {each.offenders}" for each in checks if not each.ok]

    # What Stripe says.

    @property
    def client(self) -> sdk.StripeClient:
        return self.sandbox.client()

    def paid(self) -> list[int]:
        """The sandbox's truth: the money that was taken from this customer."""
        taken = self.sandbox.payments(customer=self.stripe_customer, status="succeeded")
        return [each["amount"] for each in taken]

    def subscriptions(self) -> list[str]:
        """The states of all there ever were, oldest first."""
        wanted: Any = {"customer": self.stripe_customer, "status": "all", "limit": 100}
        return [each.status for each in self.client.v1.subscriptions.list(wanted).data][::-1]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What Stripe tells of this customer, oldest first."""
        told = self.sandbox.events_about(self.stripe_customer)
        return [each for each in told if not kinds or each["type"] in kinds]


def joined(
    engine: Engine,
    redis: Redis,
    sandbox: RunningSandbox,
    gateway: StripeGateway,
    *,
    card: str = "pm_card_visa",
    customer_id: str = "acme",
) -> Member:
    """Pays as they go, since noon of a tenth of January that is still to come at Stripe, too."""
    clock = Clock()
    begin = january_after(datetime.fromtimestamp(sandbox.now(), UTC))
    with engine.begin() as tx:
        move_clock(tx, begin - clock.wall())
    create_customer(customer_id, "payg", engine, clock)
    stripe_customer = customer_at_stripe(customer_id, engine.begin, gateway)
    member = Member(customer_id, stripe_customer, engine, redis, sandbox, gateway, clock, begin)
    sandbox.advance(int(begin.timestamp()) - sandbox.now(), stripe_customer)
    member.use_card(card)
    return member


def january_after(now: datetime) -> datetime:
    """Far from the end of any month, and no month to come is longer than in any other year."""
    year = now.year + 1
    return datetime(year, 1, 10, 12, tzinfo=UTC)


class DyingGateway(HastyGateway):
    """The process dies at one call: before Stripe hears of it, or before the answer is read."""

    def __init__(self, sandbox: RunningSandbox, call: str, *, heard: bool) -> None:
        super().__init__(sandbox)
        self.deadly, self.heard = call, heard

    def until(self, call: str, request: Callable[[], Reply]) -> Reply:
        if call != self.deadly:
            return request()
        if self.heard:
            with suppress(StripeRefused):
                request()
        raise Died

    def create_subscription(self, parameters: Mapping[str, Any], key: str) -> StripeSubscription:
        create = super().create_subscription
        return self.until("create", lambda: create(parameters, key))

    def pay_invoice(self, invoice_id: str, key: str) -> None:
        pay = super().pay_invoice
        return self.until("pay", lambda: pay(invoice_id, key))

    def cancel_subscription(self, subscription_id: str) -> StripeSubscription:
        cancel = super().cancel_subscription
        return self.until("cancel", lambda: cancel(subscription_id))

    def end_with_period(self, subscription_id: str, *, ends: bool) -> StripeSubscription:
        end = super().end_with_period
        return self.until("end", lambda: end(subscription_id, ends=ends))

    def subscription(self, subscription_id: str) -> StripeSubscription:
        retrieve = super().subscription
        return self.until("subscription", lambda: retrieve(subscription_id))

    def invoice(self, invoice_id: str) -> StripeInvoice:
        retrieve = super().invoice
        return self.until("invoice", lambda: retrieve(invoice_id))


def dies(life: Callable[[StripeGateway], object], member: Member, call: str, heard: bool) -> None:
    """At this call, if it comes to it; somebody else goes on."""
    with suppress(Died):
        life(DyingGateway(member.sandbox, call, heard=heard))


def assert_subscribed_once(member: Member) -> None:
    """Stripe took 599 dollars once; we have booked them, and given ten credits for them, once."""
    assert member.paid() == [MONTHLY]
    assert member.moved("invoice", "pay") == BOOKED
    assert member.included() == [10]
    book = member.book
    assert (book["plan"], book["subscription_status"]) == ("pro", "active")
    assert member.order["status"] == "done"
    assert member.broken() == []


def assert_never_charged(member: Member) -> None:
    """Whatever is left at Stripe, no card is charged in the forty days to come."""
    member.pass_time(timedelta(days=40))
    member.hear()
    assert member.paid() == []
    assert set(member.subscriptions()) <= {"canceled", "incomplete_expired"}
    assert member.book["plan"] == "payg"
    assert (member.book["subscription_id"], member.included()) == (None, [])
    assert member.broken() == []
