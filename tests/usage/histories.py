"""Random histories of one customer on Postgres; what Stripe says to them is made up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from hypothesis import strategies as st
from sqlalchemy import Engine

from schemas.money import Money
from tests.builders import (
    HOUR,
    NOW,
    add_customer,
    deployed,
    give_credits,
    reverted,
    rows_of,
    settle_events,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.payments import book_unapplied
from worker.billing.refunds import RefundProblem
from worker.billing.stripe_objects import StripeDispute, StripeRefund
from worker.charges import retry_charge, write_off_charge
from worker.clock import Clock
from worker.collect import freeze, record
from worker.customers import open_book
from worker.dispute import record_dispute
from worker.refund import record_refund, request_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.post import post
from worker.storage.refunds import Payer, read_refund
from worker.stripe_gateway import StripeGateway

CLOCK = Clock(NOW - datetime.now(UTC))
NOBODY = StripeGateway("sk_test_nobody")


@dataclass
class World:
    """One customer, and all that Stripe has ever said of them."""

    engine: Engine
    customer_id: str
    fixes: int = 0
    numbers: int = 0
    returned: list[StripeRefund] = field(default_factory=list)
    disputed: list[StripeDispute] = field(default_factory=list)

    def next(self, prefix: str) -> str:
        self.numbers += 1
        return f"{prefix}_{self.customer_id}_{self.numbers}"

    def charges(self, *statuses: str) -> list[dict[str, Any]]:
        rows = rows_of(self.engine, tables.charges, customer_id=self.customer_id)
        return [row for row in rows if row["status"] in statuses]

    def key(self, row: dict[str, Any]) -> ChargeKey:
        return ChargeKey(self.customer_id, row["charge_id"])


def begin(engine: Engine, customer_id: str, credits: int) -> World:
    add_customer(engine, customer_id, credits=credits)
    return World(engine, customer_id)


class Deploy(NamedTuple):
    """So many fixes, perhaps reported twice."""

    fixes: int
    again: bool

    def take(self, world: World) -> None:
        for _ in range(self.fixes):
            world.fixes += 1
            fix_id = f"fix-{world.fixes}"
            events = [deployed(fix_id, world.customer_id, at=NOW - HOUR)]
            if self.again:
                events.append(deployed(fix_id, world.customer_id, id=world.next("again")))
            settle_events(world.engine, *events)


class Revert(NamedTuple):
    """The n-th last one; before the first, one that is reported next."""

    nth_last: int

    def take(self, world: World) -> None:
        fix_id = f"fix-{max(1, world.fixes - self.nth_last)}"
        event = reverted(fix_id, world.customer_id, id=world.next("revert"))
        settle_events(world.engine, event)


class Give(NamedTuple):
    credits: int

    def take(self, world: World) -> None:
        give_credits(world.engine, world.customer_id, self.credits, world.next("gift"), now=NOW)


class Collect(NamedTuple):
    """Stripe says this of the open charge, or of the one in flight."""

    says: AnswerKind | None

    def take(self, world: World) -> None:
        for row in world.charges("open", "frozen", "declined", "action_required")[:1]:
            key = world.key(row)
            if row["status"] in ("declined", "action_required"):
                retry_charge(key, world.engine, CLOCK)
            freeze(key, world.engine, NOBODY, CLOCK)
            (charge,) = rows_of(world.engine, tables.charges, charge_id=key.charge_id)
            if self.says is not None and charge["status"] == "frozen":
                intent = charge["payment_intent"] or world.next("pi")
                money = Money(charge["asked_amount"], "usd")
                customer = f"cus_{world.customer_id}"
                answer = Answer(self.says, intent, money, customer, code="a_code")
                record(key, answer, world.engine, CLOCK, lease_ends=True)


class Withdraw(NamedTuple):
    """Its intent is cancelled, or paid all the same."""

    paid: bool

    def take(self, world: World) -> None:
        for row in world.charges("withdrawing"):
            says = AnswerKind.SUCCEEDED if self.paid else AnswerKind.CANCELED
            money = Money(row["asked_amount"], "usd")
            intent = row["payment_intent"] or world.next("pi")
            answer = Answer(says, intent, money, f"cus_{world.customer_id}")
            record(world.key(row), answer, world.engine, CLOCK)


class Stray(NamedTuple):
    """Money that no charge explains."""

    cents: int

    def take(self, world: World) -> None:
        with world.engine.begin() as tx:
            journal, book = open_book(tx, world.customer_id, CLOCK)
            book_unapplied(journal, book, self.cents, world.next("pi"))
            post(tx, journal)


class Return(NamedTuple):
    """Somebody refunds so many hundredths of what is left, of the n-th last payment."""

    nth_last: int
    part: int
    more: int = 0  # cents: what does not come out even

    def take(self, world: World) -> None:
        paid = [row for row in world.charges("paid") if row["asked_amount"] > row["returned"]]
        for row in paid[-1 - self.nth_last :][:1]:
            left = row["asked_amount"] - row["returned"]
            money = Money(min(left, max(1, left * self.part // 100 + self.more)), "usd")
            went = StripeRefund(
                world.next("re"), row["payment_intent"], money, "succeeded", None, None, NOW
            )
            world.returned.append(went)
            record_refund(Payer(*world.key(row)), None, went, world.engine, CLOCK)


class ReturnFix(NamedTuple):
    """The operator refunds one fix of the last payment, if that may be."""

    nth: int

    def take(self, world: World) -> None:
        for row in world.charges("paid")[-1:]:
            lines = rows_of(
                world.engine, tables.charge_lines, charge_id=row["charge_id"], removed_at=None
            )
            for line in lines[self.nth : self.nth + 1]:
                self.refund(world, row, line["fix_id"])

    def refund(self, world: World, row: dict[str, Any], fix_id: str) -> None:
        try:
            asked = request_refund(world.key(row), world.engine, CLOCK, fix_id=fix_id)
        except RefundProblem:
            return
        with world.engine.begin() as tx:
            wanted = read_refund(tx, asked)
        went = StripeRefund(
            world.next("re"),
            row["payment_intent"],
            Money(wanted.amount, "usd"),
            "succeeded",
            wanted.refund_id,
            None,
            NOW,
        )
        world.returned.append(went)
        record_refund(Payer(*world.key(row)), wanted, went, world.engine, CLOCK)


class Fail(NamedTuple):
    """The bank would not take the last refund."""

    def take(self, world: World) -> None:
        if world.returned:
            went = world.returned.pop()
            (row,) = rows_of(world.engine, tables.charges, payment_intent=went.payment_intent)
            failed = went._replace(status="failed")
            record_refund(Payer(*world.key(row)), None, failed, world.engine, CLOCK)


class Dispute(NamedTuple):
    """The bank takes back so many hundredths of the last payment."""

    part: int

    def take(self, world: World) -> None:
        for row in [row for row in world.charges("paid") if row["asked_amount"]][-1:]:
            money = Money(max(1, row["asked_amount"] * self.part // 100), "usd")
            seen = StripeDispute(
                world.next("du"), row["payment_intent"], money, "needs_response", "fraud", NOW
            )
            world.disputed.append(seen)
            record_dispute(Payer(*world.key(row)), seen, world.engine, CLOCK)


class Decide(NamedTuple):
    """The bank has decided on the last dispute."""

    status: str

    def take(self, world: World) -> None:
        if world.disputed:
            seen = world.disputed.pop()._replace(status=self.status)
            (row,) = rows_of(world.engine, tables.charges, payment_intent=seen.payment_intent)
            record_dispute(Payer(*world.key(row)), seen, world.engine, CLOCK)


class WriteOff(NamedTuple):
    """What is open or declined is given up."""

    def take(self, world: World) -> None:
        for row in world.charges("open", "declined")[:1]:
            write_off_charge(world.key(row), world.engine, CLOCK)


class Pay(NamedTuple):
    """So many fixes, paid at once."""

    fixes: int

    def take(self, world: World) -> None:
        Deploy(self.fixes, again=False).take(world)
        Collect(AnswerKind.SUCCEEDED).take(world)


class Leave(NamedTuple):
    """So many fixes are owed and declined, one is taken back, and the rest moves on, or is paid."""

    fixes: int
    paid: bool

    def take(self, world: World) -> None:
        Deploy(self.fixes, again=False).take(world)
        Collect(AnswerKind.DECLINED).take(world)
        Revert(0).take(world)
        Withdraw(self.paid).take(world)


one_of = st.sampled_from
CREATION = st.one_of(
    st.builds(Deploy, one_of([1, 2, 3]), st.booleans()),
    st.builds(Pay, one_of([1, 2, 3])),
    st.builds(Pay, one_of([2, 3])),
    st.builds(Leave, one_of([1, 2, 3]), st.booleans()),
    st.builds(Stray, one_of([1000, 2900, 4011])),
)
AFTERMATH = st.one_of(
    st.builds(Revert, st.integers(0, 4)),
    st.builds(Return, one_of([0, 0, 1]), one_of([1, 33, 50, 100]), one_of([0, 1])),
    st.builds(ReturnFix, one_of([0, 1])),
    st.builds(Dispute, one_of([33, 100])),
    st.builds(Decide, one_of(["won", "lost"])),
    st.just(Fail()),
    st.builds(Collect, one_of([AnswerKind.SUCCEEDED, AnswerKind.NEEDS_CUSTOMER, None])),
    st.builds(Give, one_of([1, 1, 2])),
    st.just(WriteOff()),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Something happens, then something comes of it, a few times over."""
    rounds = draw(st.integers(1, 3))
    steps: list[Any] = []
    for _ in range(rounds):
        steps += draw(st.lists(CREATION, min_size=1, max_size=2))
        steps += draw(st.lists(AFTERMATH, min_size=2, max_size=4))
    return steps
