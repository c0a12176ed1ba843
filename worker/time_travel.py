"""The life of a test clock: business time passes, ours and the sandbox's together.

However far it goes, it stops wherever something falls due and lets that happen, as it would have
happened by itself. Only the sandbox's clock can be moved, so this is refused beside Stripe itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import urllib3
from sqlalchemy import Engine

from worker.billing.drift import Window
from worker.customers import customer_at_stripe
from worker.due import Tools, sweep
from worker.inbox import Inbox
from worker.reconcile import follow_events
from worker.rollover import roll_over_due
from worker.statement import write_statements
from worker.storage.clock import how_far_ahead, lead_of, move_clock, move_clock_of, next_due

SECOND = timedelta(seconds=1)
END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)
# Whatever one of these leads to, another one of them does; so they are rung until all is quiet.
RUNG = (
    "stripe_event",
    "subscription_order",
    "charge",
    "withdrawal",
    "refund",
    "top_up",
    "held_fix",
)


class ClockProblem(ValueError):
    """The clock cannot be moved like this; the message says why."""


@dataclass(frozen=True, slots=True)
class SandboxClock:
    """The sandbox's, of everyone or of one customer."""

    api_base: str
    stripe_customer: str | None = None

    def read(self) -> dict[str, Any]:
        query = f"?customer={self.stripe_customer}" if self.stripe_customer else ""
        return self._ask("GET", query)

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.read()["now"], UTC)

    def next(self) -> timedelta | None:
        """How far away the next thing is that will happen at the sandbox."""
        seen = self.read()
        return None if seen["next"] is None else timedelta(seconds=seen["next"] - seen["now"])

    def advance(self, by: timedelta) -> None:
        wish = {"advance": int(by.total_seconds())}
        self._ask(
            "POST", "", wish | ({"customer": self.stripe_customer} if self.stripe_customer else {})
        )

    def _ask(self, method: str, query: str, wish: dict[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.api_base}/_sandbox/clock{query}"
        body = json.dumps(wish) if wish else None
        try:
            reply = urllib3.request(method, url, body=body, timeout=60.0)
        except urllib3.exceptions.HTTPError as error:
            raise ClockProblem(f"the sandbox does not answer at {self.api_base}") from error
        if reply.status != 200:
            raise ClockProblem(f"the sandbox's clock does not move: {reply.data.decode()[:200]}")
        answer: dict[str, Any] = reply.json()
        return answer


def advance(by: timedelta, tools: Tools, api_base: str, customer_id: str | None = None) -> int:
    """Let so much time pass, in whole seconds; how often it stopped.

    Raises ClockProblem, CustomerProblem, StripeRefused.
    """
    if by < SECOND:
        raise ClockProblem("time passes forward, by a second or more")
    sandbox = SandboxClock(api_base, stripe_customer_of(customer_id, tools))
    looked = sandbox.now()
    let_happen(tools, looked - timedelta(days=1))
    stops = 0
    for step in steps(by, tools, sandbox, customer_id):
        move(step, tools.engine, customer_id)
        sandbox.advance(step)
        since, looked = looked, sandbox.now()  # time passes by itself, too, while we look
        let_happen(tools, since)
        stops += 1
    return stops


def steps(
    by: timedelta, tools: Tools, sandbox: SandboxClock, customer_id: str | None
) -> Iterator[timedelta]:
    """From one thing that falls due to the next."""
    left = timedelta(seconds=int(by.total_seconds()))
    while left:
        with tools.engine.begin() as tx:
            ours = next_due(tx, tools.clock.now(), customer_id)
        ahead = [each for each in (ours, sandbox.next()) if each is not None]
        whole = max(1, ceil(min(ahead, default=left).total_seconds()))
        step = min(left, timedelta(seconds=whole))
        left -= step
        yield step


def move(by: timedelta, engine: Engine, customer_id: str | None) -> None:
    with engine.begin() as tx:
        if customer_id is None:
            move_clock(tx, by)
        else:
            move_clock_of(tx, customer_id, by)


def let_happen(tools: Tools, since: datetime) -> None:
    """All that is due now, and all that follows from it; also of customers who are ahead."""
    events = tools.stripe.events(Window(since, END_OF_TIME))
    for _ in follow_events(events, tools.engine, tools.stripe, tools.clock):
        pass  # webhooks bring the same; whoever comes first
    while sum(sweep(kind, tools) for kind in RUNG) + roll_over_due(
        tools.engine, Inbox(tools.redis), tools.clock, all_now=True
    ):
        pass
    sweep("fee", tools)
    write_statements(tools.engine, tools.clock)


def stripe_customer_of(customer_id: str | None, tools: Tools) -> str | None:
    """Made there if need be: who came to Stripe later would not be ahead there."""
    if customer_id is None:
        return None
    return customer_at_stripe(customer_id, tools.engine.begin, tools.stripe)


def business_time(tools: Tools, customer_id: str | None) -> datetime:
    """Of the stack, or of one customer; raises ClockProblem."""
    with tools.engine.begin() as tx:
        ahead = how_far_ahead(tx) if customer_id is None else lead_of(tx, customer_id)
    if ahead is None:
        raise ClockProblem(f"there is no customer {customer_id}")
    return tools.clock.now() + ahead
