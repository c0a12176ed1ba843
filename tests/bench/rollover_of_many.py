"""How long it takes to end the cycles of many customers at the same midnight, and in what memory.

python -m tests.bench.rollover_of_many [CUSTOMERS …]
"""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import structlog
from redis import Redis
from sqlalchemy import Engine, text

from tests.builders import MARCH
from tests.stack import Databases, connected
from worker import inbox
from worker.clock import Clock
from worker.inbox import Inbox
from worker.local.postgres import Postgres
from worker.local.valkey import Valkey
from worker.rollover import roll_over_due
from worker.statement import write_statements
from worker.storage.engine import WORKER

SIZES = (10_000, 100_000)
AFTER = MARCH.end + timedelta(hours=1)

# Everyone has a card and three credits that expire with the cycle.
CROWD = (
    "INSERT INTO customers (customer_id, livemode, created_at)"
    " SELECT 'c-' || n, false, :start FROM generate_series(1, :size) AS n",
    "INSERT INTO books (customer_id, plan, plan_version, currency, head, has_payment_method,"
    " due_at, cycle_start, cycle_end, credits, issued)"
    " SELECT customer_id, 'payg', '2026-01-01', 'usd', decode(repeat('00', 32), 'hex'), true,"
    " :end, :start, :end, 3, -3 FROM customers",
    "INSERT INTO cycles (customer_id, number, starts_at, ends_at, status)"
    " SELECT customer_id, 1, :start, :end, 'open' FROM customers",
    "INSERT INTO grants (customer_id, grant_id, source, priority, granted, remaining,"
    " expires_at, recorded_at)"
    " SELECT customer_id, 'gift', 'operator', 40, 3, 3, :end, :start FROM customers",
)


def fill(engine: Engine, size: int) -> None:
    with engine.begin() as tx:
        for statement in CROWD:
            tx.execute(text(statement), {"start": MARCH.start, "end": MARCH.end, "size": size})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def measure(database: str, redis: str, size: int) -> None:
    """In a process of its own, whose peak of memory is that of these sweeps."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock = Clock(AFTER - datetime.now(UTC))
    with connected(database, WORKER) as engine, inbox.connect(redis) as client:
        told("cycles ended", size, lambda: end_cycles(engine, client, clock))
        told("statements", size, lambda: write_statements(engine, clock))


def told(what: str, size: int, work: Callable[[], int]) -> None:
    begun = monotonic()
    done = work()
    seconds = monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    rate = done / seconds
    assert done == size, f"{done} of {size}"
    print(f"{size:>8,} {what:<14} {seconds:7.1f} s {rate:8,.0f}/s   peak {peak} MiB")  # noqa: T201


def end_cycles(engine: Engine, redis: Redis, clock: Clock) -> int:
    return roll_over_due(engine, Inbox(redis), clock, all_now=True)


def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # started by root, Postgres runs as somebody else
        with Postgres.start(Path(directory)) as server, Valkey.start(Path(directory)) as valkey:
            databases = Databases(server)
            for size in sizes:
                with databases.fresh() as database, connected(database.owner_url, None) as owner:
                    fill(owner, size)
                    command = [sys.executable, "-m", "tests.bench.rollover_of_many", "--measure"]
                    of = [database.worker_url, valkey.url, str(size)]
                    subprocess.run([*command, *of], check=True)
            databases.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main([int(each) for each in sys.argv[1:]] or list(SIZES))
