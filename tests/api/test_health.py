"""Whether the API is up and ready, and how it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from structlog.typing import EventDict

from migrations.migrate import downgrade, upgrade
from schemas.problems import BAD_BODY, UNKNOWN_PATH, WRONG_METHOD
from tests.api.client import NOWHERE, Api, problem_in
from tests.builders import add_customer
from tests.stack import connected
from worker import inbox
from worker.local.valkey import Valkey
from worker.storage.engine import API

READY = {"ready": True, "database": "ok", "schema": "ok", "inbox": "ok", "weak": []}


def test_a_process_that_answers_is_healthy_whatever_is_away(api: Api, redis_away: Redis) -> None:
    with connected(f"postgresql://{NOWHERE}/fixbill", API) as engine:
        got = api.behind(engine=engine, redis=redis_away).ask("GET", "/healthz")

    assert (got.status_code, got.json()) == (200, {"status": "ok"})


def test_with_everything_there_it_is_ready(api: Api) -> None:
    got = api.ask("GET", "/readyz")

    assert (got.status_code, got.json()) == (200, READY)


def test_before_the_migrations_it_is_not_ready_and_after_them_it_is(
    api: Api, owner: Engine
) -> None:
    with owner.begin() as tx:
        downgrade(tx)
    behind = api.ask("GET", "/readyz")
    with owner.begin() as tx:
        upgrade(tx)
    current = api.ask("GET", "/readyz")

    assert behind.status_code == 503
    assert behind.json() == READY | {"ready": False, "schema": "behind: run the migrations"}
    assert current.json() == READY


def test_without_postgres_it_is_not_ready(api: Api) -> None:
    with connected(f"postgresql://{NOWHERE}/fixbill", API) as engine:
        got = api.behind(engine=engine).ask("GET", "/readyz")

    assert got.status_code == 503
    assert got.json() == READY | {"ready": False, "database": "away", "schema": "unknown"}


def test_without_redis_it_is_not_ready(api: Api, redis_away: Redis) -> None:
    got = api.behind(redis=redis_away).ask("GET", "/readyz")

    assert got.status_code == 503
    assert got.json() == READY | {"ready": False, "inbox": "away"}


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Redis]:
    """A store with settings that lose what it has acknowledged."""
    settings = {
        "appendonly": "no",
        "appendfsync": "everysec",
        "no-appendfsync-on-rewrite": "yes",
        "maxmemory-policy": "allkeys-lru",
    }
    with Valkey.start(tmp_path, settings) as store, inbox.connect(store.url) as client:
        yield client


def test_a_store_that_may_lose_events_is_ready_and_its_weak_settings_are_named(
    api: Api, careless: Redis
) -> None:
    got = api.behind(redis=careless).ask("GET", "/readyz")

    assert (got.status_code, got.json()["ready"]) == (200, True)
    assert got.json()["weak"] == [
        "appendonly is 'no'; set it to 'yes'",
        "appendfsync is 'everysec'; set it to 'always'",
        "no-appendfsync-on-rewrite is 'yes'; set it to 'no'",
        "maxmemory-policy is 'allkeys-lru'; set it to 'noeviction'",
    ]


def test_an_unknown_path_is_answered_with_a_problem(shared_api: Api) -> None:
    answers = [
        shared_api.ask(method, path)
        for method, path in (
            ("GET", "/"),
            ("GET", "/api/v1/customers"),
            ("POST", "/api/v2/billing/track_fix"),
            ("GET", "/api/v1/customers/acme/usage/more"),
            ("GET", "/%00"),
            ("GET", "/..%2f..%2fetc/passwd"),
        )
    ]

    problems = [problem_in(each, 404) for each in answers]
    assert {each["type"] for each in problems} == {UNKNOWN_PATH.uri}


def test_another_method_is_answered_with_a_problem(shared_api: Api) -> None:
    got = shared_api.ask("DELETE", "/api/v1/customers/acme/usage", shared_api.signed())

    assert problem_in(got, 405)["type"] == WRONG_METHOD.uri
    assert got.headers["Allow"] == "GET"


@pytest.mark.parametrize("body", [b"{", b'{"reason": "\xe9"}', b"[" * 60_000, b'{"reason": "x"} x'])
def test_a_body_that_is_no_json_is_answered_with_a_problem_that_blames_no_field(
    shared_api: Api, body: bytes
) -> None:
    path = "/api/v1/customers/acme/fixes/fix-1/contest"
    headers = shared_api.signed() | {"Content-Type": "application/json"}

    problem = problem_in(shared_api.ask("POST", path, headers, body), 422)

    assert problem["type"] == BAD_BODY.uri
    assert "field" not in problem


def test_a_failure_of_ours_says_so_and_nothing_of_our_insides(
    api: Api, owner: Engine, logged: list[EventDict]
) -> None:
    add_customer(api.engine)
    with owner.begin() as tx:
        tx.execute(text("DROP TABLE usage"))

    got = api.usage()

    assert problem_in(got, 500)["detail"] == "Something failed on our side."
    leaks = ("usage", "psycopg", "SELECT", "Traceback", "relation", ".py")
    assert not [each for each in leaks if each in got.text]
    failed = [each for each in logged if each["event"] == "request_failed"]
    assert [each["route"] for each in failed] == ["/api/v1/customers/{customer_id}/usage"]
