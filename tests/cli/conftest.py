"""The command alone, and in an installation of fresh database, empty inbox and sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.cli.running import Cli, Command, nothing_set
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database
from worker.local.valkey import Valkey


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Where nothing is set and no server runs."""
    with nothing_set(monkeypatch):
        yield Command(monkeypatch, capsys)


@pytest.fixture
def cli(
    database: Database,
    engine: Engine,
    valkey: Valkey,
    redis: Redis,
    sandbox: RunningSandbox,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    with nothing_set(monkeypatch):
        one = Cli(monkeypatch, capsys, engine, redis)
        one.set(
            DATABASE_URL=database.worker_url,
            REDIS_URL=valkey.url,
            TRUST_REDIS="1",
            STRIPE_API_KEY=sandbox.api_key,
            STRIPE_API_BASE=sandbox.url,
        )
        yield one
