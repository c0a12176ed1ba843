"""The `fixbill` command in this process, against the servers of a test."""

from __future__ import annotations

import json
import secrets
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event
from sqlalchemy.pool import Pool

from schemas.events import Event
from tests.builders import MINUTE, deployed, settle_events
from tests.logs import write_plainly
from worker.cli.main import run
from worker.settings import Settings, settings

NOWHERE = "127.0.0.1:1"  # nothing listens there, so a connection is refused at once


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stands on stdout, which must be JSON alone."""
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """The one line on stderr, the log apart, with nothing on stdout: no traceback."""
        assert self.out == ""
        (line,) = (line for line in self.err.splitlines() if not line.startswith('{"'))
        return line


@dataclass(frozen=True)
class Command:
    """`fixbill …`, with the settings it is given and no others."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Done:
        settings.cache_clear()
        self.capsys.readouterr()
        try:
            code = run(words)
        finally:
            write_plainly()  # a command logs to the stderr of its own process
        return Done(code, *self.capsys.readouterr())

    def set(self, **environment: str | None) -> None:
        """Another setting; None takes it away."""
        for name, value in environment.items():
            if value is None:
                self.monkeypatch.delenv(name, raising=False)
            else:
                self.monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Cli(Command):
    """The command in an installation, and what stands behind it."""

    engine: Engine  # the worker's
    redis: Redis

    def settle(self, *events: Event) -> None:
        """Now, for commands live in the present."""
        settle_events(self.engine, *events, now=datetime.now(UTC))


@contextmanager
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No setting of whoever runs the tests; and what a command leaves open is closed."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    with closing_connections():
        yield
    settings.cache_clear()


def somebody() -> str:
    """A customer id that Stripe's sandbox has not met in another test."""
    return f"customer-{secrets.token_hex(4)}"


def fixed_now(fix_id: str = "fix-1", customer_id: str = "acme", **more: Any) -> Event:
    """A fix that reached main a minute ago, by the clock on the wall."""
    return deployed(fix_id, customer_id, at=datetime.now(UTC) - MINUTE, **more)


def hidden_in(text: str) -> set[str]:
    """Characters that a terminal would act upon or a reader could not see, lines apart."""
    return {char for char in text if unicodedata.category(char).startswith("C")} - {"\n"}


@contextmanager
def closing_connections() -> Iterator[None]:
    """A command is a process and leaves its connections to its end; here that end is now."""
    opened: list[Any] = []

    def note(connection: Any, _: object) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", note)
    try:
        yield
    finally:
        event.remove(Pool, "connect", note)
        for each in opened:
            each.close()
