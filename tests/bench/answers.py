"""What an answer about one customer takes, over HTTP, beside a bare route and its bare SELECT."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import text

from tests.bench import children
from tests.bench.bed import Bed, measured
from tests.bench.figures import Effort, Figures, p99
from tests.bench.peers import bare_route
from tests.builders import NOW
from tests.large_customer import add_large_customer, settle_down
from tests.stack import Database, connected
from worker.clock import Clock
from worker.inbox import Inbox
from worker.keys import create_key
from worker.local.programs import Program
from worker.storage.engine import WORKER

CUSTOMER, FIXES = "large", 10_000
ASKED = {
    "usage": "usage",
    "report": "usage/report?cycle=1&group_by=repository",
    "window": "usage/report?from=2026-02-01&to=2026-04-01",
    "explain": "fixes/fix-4242/explain",
    "fixes": "fixes",
    "transactions": "transactions",
    "charges": "charges",
}
TIMES = 300
KEY = "the only key"  # of the bare route


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    with bed.populated() as database, serving(bed, database) as (url, key):
        fill(database, {CUSTOMER: FIXES})
        with bare(bed, database) as bare_url:
            http = {name: asking(url, CUSTOMER, what, key) for name, what in ASKED.items()}
            http["bare_route"] = f"{bare_url}/customers/{CUSTOMER}/usage", KEY
            sql = {"bare_sql": (database.worker_url, bare_route.USAGE, CUSTOMER)}
            for _ in range(effort.rounds):
                for name, each in seconds(http, sql, effort.of(TIMES)).items():
                    figures.add(f"answers.{name}.p50", 1000 * median(each), "ms")
                    figures.add(f"answers.{name}.p99", 1000 * p99(each), "ms")


def usage_times(
    bed: Bed, database: Database, customer_ids: Sequence[str], times: int
) -> dict[str, list[float]]:
    """Seconds that usage took for each of these customers, who were asked about in turn."""
    with serving(bed, database) as (url, key):
        return seconds({each: asking(url, each, "usage", key) for each in customer_ids}, {}, times)


def fill(database: Database, sizes: dict[str, int]) -> None:
    """Customers with so many fixes each, for whom it is March, the month of those."""
    with connected(database.owner_url, None) as owner:
        for customer_id, fixes in sizes.items():
            add_large_customer(owner, customer_id, fixes)
        with owner.begin() as tx:
            at = "UPDATE books SET clock_offset = :now - now() WHERE customer_id = ANY(:these)"
            tx.execute(text(at), {"now": NOW, "these": list(sizes)})
        settle_down(owner)


def asking(url: str, customer_id: str, what: str, key: str) -> tuple[str, str]:
    return f"{url}/api/v1/customers/{customer_id}/{what}", key


def seconds(
    http: dict[str, tuple[str, str]], sql: dict[str, tuple[str, str, str]], times: int
) -> dict[str, list[float]]:
    return measured("asking", json.dumps({"http": http, "sql": sql, "times": times}))


@contextmanager
def serving(bed: Bed, database: Database) -> Iterator[tuple[str, str]]:
    """Our API as the stack starts it: where it is, and a key that may ask."""
    Inbox(bed.redis).create_groups()  # a settler was there
    with children.api(bed, database) as url, connected(database.worker_url, WORKER) as engine:
        yield url, create_key("a bench", ("read",), None, None, engine, Clock())


@contextmanager
def bare(bed: Bed, database: Database) -> Iterator[str]:
    """The bare route, behind the same server with the same options."""
    peer, port = Path(bare_route.__file__), children.port(bed, "bare_route")
    options = "--loop asyncio --http h11 --ws none --no-access-log --log-level warning"
    where = ["--app-dir", str(peer.parent), f"{peer.stem}:app", "--port", str(port)]
    command = [sys.executable, "-m", "uvicorn", *where, *options.split()]
    url = f"http://127.0.0.1:{port}"
    environment = {"DATABASE_URL": database.worker_url, "KEY": KEY}
    with children.running(Program(command, f"{url}/openapi.json"), bed.directory, environment):
        yield url
