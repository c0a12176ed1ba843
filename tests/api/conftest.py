"""An API on a fresh database and an empty inbox."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from redis import Redis
from sqlalchemy import Engine
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.api.client import NOWHERE, Api, doors_to
from tests.builders import NOW
from tests.stack import Databases, connected
from worker import inbox
from worker.api.access import Doors
from worker.clock import Clock
from worker.local.valkey import Valkey
from worker.storage.engine import API, WORKER


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What would have been written to the log."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def doors(api_engine: Engine, redis: Redis, clock: Clock) -> Doors:
    return doors_to(api_engine, redis, clock)


@pytest.fixture
def api(doors: Doors, engine: Engine, redis: Redis) -> Api:
    return Api(doors, engine, redis)


@pytest.fixture
def redis_away() -> Iterator[Redis]:
    """A client whose server is gone."""
    with inbox.connect(f"redis://{NOWHERE}") as client:
        yield client


@pytest.fixture(scope="module")
def shared_api(databases: Databases, valkey: Valkey) -> Iterator[Api]:
    """One API for all tests of a module that put nothing into database or inbox."""
    clock = Clock(NOW - datetime.now(UTC))
    with (
        databases.fresh() as database,
        connected(database.worker_url, WORKER) as engine,
        connected(database.api_url, API) as api_engine,
        inbox.connect(valkey.url) as redis,
    ):
        redis.flushall()
        yield Api(doors_to(api_engine, redis, clock), engine, redis)
