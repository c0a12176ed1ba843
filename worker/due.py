"""Table of contents of all that can fall due. Beat rings for each line; nothing else does.

A line's work is found in Postgres or the inbox, never in a message: beat may ring twice or not for
a week, and what was due happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from redis import Redis
from sqlalchemy import Engine
from structlog import get_logger

from worker import telemetry
from worker.clock import Clock
from worker.collect import collect
from worker.inbox import Inbox
from worker.settle import settle_backlog, settle_parked
from worker.storage.backlog import due_backlogs
from worker.storage.charges import claim_due_charges
from worker.storage.parked import parked
from worker.storage.stripe_events import claim_due_events
from worker.storage.waiting import due_waiting
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway

log = get_logger()

BATCH = 100  # rows of one kind a sweep takes on before it looks again


@dataclass(frozen=True, slots=True)
class Tools:
    """What the lives of a process work with."""

    engine: Engine
    redis: Redis
    stripe: StripeGateway
    clock: Clock


@dataclass(frozen=True, slots=True)
class Due:
    """One kind of row that falls due."""

    find: Callable[[Tools], Iterable[Any]]
    live: Callable[[Any, Tools], object]
    every: float  # seconds


def charges(tools: Tools) -> Iterable[Any]:
    with tools.engine.begin() as tx:
        return claim_due_charges(tx, tools.clock.now(), tools.clock.wall(), BATCH)


def stripe_events(tools: Tools) -> Iterable[Any]:
    with tools.engine.begin() as tx:
        return claim_due_events(tx, tools.clock.wall(), BATCH)


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
    "charge": Due(charges, lambda key, t: collect(key, t.engine, t.stripe, t.clock), 1),
    "stripe_event": Due(
        stripe_events, lambda key, t: apply_stripe_event(key, t.engine, t.stripe, t.clock), 1
    ),
    "held_fix": Due(held_fixes, lambda key, t: settle_backlog(key, t.engine, t.clock.now()), 5),
    "waiting_fix": Due(
        waiting_fixes, lambda key, t: settle_backlog(key, t.engine, t.clock.now()), 2
    ),
    "parked_entry": Due(
        parked_entries, lambda entry, t: settle_parked(entry, t.engine, t.clock.now()), 2
    ),
    "retention": Due(whole_inbox, lambda inbox, t: inbox.trim(t.clock.wall()), 600),
}


def sweep(kind: str, tools: Tools) -> int:
    """Do what is due of this kind; one row that fails does not stop the others."""
    due = DUE[kind]
    done = 0
    for key in due.find(tools):
        try:
            with telemetry.span(kind):
                due.live(key, tools)
                log.info("due_row_done", kind=kind, key=str(key))
            result = "done"
            done += 1
        except Exception:
            log.error("due_row_failed", kind=kind, key=str(key), exc_info=True)
            result = "failed"
        telemetry.swept.add(1, {"kind": kind, "result": result})
    return done
