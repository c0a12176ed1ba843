"""One process that collects every charge that is due, as the sweep of a worker does.

python -m tests.bench.charging DATABASE_URL REDIS_URL STRIPE_API_BASE STRIPE_API_KEY
"""

from __future__ import annotations

import json
import sys
from itertools import count
from time import perf_counter
from typing import Any, ClassVar

import psycopg
from sqlalchemy import Engine, event

from tests.bench.resources import processor_seconds
from tests.stack import connected
from worker import inbox, telemetry
from worker.clock import Clock
from worker.due import Tools, sweep
from worker.process import collect_garbage_seldom
from worker.storage.engine import WORKER
from worker.stripe_gateway import StripeGateway


class Counting(psycopg.Cursor[Any]):
    """Counts what is executed; BEGIN and COMMIT go another way."""

    numbers: ClassVar[count[int]] = count()

    def execute(self, *statement: Any, **options: Any) -> Counting:
        next(self.numbers)
        return super().execute(*statement, **options)


def count_statements(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: psycopg.Connection[Any], _record: object) -> None:
        connection.cursor_factory = Counting


def main(database: str, redis: str, api_base: str, api_key: str) -> None:
    telemetry.write_logs("INFO")
    telemetry.serve_metrics("bench", None, "127.0.0.1")
    with connected(database, WORKER) as engine, inbox.connect(redis) as client:
        count_statements(engine)
        with engine.connect():
            pass  # a worker has its connection before charges fall due
        tools = Tools(engine, client, StripeGateway(api_key, api_base), Clock())
        collect_garbage_seldom()
        before, busy, begun = next(Counting.numbers), processor_seconds(), perf_counter()
        found = {
            "collected": sweep("charge", tools),
            "seconds": perf_counter() - begun,
            "busy": processor_seconds() - busy,
            "statements": next(Counting.numbers) - before - 1,
        }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
