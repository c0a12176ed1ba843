"""The worker's process as Celery starts it: what it refuses, its queues, and its one task for all.

`worker.celery_app` reads the settings when it is imported, so each test runs it in a process of
its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from producers.signing import Signer
from schemas.inbox import PARTITIONS, partition_of, stream_of
from tests.api.client import settle_inbox
from tests.builders import add_customer, deployed, one_row, outcomes, reasons, rows_of
from tests.stack import Database
from worker.clock import Clock
from worker.inbox import Inbox
from worker.local.valkey import Valkey
from worker.producer_keys import create_producer_key
from worker.settler import Settler, partitions_of
from worker.storage import tables

REPOSITORY = Path(__file__).parents[1]
ENDS_WITHIN = 15.0
ALL = partitions_of(0, 1)


@pytest.fixture
def environment(database: Database, valkey: Valkey, redis: Redis) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database.worker_url,
        "REDIS_URL": valkey.url,
        "TRUST_REDIS": "1",
        "STRIPE_API_KEY": "sk_test_of_this_process",
    }


def run(
    environment: dict[str, str], *arguments: str, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=REPOSITORY,
        input=given,
        capture_output=True,
        text=True,
        timeout=ENDS_WITHIN,
    )


def worker(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """`celery worker`, which is expected to end by itself."""
    command = ["-m", "celery", "-q", "-A", "worker.celery_app", "worker", "--concurrency", "1"]
    try:
        return run(environment, *command, *options)
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"the worker was not refused: {(error.stderr or b'')[-2000:]!r}")


def test_a_worker_that_forks_as_celery_does_by_default_is_refused(
    environment: dict[str, str],
) -> None:
    ended = worker(environment)

    assert ended.returncode != 0
    assert "start with --pool threads" in ended.stderr


def test_a_worker_without_a_setting_it_needs_is_refused_by_its_name(
    environment: dict[str, str],
) -> None:
    del environment["DATABASE_URL"]

    ended = worker(environment, "--pool", "threads")

    assert ended.returncode != 0
    assert "set DATABASE_URL" in ended.stderr


SHOW = """
import json
from worker.celery_app import app
conf = app.conf
print(json.dumps({
    "queues": {queue.name: [queue.exchange.name, queue.routing_key] for queue in conf.task_queues},
    "routes": conf.task_routes,
    "default": [conf.task_default_queue, conf.task_default_exchange],
    "serializers": [conf.task_serializer, conf.accept_content],
    "results": [conf.result_backend, conf.task_ignore_result],
    "transport": conf.broker_transport_options,
    "broker": conf.broker_url,
    "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
    "late": app.tasks["fixbill.fix_deployed"].acks_late,
}))
"""


@pytest.fixture(scope="module")
def conf() -> dict[str, Any]:
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": "redis://:secret@127.0.0.1:1/0",
        "CELERY_BROKER_URL": "amqp://broker.example.com//",
    }
    shown = run(environment, "-c", SHOW)
    assert shown.returncode == 0, shown.stderr
    found: dict[str, Any] = json.loads(shown.stdout)
    return found


def test_every_queue_is_reached_without_a_binding_that_a_flush_could_lose(
    conf: dict[str, Any],
) -> None:
    assert conf["queues"] == {name: ["", name] for name in ("settle", "sweep", "intake")}
    assert conf["default"] == ["sweep", ""]


def test_each_task_has_its_queue(conf: dict[str, Any]) -> None:
    assert conf["tasks"] == ["fixbill.fix_deployed", "fixbill.settle", "fixbill.sweep"]
    assert conf["routes"] == {
        "fixbill.settle": {"queue": "settle"},
        "fixbill.fix_deployed": {"queue": "intake"},
    }


def test_nothing_but_json_is_taken_and_no_result_is_kept(conf: dict[str, Any]) -> None:
    assert conf["serializers"] == ["json", ["json"]]
    assert conf["results"] == [None, True]


def test_no_call_to_the_broker_can_hang_for_ever(conf: dict[str, Any]) -> None:
    transport = conf["transport"]

    assert {"socket_timeout", "socket_connect_timeout", "visibility_timeout"} <= transport.keys()
    assert conf["late"]


def test_the_broker_may_be_another_store_than_the_inbox(conf: dict[str, Any]) -> None:
    assert conf["broker"] == "amqp://broker.example.com//"


APPEND = """
import json, sys
from worker.celery_app import fix_deployed
for line in sys.stdin:
    name, value = json.loads(line)
    try:
        fix_deployed(*value["signed"] if isinstance(value, dict) and "signed" in value else [value])
    except Exception as error:
        print(name, type(error).__name__)
"""

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
ANYTHING: dict[str, Any] = {
    "null": None,
    "true": True,
    "a number": 17,
    "a large number": 10**300,
    "a fraction": 0.5,
    "a text": "fix deployed",
    "an empty text": "",
    "a NUL": "\0",
    "a lone surrogate": "\ud800",
    "a list": [1, [2]],
    "many levels": DEEP,
    "an empty object": {},
    "data that is no object": {"data": "acme"},
    "a customer that is a number": {"data": {"customer_id": 7}},
    "a customer that is a list": {"data": {"customer_id": ["acme"]}},
    "a customer that is empty": {"data": {"customer_id": ""}},
    "a customer with a NUL": {"data": {"customer_id": "ac\0me"}},
    "a customer with a lone surrogate": {"data": {"customer_id": "\ud800"}},
    "a customer that is too long": {"data": {"customer_id": "x" * 100_000}},
    "a customer of emoji": {"data": {"customer_id": "💸"}},
}


def inbox_of(redis: Redis) -> list[dict[bytes, bytes]]:
    streams: list[Any] = [redis.xrange(stream_of(number)) for number in range(PARTITIONS)]
    return [fields for stream in streams for _, fields in stream]


def appended(environment: dict[str, str], values: dict[str, Any]) -> list[str]:
    """Run the task on each; which of them failed, and how."""
    lines = "\n".join(map(json.dumps, values.items()))
    ran = run(environment, "-c", APPEND, given=lines)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_any_json_value_reaches_the_inbox_and_what_is_no_event_ends_in_quarantine(
    environment: dict[str, str], redis: Redis, engine: Engine, clock: Clock
) -> None:
    add_customer(engine)
    event = json.loads(deployed().to_bytes())

    failed = appended(environment, ANYTHING | {"an event": event, "the same again": event})

    entries = inbox_of(redis)
    arrived = [json.loads(entry[b"e"]) for entry in entries]
    assert failed == []
    assert [name for name, value in ANYTHING.items() if value not in arrived] == []
    assert {entry[b"d"] for entry in entries} == {b"celery"}
    assert redis.xlen(stream_of(partition_of("acme"))) >= 2
    settle_inbox(engine, redis, clock)
    assert outcomes(engine) == {"fix-1": "charged"}
    assert reasons(engine) == ["unreadable"] * len(ANYTHING)
    assert {row["door"] for row in rows_of(engine, tables.events)} == {"celery"}


def test_a_signed_text_is_billed_as_it_was_signed_and_the_rest_is_set_aside(
    environment: dict[str, str], redis: Redis, engine: Engine, clock: Clock
) -> None:
    add_customer(engine)
    made = create_producer_key("theirs", ["publish"], ["acme"], None, None, engine, clock)
    text = deployed().to_bytes().decode()
    signature = Signer.of(made.secret or "").sign(partition_of("acme"), text.encode())
    proof = b64encode(signature).decode()
    strange: list[list[Any]] = [
        [text + " ", made.key_id, proof],
        [text, made.key_id, "no base64"],
        [text, "\0é", proof],
        ["\ud800", made.key_id, proof],
        [text, None, proof],
        [json.loads(text), made.key_id, proof],
    ]
    values = {str(number): {"signed": each} for number, each in enumerate(strange)}

    failed = appended(environment, values | {"signed": {"signed": [text, made.key_id, proof]}})

    assert failed == []
    box = Inbox(redis)
    assert Settler(engine, redis, clock).turn(ALL, lambda: box.depth().entries == 0)
    assert outcomes(engine) == {"fix-1": "charged"}
    assert one_row(engine, tables.events)["key_id"] == made.key_id
    assert reasons(engine) == sorted(
        ["bad_signature", "bad_signature", "unknown_key", "unreadable", "unreadable", "unsigned"]
    )
