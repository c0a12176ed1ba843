"""What usage costs over HTTP for a customer with many fixes, beside one with few.

python -m tests.bench.usage_of_a_large_customer [FIXES]
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import httpx
import structlog
import uvicorn
from sqlalchemy import Engine

from tests.api.client import doors_to
from tests.builders import NOW
from tests.large_customer import add_large_customer, settle_down
from tests.stack import Databases, connected
from worker import inbox
from worker.api.access import Doors
from worker.api.app import build_app
from worker.clock import Clock
from worker.keys import create_key
from worker.local.postgres import Postgres
from worker.local.valkey import Valkey
from worker.storage.engine import API, WORKER

FEW, MANY = 100, 1_000_000
WARM_UP, REQUESTS = 30, 300
QUESTIONS = {
    "current usage": "usage",
    "cycle by day": "usage/report?cycle=1",
    "cycle by repository": "usage/report?cycle=1&group_by=repository",
    "window by day": "usage/report?from=2026-02-01&to=2026-04-01",
    "window by outcome": "usage/report?from=2026-02-01&to=2026-04-01&group_by=outcome",
}


@contextmanager
def serving(doors: Doors) -> Iterator[str]:
    """The product's own API, listening."""
    config = uvicorn.Config(build_app(doors), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def measure(client: httpx.Client, question: str, customers: list[str]) -> list[float]:
    """The median of each in milliseconds; they take turns, so both meet the same machine."""
    seconds: dict[str, list[float]] = {each: [] for each in customers}
    for number in range(WARM_UP + REQUESTS):
        for customer_id in customers:
            begun = perf_counter()
            got = client.get(f"/api/v1/customers/{customer_id}/{question}")
            took = perf_counter() - begun
            assert got.status_code == 200, got.text
            if number >= WARM_UP:
                seconds[customer_id].append(took)
    return [1000 * median(each) for each in seconds.values()]


def fill(owner: Engine, sizes: dict[str, int]) -> None:
    for customer_id, fixes in sizes.items():
        add_large_customer(owner, customer_id, fixes)
    settle_down(owner)


def main(many: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sizes = {f"with-{number}": number for number in (FEW, many)}
    clock = Clock(NOW - datetime.now(UTC))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # started by root, Postgres runs as somebody else
        with Postgres.start(Path(directory)) as server, Valkey.start(Path(directory)) as valkey:
            databases = Databases(server)
            with (
                databases.fresh() as database,
                connected(database.worker_url, WORKER) as worker,
                connected(database.api_url, API) as api,
                inbox.connect(valkey.url) as redis,
            ):
                with connected(database.owner_url, None) as owner:
                    fill(owner, sizes)
                with serving(doors_to(api, redis, clock)) as url:
                    for name, question in QUESTIONS.items():
                        key = create_key("a bench", ("read",), None, None, worker, clock)
                        headers = {"Authorization": f"Bearer {key}"}  # one rate limit each
                        with httpx.Client(base_url=url, headers=headers) as client:
                            told(name, sizes, measure(client, question, list(sizes)))
            databases.close()


def told(name: str, sizes: dict[str, int], medians: list[float]) -> None:
    figures = zip(sizes.values(), medians, strict=True)
    parts = "   ".join(f"{fixes:>9,} fixes {each:6.2f} ms" for fixes, each in figures)
    print(f"{name:<20} p50: {parts}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else MANY)
