"""An installation whose time is moved, ours and its own sandbox's together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from redis import Redis
from sqlalchemy import Engine

from tests.builders import deployed, entry, one_row, rows_of, settle_entries
from tests.sandbox.sandbox_process import RunningSandbox
from worker.clock import Clock
from worker.customers import add_payment_method, create_customer, grant_credits
from worker.due import Tools
from worker.storage import tables
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.time_travel import advance, business_time
from worker.top_up import buy_credits
from worker.usage.verify import verify


@dataclass(frozen=True)
class World:
    """An installation whose time is moved, with no process in it that would do anything else."""

    tools: Tools
    sandbox: RunningSandbox
    numbers: Iterator[int]

    def joins(self, customer_id: str, card: str | None = "pm_card_visa") -> str:
        tools = self.tools
        create_customer(customer_id, "payg", tools.engine, tools.clock)
        if card is not None:
            add_payment_method(customer_id, card, tools.engine, tools.stripe, tools.clock)
        return customer_id

    def goes_pro(self, customer_id: str) -> None:
        tools = self.tools
        set_plan(customer_id, "pro", tools.engine, tools.stripe, tools.clock)

    def buys(self, customer_id: str, number: int) -> None:
        tools = self.tools
        buy_credits(customer_id, number, "key-1", tools.engine, tools.stripe, tools.clock)

    def is_given(self, customer_id: str, number: int, good_for: timedelta | None) -> None:
        tools = self.tools
        grant_credits(customer_id, number, "gift", good_for, tools.engine, tools.clock)

    def fixes(self, customer_id: str, how_many: int = 1) -> None:
        """So many reach main now, and are accepted at once."""
        wall, at = self.tools.clock.now(), self.now(customer_id)
        events = [
            deployed(f"fix-{next(self.numbers)}", customer_id, at=at) for _ in range(how_many)
        ]
        settle_entries(self.tools.engine, [entry(each, at=wall) for each in events], now=wall)

    def waits(self, by: timedelta, customer_id: str | None = None) -> int:
        return advance(by, self.tools, self.sandbox.url, customer_id)

    def waits_until(self, moment: datetime, customer_id: str | None = None) -> None:
        """In whole seconds, so that it is no earlier."""
        by = (moment - self.now(customer_id)).total_seconds()
        self.waits(timedelta(seconds=int(by) + 1), customer_id)

    def now(self, customer_id: str | None = None) -> datetime:
        return business_time(self.tools, customer_id)

    def ahead(self, customer_id: str) -> timedelta:
        lead: timedelta = self.book(customer_id)["clock_offset"]
        return lead

    # What the books say.

    def book(self, customer_id: str) -> dict[str, Any]:
        return one_row(self.tools.engine, tables.books, customer_id=customer_id)

    def rows(self, table: Any, customer_id: str) -> list[dict[str, Any]]:
        return rows_of(self.tools.engine, table, customer_id=customer_id)

    def kinds(self, customer_id: str) -> Counter[str]:
        return Counter(row["kind"] for row in self.rows(tables.transfers, customer_id))

    def broken(self) -> list[str]:
        checks = verify(self.tools.engine, self.tools.stripe)
        return [f"{each.name}: {each.offenders}" for each in checks if not each.ok]

    # What Stripe says.

    def stripe_customer(self, customer_id: str) -> str:
        row = one_row(self.tools.engine, tables.customers, customer_id=customer_id)
        return str(row["stripe_customer"])

    def paid(self, customer_id: str) -> list[int]:
        taken = self.sandbox.payments(
            customer=self.stripe_customer(customer_id), status="succeeded"
        )
        return [each["amount"] for each in taken]


def world_of(engine: Engine, redis: Redis, sandbox: RunningSandbox) -> World:
    gateway = StripeGateway(sandbox.api_key, sandbox.url)
    world = World(Tools(engine, redis, gateway, Clock()), sandbox, count(1))
    with engine.begin() as tx:  # the sandbox is ahead by what was moved in other tests
        lead = timedelta(seconds=sandbox.now() - int(Clock().now().timestamp()))
        tx.execute(tables.clock.insert().values(one=True, ahead=lead))
    return world
