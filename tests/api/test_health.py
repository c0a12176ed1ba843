"""Whether the API is up and ready, and how it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from structlog.typing import EventDict

from migrations.migrate import downgrade, upgrade
from tests.api.client import NOWHERE, TRACK_FIX, Api, problem_in
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
    assert {each["title"] for each in problems} == {"Not Found"}


def test_another_method_is_answered_with_a_problem(shared_api: Api) -> None:
    got = shared_api.ask("DELETE", "/api/v1/customers/acme/usage", shared_api.signed())

    problem_in(got, 405)


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
    assert [each["path"] for each in failed] == ["/api/v1/customers/acme/usage"]


@pytest.fixture(scope="module")
def openapi(shared_api: Api) -> dict[str, Any]:
    found: dict[str, Any] = shared_api.ask("GET", "/openapi.json").json()
    return found


def test_the_description_of_the_api_is_one_that_tools_can_read(openapi: dict[str, Any]) -> None:
    assert openapi["openapi"].startswith("3.1")
    assert openapi["info"]["title"] == "Fixbill"
    dangling = [ref for ref in references(openapi) if not resolves(openapi, ref)]
    assert dangling == []


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolves(document: dict[str, Any], ref: str) -> bool:
    place: Any = document
    for part in ref.removeprefix("#/").split("/"):
        if not ref.startswith("#/") or not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return True


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        (
            TRACK_FIX,
            "post",
            {"200", "202", "207", "401", "403", "413", "422", "503"},
        ),
        ("/api/v1/customers/{customer_id}/usage", "get", {"200", "401", "403", "404", "422"}),
        ("/webhooks/stripe", "post", {"200", "400", "413"}),
        ("/healthz", "get", {"200"}),
        ("/readyz", "get", {"200", "503"}),
    ],
)
def test_the_description_lists_every_status_that_is_answered(
    openapi: dict[str, Any], path: str, method: str, statuses: set[str]
) -> None:
    operation = openapi["paths"][path][method]

    assert operation["responses"].keys() >= statuses


def test_every_error_is_described_as_the_problem_that_it_is(openapi: dict[str, Any]) -> None:
    described = {
        (path, method, status): response.get("content", {})
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
        for status, response in operation["responses"].items()
        if status.startswith(("4", "5")) and path != "/readyz"
    }

    wrong = [where for where, content in described.items() if not is_problem(openapi, content)]
    assert len(described) > 10
    assert wrong == []


def is_problem(openapi: dict[str, Any], content: dict[str, Any]) -> bool:
    schema = content.get("application/problem+json", {}).get("schema", {})
    if "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return set(schema.get("required", [])) == {"type", "title", "status", "detail"}


def test_the_description_names_the_key_that_is_needed(openapi: dict[str, Any]) -> None:
    (scheme,) = openapi["components"]["securitySchemes"].values()
    needed = {
        path: "security" in operation
        for path, operations in openapi["paths"].items()
        for operation in operations.values()
    }

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert needed == {
        TRACK_FIX: True,
        "/api/v1/customers/{customer_id}/usage": True,
        "/api/v1/customers/{customer_id}/statements": True,
        "/api/v1/customers/{customer_id}/statements/{number}": True,
        "/api/v1/customers/{customer_id}/statements/{number}.html": True,
        "/api/v1/customers/{customer_id}/setup": True,
        "/api/v1/customers/{customer_id}/charges/{charge_id}/recovery": True,
        "/webhooks/stripe": False,
        "/healthz": False,
        "/readyz": False,
    }
