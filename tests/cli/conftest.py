"""An installation for the commands: fresh database, empty inbox, the sandbox for Stripe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.cli.running import Cli, closing_connections
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database
from worker.local.valkey import Valkey
from worker.settings import settings


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
    one = Cli(engine, redis, monkeypatch, capsys)
    one.clear()
    one.set(
        DATABASE_URL=database.worker_url,
        REDIS_URL=valkey.url,
        TRUST_REDIS="1",
        STRIPE_API_KEY=sandbox.api_key,
        STRIPE_API_BASE=sandbox.url,
    )
    with closing_connections():
        yield one
    settings.cache_clear()
