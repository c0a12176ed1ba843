"""Processes under measurement, ours as `fixbill up` starts them; each ends with its block."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.bed import Bed
from tests.stack import Database
from worker.local.programs import Program, answers, programs
from worker.local.server import reserve_port

READY_WITHIN = 60.0  # seconds
NAMES = ("api", "worker")


@contextmanager
def api(bed: Bed, database: Database) -> Iterator[str]:
    """Its URL; it limits nobody."""
    with ours("api", bed, database) as environment:
        yield environment["FIXBILL_API_URL"]


@contextmanager
def worker(bed: Bed, database: Database) -> Iterator[None]:
    """Without beat: it settles from the moment it is ready, and sweeps nothing."""
    with ours("worker", bed, database):
        yield


@contextmanager
def ours(name: str, bed: Bed, database: Database) -> Iterator[dict[str, str]]:
    ports = {each: port(bed, each) for each in NAMES}
    environment = environment_of(bed, database, ports)
    program = programs(bed.directory, environment, ports, with_sandbox=False)[name]
    with running(program, bed.directory, environment):
        yield environment


def environment_of(bed: Bed, database: Database, ports: dict[str, int]) -> dict[str, str]:
    return {
        "DATABASE_URL": database.worker_url,
        "API_DATABASE_URL": database.api_url,
        "REDIS_URL": bed.valkey.url,
        "TRUST_REDIS": "1",
        "RATE_PUBLISH_PER_SECOND": "1000000",
        "RATE_READ_PER_SECOND": "1000000",
        "FIXBILL_API_URL": f"http://127.0.0.1:{ports['api']}",
        "FIXBILL_METRICS_URL": f"http://127.0.0.1:{ports['worker']}/metrics",
        "STRIPE_API_KEY": "sk_test_nobody_is_asked",
        "STRIPE_API_BASE": "http://127.0.0.1:1",
        "STRIPE_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(8)}",
    }


def port(bed: Bed, name: str) -> int:
    home = bed.directory / name
    home.mkdir(exist_ok=True)
    return reserve_port(home)


@contextmanager
def running(program: Program, directory: Path, environment: dict[str, str]) -> Iterator[None]:
    """Until it is ready, where it tells; asked to end and waited for, however the block ends."""
    log = directory / "children.log"
    program.start(log, environment, directory)
    try:
        await_ready(program, log)
        yield
    finally:
        program.stop()


def await_ready(program: Program, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while program.ready_url and not answers(program.ready_url):
        late = program.is_dead() or time.monotonic() > deadline
        assert not late, log.read_text(errors="replace")[-3000:]
        time.sleep(0.02)
