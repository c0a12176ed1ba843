"""Table of contents of all that can fall due. Beat rings for each line; nothing else does.

A line's work is found in Postgres or the inbox, never in a message: beat may ring twice or not for
a week, and what was due happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from time import monotonic
from typing import Any

from redis import Redis
from sqlalchemy import Connection, Engine
from structlog import get_logger

from worker import telemetry
from worker.billing.policy import DEFAULT_BREAKER, Breaker
from worker.clock import Clock
from worker.collect import collect
from worker.fees import import_fees
from worker.inbox import Inbox
from worker.reconcile import reconcile, swept_window
from worker.refund import refund
from worker.rollover import roll_over_due
from worker.settle import settle_backlog, settle_parked
from worker.statement import write_statements
from worker.storage.backlog import due_backlogs
from worker.storage.charges import claim_due_charges, claim_withdrawals
from worker.storage.clock import how_far_ahead
from worker.storage.orders import claim_due_orders
from worker.storage.parked import parked
from worker.storage.refunds import claim_due_refunds
from worker.storage.stripe_events import claim_due_events
from worker.storage.top_ups import claim_due_top_ups
from worker.storage.waiting import due_waiting
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.subscribe import carry_out
from worker.top_up import collect_top_up
from worker.withdraw import withdraw

log = get_logger()

BATCH = 100  # rows of one kind a sweep takes on before it looks again
SWEEP_SECONDS = 30  # it ends after this long, and the next bell goes on


@dataclass(frozen=True, slots=True)
class Tools:
    """What the lives of a process work with."""

    engine: Engine
    redis: Redis
    stripe: StripeGateway
    clock: Clock
    breaker: Breaker = DEFAULT_BREAKER
    collectors: int = 4  # rows about which Stripe is asked at the same time

    def ahead(self) -> timedelta:
        """How far the stack's business time, and its sandbox's, is ahead of the wall's."""
        with self.engine.begin() as tx:
            return how_far_ahead(tx)


@dataclass(frozen=True, slots=True)
class Due:
    """One kind of row that falls due."""

    find: Callable[[Tools], Iterable[Any]]
    live: Callable[[Any, Tools], object]
    every: float  # seconds
    asks_stripe: bool = False  # its rows wait for Stripe more than they work
    turn: Lock = field(default_factory=Lock)  # one sweep of a kind at a time


Claim = Callable[[Connection, datetime, datetime, int], Iterable[Any]]


def claimed_by(claim: Claim) -> Callable[[Tools], Iterable[Any]]:
    """Rows are leased a few at a time: a process that dies keeps no more from the others."""

    def find(tools: Tools) -> Iterable[Any]:
        with tools.engine.begin() as tx:
            return claim(tx, tools.clock.now(), tools.clock.wall(), tools.collectors)

    return find


def claimed_by_wall(
    claim: Callable[[Connection, datetime, int], Iterable[Any]],
) -> Callable[[Tools], Iterable[Any]]:
    """The same for rows that no business clock moves."""

    def find(tools: Tools) -> Iterable[Any]:
        with tools.engine.begin() as tx:
            return claim(tx, tools.clock.wall(), tools.collectors)

    return find


def held_fixes(tools: Tools) -> Iterable[Any]:
    with tools.engine.begin() as tx:
        return due_backlogs(tx, tools.clock.now(), BATCH)


def waiting_fixes(tools: Tools) -> Iterable[Any]:
    with tools.engine.begin() as tx:
        return due_waiting(tx, BATCH)


def parked_entries(tools: Tools) -> Iterable[Any]:
    with tools.engine.begin() as tx:
        return parked(tx, BATCH)


def whole_inbox(tools: Tools) -> Iterable[Any]:
    return [Inbox(tools.redis)]


DUE = {
    "charge": Due(
        claimed_by(claim_due_charges),
        lambda key, t: collect(key, t.engine, t.stripe, t.clock, t.breaker),
        every=1,
        asks_stripe=True,
    ),
    "withdrawal": Due(
        claimed_by(claim_withdrawals),
        lambda key, t: withdraw(key, t.engine, t.stripe, t.clock),
        every=1,
        asks_stripe=True,
    ),
    "refund": Due(
        claimed_by(claim_due_refunds),
        lambda key, t: refund(key, t.engine, t.stripe, t.clock),
        every=1,
        asks_stripe=True,
    ),
    "stripe_event": Due(
        claimed_by_wall(claim_due_events),
        lambda key, t: apply_stripe_event(key, t.engine, t.stripe, t.clock),
        every=1,
        asks_stripe=True,
    ),
    "subscription_order": Due(
        claimed_by_wall(claim_due_orders),
        lambda key, t: carry_out(key, t.engine, t.stripe, t.clock),
        every=2,
        asks_stripe=True,
    ),
    "top_up": Due(
        claimed_by_wall(claim_due_top_ups),
        lambda key, t: collect_top_up(key, t.engine, t.stripe, t.clock),
        every=2,
        asks_stripe=True,
    ),
    "cycle": Due(
        whole_inbox,
        lambda inbox, t: roll_over_due(t.engine, inbox, t.clock, seconds=SWEEP_SECONDS),
        every=2,
    ),
    "statement": Due(
        lambda tools: [tools.clock],
        lambda clock, t: write_statements(t.engine, clock, seconds=SWEEP_SECONDS),
        every=5,
    ),
    "held_fix": Due(held_fixes, lambda key, t: settle_backlog(key, t.engine, t.clock.now()), 5),
    "waiting_fix": Due(
        waiting_fixes, lambda key, t: settle_backlog(key, t.engine, t.clock.now()), 2
    ),
    "parked_entry": Due(
        parked_entries, lambda entry, t: settle_parked(entry, t.engine, t.clock.now()), 2
    ),
    "reconcile": Due(
        lambda tools: [swept_window(tools.clock, tools.ahead())],
        lambda window, t: reconcile(window, t.engine, t.stripe, t.clock),
        every=3600,
    ),
    "fee": Due(
        lambda tools: [swept_window(tools.clock, tools.ahead()).until],
        lambda until, t: import_fees(until, t.engine, t.stripe, t.clock),
        every=600,
    ),
    "retention": Due(whole_inbox, lambda inbox, t: inbox.trim(t.clock.wall()), 600),
}


def sweep(kind: str, tools: Tools) -> int:
    """Do what is due of this kind; how many rows were done. While one sweeps, a second returns."""
    due = DUE[kind]
    if not due.turn.acquire(blocking=False):
        return 0
    try:
        with ThreadPoolExecutor(tools.collectors if due.asks_stripe else 1) as pool:
            return sum(
                sum(pool.map(lambda key: done(kind, key, tools), keys))
                for keys in batches(due, tools)
            )
    finally:
        due.turn.release()


def batches(due: Due, tools: Tools) -> Iterator[list[Any]]:
    """What is due, until nothing new is or the time is up; a row that failed keeps its lease."""
    until = monotonic() + SWEEP_SECONDS
    seen: set[Any] = set()
    while monotonic() < until:
        keys = list(due.find(tools))
        yield keys  # also those that fell due again meanwhile: whatever is found is leased to us
        if not due.asks_stripe or seen.issuperset(keys):
            return
        seen.update(keys)


def done(kind: str, key: Any, tools: Tools) -> bool:
    """One row; that it fails does not stop the others."""
    try:
        with telemetry.span(kind):
            DUE[kind].live(key, tools)
            log.info("due_row_done", kind=kind, key=str(key))
    except Exception:
        log.error("due_row_failed", kind=kind, key=str(key), exc_info=True)
        telemetry.swept.add(1, {"kind": kind, "result": "failed"})
        return False
    telemetry.swept.add(1, {"kind": kind, "result": "done"})
    return True
