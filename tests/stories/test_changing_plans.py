"""Changing plans: the table in docs/plans.md, row by row, against the sandbox and its clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.answers import Usage
from tests.builders import HOUR, deployed, entry, settle_entries
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from worker.billing.orders import PlanProblem
from worker.clock import Clock
from worker.customers import (
    add_payment_method,
    create_customer,
    grant_credits,
    lose_payment_method,
)
from worker.due import Tools
from worker.leave import cancel_customer
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.time_travel import advance, business_time
from worker.usage.current import current_usage
from worker.usage.verify import verify

DOCS = Path(__file__).parents[2] / "docs" / "plans.md"


@pytest.fixture(scope="module")
def own_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One whose clock no other test moves."""
    with running_sandbox(tmp_path_factory.mktemp("plans")) as one:
        yield one


@dataclass
class Customer:
    """One customer with a clock of their own."""

    tools: Tools
    sandbox: RunningSandbox
    numbers: Iterator[int]

    @property
    def now(self) -> datetime:
        return business_time(self.tools, "acme")

    def fixes(self, how_many: int) -> None:
        """So many reach main now, and are accepted at once."""
        wall = self.tools.clock.now()
        events = [deployed(f"fix-{next(self.numbers)}", at=self.now) for _ in range(how_many)]
        settle_entries(self.tools.engine, [entry(each, at=wall) for each in events], now=wall)

    def adds_card(self, card: str = "pm_card_visa") -> None:
        tools = self.tools
        add_payment_method("acme", card, tools.engine, tools.stripe, tools.clock)

    def asks_for(self, plan: str, *, at_once: bool = False) -> None:
        tools = self.tools
        set_plan("acme", plan, tools.engine, tools.stripe, tools.clock, at_once=at_once)

    def is_given(self, number: int) -> None:
        grant_credits("acme", number, "gift", None, self.tools.engine, self.tools.clock)

    def waits(self, by: timedelta) -> None:
        advance(by, self.tools, self.sandbox.url, "acme")

    def waits_until_the_period_ends(self) -> None:
        self.waits(self.usage.cycle.end - self.now + timedelta(seconds=1))

    def leaves(self) -> None:
        cancel_customer("acme", self.tools.engine, self.tools.stripe, self.tools.clock)

    @property
    def usage(self) -> Usage:
        with self.tools.engine.begin() as tx:
            found = current_usage(tx, "acme", self.tools.clock.now(), None)
        assert found is not None
        return found

    def paid_at_stripe(self) -> int:
        paid = self.sandbox.payments(status="succeeded")
        with self.tools.engine.begin() as tx:
            mine = tx.exec_driver_sql("SELECT stripe_customer FROM customers").scalar()
        return sum(each["amount"] for each in paid if each["customer"] == mine)

    @property
    def standing(self) -> str:
        plan = self.usage.plan
        return plan.code if plan.standing == "good" else f"{plan.code}, {plan.standing}"


# What leads to each row, and the change itself.


def trial(customer: Customer) -> None:
    customer.fixes(6)


def payg(customer: Customer, credits: int = 0, held: int = 0) -> None:
    """The ten credits of sign-up and card are used up."""
    customer.fixes(5)
    customer.adds_card()
    customer.fixes(5)
    if credits:
        customer.is_given(credits)
    if held:
        hold(customer, held)


def hold(customer: Customer, how_many: int) -> None:
    """While there was no card; nobody has agreed to pay for them."""
    lose_payment_method("acme", customer.tools.engine, customer.tools.clock)
    customer.fixes(how_many)
    customer.adds_card()


def pro(customer: Customer, used: int = 0) -> None:
    payg(customer)
    customer.asks_for("pro")
    customer.fixes(used)


Deed = Callable[[Customer], None]


def in_turn(*deeds: Deed) -> Deed:
    def all_of_them(customer: Customer) -> None:
        for deed in deeds:
            deed(customer)

    return all_of_them


def declining(customer: Customer) -> None:
    customer.adds_card("pm_card_chargeCustomerFail")


def go_pro(customer: Customer) -> None:
    customer.asks_for("pro")


def end_with_period(customer: Customer) -> None:
    customer.asks_for("payg")


def end_now(customer: Customer) -> None:
    customer.asks_for("payg", at_once=True)


def fix(customer: Customer) -> None:
    customer.fixes(1)


def two_hours(customer: Customer) -> None:
    customer.waits(2 * HOUR)


def with_credits(customer: Customer) -> None:
    payg(customer, credits=2)


def with_held(customer: Customer) -> None:
    payg(customer, held=3)


def used_up(customer: Customer) -> None:
    pro(customer, used=10)


period_ends = Customer.waits_until_the_period_ends
past_due = in_turn(used_up, declining, period_ends, fix, two_hours)
ROWS: dict[str, tuple[Deed, Deed]] = {
    "a trial adds its first card": (trial, Customer.adds_card),
    "a trial without a card asks for pro": (trial, go_pro),
    "payg begins pro": (with_credits, go_pro),
    "payg with held fixes begins pro": (with_held, go_pro),
    "payg begins pro and its card is declined": (in_turn(with_credits, declining), go_pro),
    "pro is asked for a second time": (pro, go_pro),
    "pro is to end with its period": (pro, end_with_period),
    "the period after which pro ends is over": (in_turn(pro, end_with_period), period_ends),
    "pro was to end and goes on after all": (in_turn(pro, end_with_period), go_pro),
    "pro ends now": (pro, end_now),
    "payg that was pro begins pro again": (in_turn(pro, end_now, two_hours), go_pro),
    "a fix in the renewal hour, with a credit left": (in_turn(pro, period_ends), fix),
    "a fix in the renewal hour, without a credit": (in_turn(used_up, period_ends), fix),
    "the renewal is paid": (in_turn(used_up, period_ends, fix), two_hours),
    "the renewal is declined": (in_turn(used_up, declining, period_ends, fix), two_hours),
    "a past-due renewal is paid": (
        in_turn(past_due, Customer.adds_card),
        lambda customer: customer.waits(timedelta(days=4)),  # Stripe tries again after three
    ),
    "the renewal is never paid": (
        past_due,
        lambda customer: customer.waits(timedelta(days=20)),  # and gives up after fifteen
    ),
    "pro leaves for good": (pro, Customer.leaves),
}


def documented() -> dict[str, list[str]]:
    """The rows of the table, by what changes."""
    section = DOCS.read_text("utf-8").split("## Changing plans")[1].split("## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {change: cells for change, *cells in rows}


def test_every_documented_change_is_tried_out() -> None:
    assert list(documented()) == list(ROWS)


@pytest.mark.parametrize("change", ROWS)
def test_a_change_of_plan_does_what_the_table_says(
    change: str, engine: Engine, redis: Redis, own_sandbox: RunningSandbox
) -> None:
    gateway = StripeGateway(own_sandbox.api_key, own_sandbox.url)
    customer = Customer(Tools(engine, redis, gateway, Clock()), own_sandbox, count(1))
    create_customer("acme", "trial", engine, Clock())
    before, deed = ROWS[change]
    before(customer)
    then, paid = customer.usage, customer.paid_at_stripe()

    with suppress(PlanProblem):  # the table says that nothing changes then
        deed(customer)

    now = customer.usage
    cost = customer.paid_at_stripe() - paid
    assert [
        f"{then.credits.balance} → {now.credits.balance}",
        f"{then.held_now} → {now.held_now}",
        f"${cost / 100:.2f}" if cost else "–",
        customer.standing.replace("_", " "),
    ] == documented()[change]
    assert [check.name for check in verify(engine, gateway) if not check.ok] == []
