"""One process that ends the cycles of everyone, and states them, an hour after they ended.

python -m tests.bench.midnight DATABASE_URL REDIS_URL
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import perf_counter

import structlog

from tests.bench.resources import peak_mib
from tests.builders import MARCH
from tests.stack import connected
from worker import inbox
from worker.clock import Clock
from worker.inbox import Inbox
from worker.rollover import roll_over_due
from worker.statement import write_statements
from worker.storage.engine import WORKER

AFTER = MARCH.end + timedelta(hours=1)
SECONDS = 4  # for which statements are written


def main(database: str, redis: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    clock = Clock(AFTER - datetime.now(UTC))
    with connected(database, WORKER) as engine, inbox.connect(redis) as client:
        ended, cycles = timed(lambda: roll_over_due(engine, Inbox(client), clock, all_now=True))
        _, statements = timed(lambda: write_statements(engine, clock, seconds=SECONDS))
    found = {
        "ended": ended,
        "cycles": cycles,
        "statements": statements,
        "peak_mib": peak_mib(),
    }
    print(json.dumps(found))  # noqa: T201


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """How many were done, and how many a second."""
    begun = perf_counter()
    done = work()
    return done, done / (perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])
