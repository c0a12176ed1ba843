from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fakeredis
import pytest
from hypothesis import given, settings
from redis import Redis
from redis import exceptions as no

from producers.doors import redis_door
from producers.publish import Accepted, Refused, Spooled, append, connect, is_definite, publish
from producers.spool import Spool
from schemas.events import Event, parse_event
from schemas.inbox import DOOR, EVENT, PARTITIONS, TRACEPARENT, partition_of, stream_of
from tests.producers.fixes import any_event, fix, some_fixes
from worker.local.valkey import Valkey

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens, and nobody will meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"redis://:hunter2@127.0.0.1:{taken.getsockname()[1]}/0"


def entries(redis: Redis) -> list[dict[bytes, bytes]]:
    """All of the inbox."""
    streams: Any = [redis.xrange(stream_of(partition)) for partition in range(PARTITIONS)]
    return [fields for stream in streams for _, fields in stream]


@settings(max_examples=30)
@given(any_event())
def test_an_event_is_one_entry_with_its_exact_bytes(event: Event) -> None:
    redis = fakeredis.FakeRedis()

    assert publish([event], redis=redis) == [Accepted(event)]

    assert redis.keys() == [stream_of(partition_of(event.customer_id)).encode()]
    (fields,) = entries(redis)
    assert fields == {EVENT: event.to_bytes(), DOOR: b"redis"}
    assert parse_event(fields[EVENT]) == event


def test_the_trace_of_the_pipeline_goes_along() -> None:
    redis = fakeredis.FakeRedis()

    append(redis, "acme", b"{}", TRACE, "celery")

    assert entries(redis) == [{EVENT: b"{}", DOOR: b"celery", TRACEPARENT: TRACE.encode()}]


def test_one_customers_events_stay_in_order(inbox: Redis) -> None:
    events = some_fixes(1200)

    assert publish(events, redis=inbox) == [Accepted(event) for event in events]

    assert [fields[EVENT] for fields in entries(inbox)] == [event.to_bytes() for event in events]


def test_a_store_that_is_away_leaves_everything_in_the_spool(nobody: str, spool: Spool) -> None:
    with connect(nobody) as away:
        assert publish(some_fixes(3), redis=away, spool=spool) == [
            Spooled(event) for event in some_fixes(3)
        ]

    assert spool.read().events == some_fixes(3)


def test_without_a_spool_the_caller_is_told(nobody: str) -> None:
    with connect(nobody) as away:
        (answer,) = publish([fix()], redis=away)

    assert isinstance(answer, Refused)
    assert "refused" in answer.why
    assert "hunter2" not in answer.why


def test_a_full_store_is_not_the_end_of_an_event(inbox: Redis, spool: Spool) -> None:
    inbox.config_set("maxmemory", "1")
    try:
        answers = publish([fix()], redis=inbox, spool=spool)
    finally:
        inbox.config_set("maxmemory", "0")

    assert answers == [Spooled(fix())]
    assert publish(spool.read().events, redis=inbox) == [Accepted(fix())]


def test_a_wrong_password_is_told_and_not_spooled(valkey: Valkey, spool: Spool) -> None:
    url = f"redis://:wrong@127.0.0.1:{urlsplit(valkey.url).port}/0"

    with connect(url) as locked:
        (answer,) = publish([fix()], redis=locked, spool=spool)

    assert isinstance(answer, Refused)
    assert spool.read().events == []


def test_a_login_that_may_not_append_is_told(inbox: Redis, valkey: Valkey, spool: Spool) -> None:
    inbox.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], categories=["+@read"])
    url = f"redis://reader:any@127.0.0.1:{urlsplit(valkey.url).port}/0"

    with connect(url) as reader:
        (answer,) = publish([fix()], redis=reader, spool=spool)

    assert isinstance(answer, Refused)
    assert spool.read().events == []


def test_a_partition_that_is_no_stream_refuses_only_its_own_events(inbox: Redis) -> None:
    inbox.set(stream_of(partition_of("acme")), "in the way")
    other = next(name for name in "abcdef" if partition_of(name) != partition_of("acme"))

    first, second = publish([fix(), fix("two", other)], redis=inbox)

    assert isinstance(first, Refused)
    assert second == Accepted(fix("two", other))


def test_a_silent_store_is_given_up_in_seconds_and_asked_once(spool: Spool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0?socket_timeout=0.3"
        with connect(url) as redis:
            answers = publish([fix()], redis=redis, spool=spool)
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()

    assert answers == [Spooled(fix())]


def test_the_door_for_the_command_is_the_same_inbox(inbox: Redis, valkey: Valkey) -> None:
    redis_door(valkey.url)([fix()])

    assert entries(inbox) == [{EVENT: fix().to_bytes(), DOOR: b"redis"}]


@pytest.mark.parametrize(
    ("error", "definite"),
    [
        (no.AuthenticationError("invalid username-password pair"), True),
        (no.NoPermissionError("this user has no permissions"), True),
        (no.ResponseError("WRONGTYPE Operation against a key"), True),
        (no.OutOfMemoryError("command not allowed"), False),
        (no.ReadOnlyError("You can't write against a read only replica."), False),
        (no.ResponseError("MISCONF Errors writing to the AOF file"), False),
        (no.ResponseError("NOREPLICAS Not enough good replicas to write."), False),
        (no.BusyLoadingError("loading the dataset in memory"), False),
        (no.ConnectionError("Connection reset by peer"), False),
        (no.TimeoutError("Timeout reading from socket"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_will_not_pass_by_itself_is_a_refusal(error: Exception, definite: bool) -> None:
    assert is_definite(error) is definite
