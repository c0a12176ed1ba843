"""Sweeps of cycles at any time, in this process or in one of their own, and what they leave."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from redis import Redis
from sqlalchemy import Engine, text

from tests.builders import rows_of
from tests.stack import Database
from worker.clock import Clock
from worker.inbox import Inbox
from worker.local.valkey import Valkey
from worker.rollover import roll_over_due
from worker.settler import Settler, partitions_of
from worker.storage import tables
from worker.usage.verify import verify

UNTOUCHED = [(1, "open")]
ENDED = [(1, "closing"), (2, "open")]
CLOSED = [(1, "closed"), (2, "open")]


def clock_at(moment: datetime) -> Clock:
    return Clock(moment - datetime.now(UTC))


def sweep_at(moment: datetime, engine: Engine, redis: Redis, *, all_now: bool = True) -> int:
    return roll_over_due(engine, Inbox(redis), clock_at(moment), all_now=all_now)


def settle_at(moment: datetime, engine: Engine, redis: Redis) -> None:
    """Turns of a settler until nothing is left."""
    box = Inbox(redis)
    settler = Settler(engine, redis, clock_at(moment), trust_redis=True)
    settler.turn(partitions_of(0, 1), lambda: box.depth().entries == 0)


def cycles_of(engine: Engine, customer_id: str = "acme") -> list[tuple[int, str]]:
    found = rows_of(engine, tables.cycles, customer_id=customer_id)
    return [(row["number"], row["status"]) for row in found]


def broken(engine: Engine) -> list[str]:
    return [f"{each.name}: {each.offenders}" for each in verify(engine, None) if not each.ok]


def sweeper(
    database: Database, valkey: Valkey, moment: datetime, **more: str
) -> subprocess.Popen[str]:
    ahead = (moment - datetime.now(UTC)).total_seconds()
    command = [sys.executable, "-m", "tests.faults.sweeper_process"]
    return subprocess.Popen(
        [*command, database.worker_url, valkey.url, str(ahead)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **more},
    )


def changed_by(process: subprocess.Popen[str]) -> int:
    """How many books it has changed, once it is done."""
    told, _ = process.communicate(timeout=60)
    return int(told.splitlines()[-1])


@contextmanager
def locked(engine: Engine, customer_id: str) -> Iterator[None]:
    """Somebody holds this customer's book."""
    with engine.connect() as connection, connection.begin():
        connection.execute(
            text("SELECT FROM books WHERE customer_id = :c FOR UPDATE"), {"c": customer_id}
        )
        yield


def waiting(engine: Engine) -> int:
    """How many sessions wait for a lock in this database."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with engine.begin() as tx:
        return int(tx.scalar(text(query)) or 0)
