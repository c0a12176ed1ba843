"""The product on Postgres and at Stripe's sandbox: every step of a customer is one of its lives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from schemas.inbox import partition_of
from schemas.money import Money
from tests.billing.lives import Paid, Standing
from tests.billing.memory import Memory
from tests.billing.model import HOUR
from tests.builders import NOW, UNSIGNED, rows_of
from tests.sandbox.sandbox_process import RunningSandbox
from tests.sandbox.subscribers import advance_to
from worker.billing.charges import ChargeStatus
from worker.billing.cycles import CycleRow, CycleStatus
from worker.billing.fix import Arrival, Fix
from worker.billing.grants import Grant
from worker.billing.ledger import Transfer
from worker.billing.orders import Order
from worker.clock import Clock
from worker.collect import collect
from worker.customers import (
    accept_held,
    add_payment_method,
    create_customer,
    grant_credits,
    lose_payment_method,
    set_spending_cap,
)
from worker.refund import refund, request_refund
from worker.rollover import roll_over
from worker.settle import settle
from worker.storage import tables
from worker.storage.books import read_book
from worker.storage.charges import ChargeKey
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.subscription import follow_invoice, follow_subscription


@dataclass(frozen=True, slots=True)
class At(Clock):
    """Business time stands at a moment."""

    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment


class AtStripe:
    """A subscription in the sandbox, whose clock is taken along."""

    pays_after: timedelta | None = HOUR  # as Stripe does; its card never declines here

    def __init__(self, subscription_id: str, books: OnPostgres) -> None:
        self.id, self.books = subscription_id, books
        self.told: set[str | None] = set()
        self.look()

    def look(self) -> None:
        self.seen = self.books.stripe.subscription(self.id)
        self.invoice = self.books.stripe.invoice(self.seen.invoice_id or "")
        self.ended = self.seen.ended_at

    @property
    def ends(self) -> bool:
        return self.seen.cancel_at_period_end

    @ends.setter
    def ends(self, ends: bool) -> None:
        self.books.stripe.end_with_period(self.id, ends=ends)
        self.look()

    def next(self) -> datetime | None:
        if self.ended:
            return None
        unpaid = self.invoice.invoice_id not in self.told
        return self.invoice.period_start + HOUR if unpaid else self.seen.period_end

    def go_on(self, now: datetime) -> Paid | Standing:
        advance_to(self.books.sandbox, int(now.timestamp()))
        self.look()
        due = self.invoice.status == "paid" and self.invoice.invoice_id not in self.told
        return self.pay() if due else self.standing()

    def pay(self) -> Paid:
        invoice, seen = self.invoice, self.seen
        self.told.add(invoice.invoice_id)
        times = seen.anchor, invoice.period_start, invoice.period_end
        sold = self.books.stripe.sold_by(invoice.prices[0])
        assert sold is not None
        money = invoice.money.amount
        return Paid(self.id, *times, *sold, money, invoice.invoice_id, self.ends, self.ended)

    def cancel(self, now: datetime) -> Standing:
        advance_to(self.books.sandbox, int(now.timestamp()))
        self.books.set_plan("payg", now, at_once=True)  # nothing to do if its period is over
        self.look()
        return self.standing()

    def standing(self) -> Standing:
        seen = self.seen
        times = seen.anchor, seen.period_start, seen.period_end
        return Standing(self.id, *times, self.ends, self.ended)


@dataclass
class OnPostgres:
    """The product: every step is one of its lives."""

    engine: Engine
    sandbox: RunningSandbox
    stripe: StripeGateway

    @property
    def memory(self) -> Memory:
        """What stands in the tables."""
        with self.engine.begin() as tx:
            standing = read_book(tx, "acme")
        assert standing is not None
        grants = [Grant(**row) for row in rows_of(self.engine, tables.grants)]
        fixes = [Fix(**row) for row in rows_of(self.engine, tables.fixes)]
        rows = [cycle_from(row) for row in rows_of(self.engine, tables.cycles)]
        return Memory(
            books={"acme": standing},
            fixes={("acme", each.fix_id): each for each in fixes},
            grants={("acme", each.grant_id): each for each in grants},
            cycles={("acme", each.number): each for each in rows},
            transfers=[Transfer(**row) for row in rows_of(self.engine, tables.transfers)],
        )

    def settle(self, arrivals: list[Arrival], now: datetime) -> None:
        with self.engine.connect() as connection:
            settle([each.entry for each in arrivals], connection, now, UNSIGNED)

    def sweep(self, until: datetime, now: datetime) -> None:
        roll_over(["acme"], self.engine, {partition_of("acme"): until}, At(moment=now))

    def move_clock(self, by: timedelta) -> None:
        raise NotImplementedError("Stripe's clock would have to follow")

    def give(self, key: str, number: int, expires_in: timedelta | None, now: datetime) -> None:
        grant_credits("acme", number, key, expires_in, self.engine, At(moment=now))

    def add_card(self, now: datetime) -> None:
        add_payment_method("acme", "pm_card_visa", self.engine, self.stripe, At(moment=now))

    def lose_card(self, now: datetime) -> None:
        lose_payment_method("acme", self.engine, At(moment=now))

    def accept_held(self, now: datetime) -> None:
        accept_held("acme", self.engine, At(moment=now))

    def set_cap(self, cents: int | None, now: datetime) -> None:
        cap = None if cents is None else Money(cents, "usd")
        set_spending_cap("acme", cap, self.engine, At(moment=now))

    def collect(self, now: datetime) -> str | None:
        owed = rows_of(self.engine, tables.charges, status="open")
        key = ChargeKey("acme", owed[0]["charge_id"] if owed else "")
        if owed and collect(key, self.engine, self.stripe, At(moment=now)) is ChargeStatus.PAID:
            return key.charge_id
        return None

    def refund(self, charge_id: str, now: datetime) -> None:
        key = request_refund(ChargeKey("acme", charge_id), self.engine, At(moment=now))
        refund(key, self.engine, self.stripe, At(moment=now))

    def set_plan(self, plan: str, now: datetime, *, at_once: bool = False) -> Order | None:
        return set_plan("acme", plan, self.engine, self.stripe, At(moment=now), at_once=at_once)

    def subscribe(self, _: int, now: datetime) -> AtStripe:
        advance_to(self.sandbox, int(now.timestamp()))
        order = self.set_plan("pro", now)
        assert order is not None
        assert order.subscription_id is not None
        return AtStripe(order.subscription_id, self)

    def hear(self, told: Paid | Standing, now: datetime) -> None:
        """Webhooks say it again, whoever knew it first."""
        if isinstance(told, Paid):
            follow_invoice(told.invoice, self.engine, self.stripe, At(moment=now))
        else:
            follow_subscription(told.subscription, self.engine, self.stripe, At(moment=now))


def cycle_from(row: dict[str, Any]) -> CycleRow:
    del row["follows"]
    return CycleRow(**row | {"status": CycleStatus(row["status"])})


def begin(engine: Engine, sandbox: RunningSandbox, start: datetime) -> OnPostgres:
    """acme, on trial."""
    create_customer("acme", "trial", engine, At(moment=start))
    return OnPostgres(engine, sandbox, StripeGateway(sandbox.api_key, sandbox.url))


def time_at_stripe(sandbox: RunningSandbox) -> datetime:
    """Where the next history begins."""
    return datetime.fromtimestamp(sandbox.now() + 1, UTC)
