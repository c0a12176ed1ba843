"""The Celery task we compare with: its queue and its worker. It keeps the product's own tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from celery import Celery

from schemas.events import Event
from tests.bench.bed import Bed
from tests.bench.children import running
from tests.stack import Database
from worker.local.programs import Program

Pool = Literal["prefork", "threads"]

# On two cores nothing is better; prefetching a single one is a third slower.
CONCURRENCY: dict[Pool, int] = {"prefork": 2, "threads": 4}
PREFETCH: dict[Pool, int] = {"prefork": 16, "threads": 16}
BEST: Pool = "threads"  # when events come singly
QUEUE = "peer"
PATIENCE = 60.0  # seconds without any event settled
ASK_EVERY = 0.25


@contextmanager
def worker(bed: Bed, database: Database, pool: Pool) -> Iterator[None]:
    """It tells nobody when it is ready: it then settles. Stopped warm."""
    options = f"worker --pool {pool} --concurrency {CONCURRENCY[pool]}"
    tuned = "--without-gossip --without-mingle --without-heartbeat"
    celery = [sys.executable, "-m", "celery", "-q", "-A", "tests.bench.peers.celery_task"]
    environment = {
        "PEER_BROKER": bed.valkey.url,
        "PEER_DATABASE": database.owner_url,
        "PEER_PREFETCH": str(PREFETCH[pool]),
    }
    program = Program([*celery, *options.split(), *tuned.split()])
    with running(program, bed.directory, environment):
        yield


def queue(broker: str, events: Sequence[Event]) -> None:
    """All at once, in batches of Kombu's."""
    with (
        Celery("peer", broker=broker) as app,
        app.producer_pool.acquire() as producer,
        producer.batch(),
    ):
        for event in events:
            send(app, event, producer)


def send(app: Celery, event: Event, producer: Any = None) -> None:
    body = event.model_dump(mode="json", exclude_none=True)
    app.send_task("peer.settle", (body,), queue=QUEUE, ignore_result=True, producer=producer)


def full_queue(bed: Bed, database: Database, pool: Pool, events: Sequence[Event]) -> float:
    """Events settled per second, from the first commit to the last; none may be a repeated one."""
    queue(bed.valkey.url, events)
    with (
        psycopg.connect(database.owner_url, autocommit=True) as owner,
        worker(bed, database, pool),
    ):
        await_settled(owner, len(events))
        (seconds,) = owner.execute(BETWEEN).fetchone() or (0.0,)
    return (len(events) - 1) / float(seconds)


BETWEEN = """
SELECT extract(epoch FROM max(at) - min(at))
    FROM (SELECT pg_xact_commit_timestamp(xmin) FROM fixes) AS commits (at)
"""


def await_settled(owner: psycopg.Connection[Any], events: int) -> None:
    """Asked seldom, so as not to be what is measured."""
    settled, deadline = 0, time.monotonic() + PATIENCE
    while settled < events:
        assert time.monotonic() < deadline, f"the peer stopped after {settled} of {events}"
        time.sleep(ASK_EVERY)
        before = settled
        (settled,) = owner.execute("SELECT count(*) FROM fixes").fetchone() or (0,)
        if settled > before:
            deadline = time.monotonic() + PATIENCE
