from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from producers.publish import connect
from tests.producers.scripted_api import ScriptedApi, scripted_api
from worker.local.valkey import Valkey


@pytest.fixture(scope="session")
def shared_api() -> Iterator[ScriptedApi]:
    with scripted_api() as one:
        yield one


@pytest.fixture
def api(shared_api: ScriptedApi) -> ScriptedApi:
    """The API, which has nothing to answer and was asked nothing yet."""
    shared_api.reset()
    return shared_api


@pytest.fixture
def inbox(valkey: Valkey) -> Iterator[Redis]:
    """An empty inbox."""
    with connect(valkey.url) as redis:
        redis.flushall()
        yield redis
