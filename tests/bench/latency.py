"""From publishing to settled, at fixed rates: our worker beside a Celery task for each event.

A latency runs from the moment at which an event was due to be sent, so that a late sender hides
nothing, to its row's commit record (`track_commit_timestamp`). The flush of that record to disk
comes after it and is left out on both sides, which favours whoever commits each event by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from statistics import median
from typing import Any, Literal

import psycopg
from redis import Redis

from tests.bench import celery_peer, children
from tests.bench.bed import CUSTOMERS, Bed, measured, vacuum
from tests.bench.figures import Effort, Figures, p99
from tests.bench.pipelines import Pipelines, fill
from tests.stack import Database

RATES = (20, 200, 1000)  # events per second
SECONDS = 6  # at each rate
WARM_UP, WARM_UP_RATE, WARM_WITHIN = 100, 200, 30.0
# Settled before anybody begins: in tables that are almost empty, Postgres looks nothing up.
HISTORY, HISTORY_FROM = 10_000, 1_000_000
# A side that does not keep up is not waited for any longer; what is left counts as settled then.
PATIENCE = 10.0
ASK_EVERY = 0.25

NUMBER = "substr(fix_id, 5)::int"
COMMITTED_AT = "extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    door: Literal["fixbill", "celery"]
    table: str


OURS = Side("latency", "fixbill", "fixes")
PEER = Side("latency.celery_task", "celery", "fixes")


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    for _ in range(effort.rounds):
        for side in (OURS, PEER):
            with running(side, bed) as trial:
                trial.warm_up()
                measure_at_rates(trial, effort.of(SECONDS), figures)


def measure_at_rates(trial: Trial, seconds: int, figures: Figures) -> None:
    name, before = trial.side.name, messages(trial.bed.redis)
    for rate in RATES:
        found = trial.latencies(rate, rate * seconds)
        figures.add(f"{name}.{rate}.p50", median(found), "ms")
        figures.add(f"{name}.{rate}.p99", p99(found), "ms")
        figures.add(f"{name}.{rate}.max", max(found), "ms")
        figures.add(f"{name}.{rate}.offered", trial.offered, "events/s")
    each = (messages(trial.bed.redis) - before) / (seconds * sum(RATES))
    figures.add(f"{name}.celery_messages", 1000 * each, "messages per 1,000 events")


@contextmanager
def running(side: Side, bed: Bed) -> Iterator[Trial]:
    """Its worker on tables of its own, and a connection to look on."""
    with ExitStack() as opened:
        database = opened.enter_context(bed.populated())
        settle_history(bed, database)
        if side is OURS:
            opened.enter_context(children.worker(bed, database))
        else:
            opened.enter_context(celery_peer.worker(bed, database, celery_peer.BEST))
        owner = psycopg.connect(database.owner_url, autocommit=True)
        yield Trial(side, bed, opened.enter_context(owner))


def settle_history(bed: Bed, database: Database) -> None:
    past = Pipelines(CUSTOMERS)
    past.numbers = count(HISTORY_FROM)
    fill(bed.redis, past.spread(HISTORY))
    measured("draining", database.worker_url, bed.valkey.url)
    bed.redis.flushall()
    vacuum(database)


@dataclass
class Trial:
    """One worker that is running, and what is sent to it."""

    side: Side
    bed: Bed
    owner: psycopg.Connection[Any]
    sent: int = 0
    offered: float = 0.0  # events per second that were really sent the last time

    def warm_up(self) -> None:
        """Caches fill, statements are prepared; only then is a worker known to be ready."""
        _, settled = self.send(WARM_UP_RATE, WARM_UP, WARM_WITHIN)
        assert len(settled) == WARM_UP, f"{self.side.door} did not begin within {WARM_WITHIN} s"

    def latencies(self, rate: int, events: int) -> list[float]:
        """In milliseconds."""
        first = self.sent
        begin, settled = self.send(rate, events, PATIENCE)
        given_up = time.time()
        # What has not begun by now would be in the way of the next rate.
        self.bed.redis.delete(celery_peer.QUEUE)
        return [
            1000 * (settled.get(first + number, given_up) - begin - number / rate)
            for number in range(events)
        ]

    def send(self, rate: int, events: int, patience: float) -> tuple[float, dict[int, float]]:
        """When the first was due, and when each was committed, by the number of its fix."""
        first, self.sent = self.sent, self.sent + events
        of = (self.side.door, self.bed.valkey.url, rate, events, first)
        schedule = measured("sending", *of)
        self.offered = events / schedule["seconds"]
        deadline = time.monotonic() + patience
        while self.count(first) < events and time.monotonic() < deadline:
            time.sleep(ASK_EVERY)
        return schedule["begin"], dict(self.ask(f"{NUMBER}, {COMMITTED_AT}", first))

    def count(self, first: int) -> int:
        return int(self.ask("count(*)", first)[0][0])

    def ask(self, what: str, first: int) -> list[Any]:
        where = f"FROM {self.side.table} WHERE {NUMBER} BETWEEN {first} AND {self.sent - 1}"
        return self.owner.execute(f"SELECT {what} {where}".encode()).fetchall()


def messages(redis: Redis) -> int:
    """How many Celery messages were ever sent: Kombu, and only Kombu, pushes each on a list."""
    pushed: Any = redis.info("commandstats")
    return int(pushed.get("cmdstat_lpush", {"calls": 0})["calls"])
