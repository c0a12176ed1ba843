"""Callers who send slowly, too much, or nothing at all keep nobody else waiting."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.api.client import TRACK_FIX
from tests.api.test_process import Served, environment, key, served
from tests.builders import deployed

__all__ = ["environment", "key"]

DRIBBLERS = 100
PATIENCE = 40.0  # seconds; 10 are what we are given, the rest is a slow machine's
HEAD = b"POST %s HTTP/1.1\r\nHost: fixbill\r\nAuthorization: Bearer %s\r\nContent-Length: 500\r\n"


LONG = b"x" * 20_000


@pytest.fixture
def api(environment: dict[str, str], tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, **environment) as one:
        assert one.ask("GET", "/healthz").status == 200
        yield one


class Dribbler:
    """A connection that sends a byte now and then, and never all of its request."""

    def __init__(self, api: Served, begin: bytes) -> None:
        self.connection = socket.create_connection(("127.0.0.1", api.port), timeout=PATIENCE)
        self.connection.sendall(begin)

    def dribble(self) -> None:
        with suppress(OSError):  # closed, perhaps; what was answered can still be read
            self.connection.sendall(b"x")

    def last_word(self) -> bytes:
        try:
            return self.connection.makefile("rb").read()
        except ConnectionError:
            return b""


def test_f81_a_hundred_callers_who_dribble_are_sent_away_and_others_are_served_meanwhile(
    api: Served, key: str
) -> None:
    head = HEAD % (TRACK_FIX.encode(), key.encode())
    begins = [b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nX-Slow: ", head + b"\r\n{"]
    with ExitStack() as open_ones:
        dribblers = [Dribbler(api, begins[number % 4]) for number in range(DRIBBLERS)]
        for each in dribblers:
            open_ones.callback(each.connection.close)

        waits, statuses = [], []
        for number in range(20):
            for each in dribblers:
                each.dribble()
            began = time.monotonic()
            statuses.append(api.post(deployed(f"fix-{number}").to_bytes(), key).status)
            waits.append(time.monotonic() - began)
        words = [each.last_word() for each in dribblers]

    assert statuses == [202] * 20
    assert max(waits) < 5  # some milliseconds, but this machine is everybody's
    assert {word.partition(b"\r\n")[0] for word in words} == {b"HTTP/1.1 408 Request Timeout"}
    assert all(b"urn:fixbill:problem:too-slow" in word for word in words)


REST = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


def declared(length: int) -> bytes:
    return b"%sContent-Length: %d\r\n\r\n" % (REST, length)


RAW = {
    "a long header": (b"GET /healthz" + REST + b"A: %s\r\n\r\n" % LONG, 431),
    "a long path": (b"GET /" + LONG + REST + b"\r\n", 431),
    "no HTTP": (b"nonsense\r\n\r\n", 400),
    "a body to a GET": (b"GET /healthz" + declared(65_537), 413),
    "a large webhook": (b"POST /webhooks/stripe" + declared(262_145), 413),
    "a large batch": (b"POST /api/v1/billing/track_fix" + declared(4_194_305), 413),
    "no hexadecimal": (b"GET /%zz" + REST + b"\r\n", 404),
    "no UTF-8": (b"GET /%ff%fe" + REST + b"\r\n", 404),
}


def test_f81_what_is_too_large_or_cannot_be_read_is_answered_with_a_problem(api: Served) -> None:
    with ExitStack() as open_ones:
        callers = {name: Dribbler(api, raw) for name, (raw, _) in RAW.items()}
        for each in callers.values():
            open_ones.callback(each.connection.close)
        answers = {name: each.last_word().split(b"\r\n\r\n") for name, each in callers.items()}

    statuses = {name: json.loads(body)["status"] for name, (_, body) in answers.items()}
    assert statuses == {name: status for name, (_, status) in RAW.items()}
    heads = [head.lower() for head, _ in answers.values()]
    assert all(b"content-type: application/problem+json" in head for head in heads)
    assert {int(head.split(b" ")[1]) for head in heads} == {400, 404, 413, 431}


def test_a_caller_who_leaves_in_the_middle_is_no_failure_of_ours(api: Served, key: str) -> None:
    head = HEAD % (TRACK_FIX.encode(), key.encode())
    Dribbler(api, head + b"\r\n{").connection.close()

    assert api.post(deployed().to_bytes(), key).status == 202
    assert "request_failed" not in api.log.read_text()
