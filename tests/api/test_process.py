"""The API as a process of its own: its settings, its metrics, its log."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from sqlalchemy import Engine

from tests.api.client import TRACK_FIX
from tests.api.signing import OUR_SECRET
from tests.builders import deployed
from tests.stack import Database
from worker.clock import Clock
from worker.keys import create_key
from worker.local.valkey import Valkey

STRIPE_KEY = "sk_test_of_this_process"


@dataclass(frozen=True)
class Served:
    """A running API."""

    port: int
    log: Path

    def post(self, body: bytes, key: str) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {key}"}
        return self.ask("POST", TRACK_FIX, body=body, headers=headers)

    def ask(self, method: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:
        return urllib3.request(method, self.url(path), retries=3, timeout=30, **more)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def accepted(self) -> dict[tuple[str, str], float]:
        """Events accepted so far, by door and result."""
        body = self.ask("GET", "/metrics").data.decode()
        return {
            (sample.labels["door"], sample.labels["result"]): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
            if sample.name == "fixbill_events_accepted_total"
        }

    def speaks(self, raw: bytes) -> bytes:
        """The first line that is answered to these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(raw)
            return connection.makefile("rb").readline()


@contextmanager
def served(directory: Path, **settings: str) -> Iterator[Served]:
    """The socket listens before the process starts, so nobody has to wait for it."""
    log = directory / "api.log"
    with socket.create_server(("127.0.0.1", 0)) as listening, log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker.api", "--fd", str(listening.fileno())],
            env={"PATH": os.environ["PATH"], **settings},
            pass_fds=[listening.fileno()],
            stdout=out,
            stderr=out,
        )
        try:
            yield Served(listening.getsockname()[1], log)
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def environment(database: Database, valkey: Valkey, redis: Redis) -> dict[str, str]:
    return {
        "DATABASE_URL": database.worker_url,
        "API_DATABASE_URL": database.api_url,
        "REDIS_URL": valkey.url,
        "STRIPE_API_KEY": STRIPE_KEY,
        "STRIPE_WEBHOOK_SECRET": OUR_SECRET,
    }


@pytest.fixture
def key(engine: Engine, clock: Clock) -> str:
    return create_key("a test", ["publish", "read"], None, None, engine, clock)


def test_what_is_parked_is_counted_as_such(
    environment: dict[str, str], key: str, tmp_path: Path
) -> None:
    environment["REDIS_URL"] = "redis://:redis-password@127.0.0.1:1/0"
    with served(tmp_path, **environment) as api:
        status = api.post(deployed().to_bytes(), key).status

        counted = api.accepted()

    assert status == 202
    assert counted == {("http", "parked"): 1.0}
    assert leaks(api, key, "redis-password") == []


def leaks(api: Served, key: str, *passwords: str) -> list[str]:
    """Secrets that stand in the log, which must not be empty."""
    log = api.log.read_text()
    assert log
    secrets = [key, key[17:], STRIPE_KEY, OUR_SECRET, *passwords]
    return [each for each in secrets if each in log]


def test_no_secret_reaches_the_log_when_something_fails(
    environment: dict[str, str], key: str, tmp_path: Path
) -> None:
    away = {
        "REDIS_URL": "redis://:redis-password@127.0.0.1:1/0",
        "API_DATABASE_URL": "postgresql://api:database-password@127.0.0.1:1/fixbill",
    }
    with served(tmp_path, **environment | away) as api:
        reply = api.post(deployed().to_bytes(), key)
        api.ask("GET", "/readyz")

    assert reply.status == 503
    assert leaks(api, key, "redis-password", "database-password") == []


RAW = {
    "no HTTP at all": b"\x00\x01\x02\xff\r\n\r\n",
    "another protocol": b"*1\r\n$4\r\nPING\r\n\r\n",
    "NUL in a header": b"GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: a\x00b\r\n\r\n",
    "a header folded": b"GET /healthz HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "a very long header": b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 200_000 + b"\r\n\r\n",
    "a very long path": b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
}


def test_what_is_hardly_http_harms_nothing_and_what_is_accepted_is_counted(
    environment: dict[str, str], key: str, tmp_path: Path
) -> None:
    with served(tmp_path, **environment) as api:
        answers = {name: api.speaks(raw) for name, raw in RAW.items()}
        one, many = deployed("fix-1").to_bytes(), b"[%s]" % deployed("fix-2").to_bytes()
        statuses = [api.post(body, key).status for body in (one, many, b"{}")]

        counted = api.accepted()

    failed = {name: line for name, line in answers.items() if re.match(rb"HTTP/1.1 5", line)}
    assert failed == {}
    assert statuses == [202, 207, 422]
    assert counted == {("http", "accepted"): 2.0}


def test_a_setting_that_is_missing_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    del environment["STRIPE_WEBHOOK_SECRET"]
    run = subprocess.run(
        [sys.executable, "-c", "from worker.api.app import create_app; create_app()"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert run.returncode != 0
    assert "set STRIPE_WEBHOOK_SECRET" in run.stderr
