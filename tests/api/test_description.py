"""The description of the API is whole, says what is so, and can be read without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from schemas.problems import TYPES
from tests.api.client import Api
from worker.api.description import Document, operations, scopes_of
from worker.api.examples import STOPGAP, resolved
from worker.keys import SCOPES


@pytest.fixture(scope="module")
def openapi(shared_api: Api) -> Document:
    found: Document = shared_api.ask("GET", "/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def described(openapi: Document) -> list[tuple[str, Document]]:
    return [(f"{method} {path}", each) for path, method, each in operations(openapi)]


def test_tools_can_read_it(openapi: Document) -> None:
    assert openapi["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(openapi).iter_errors()) == []


def test_it_begins_with_what_all_operations_have_in_common(openapi: Document) -> None:
    about = openapi["info"]["description"]

    for word in ("Authorization", "minor units", "`as_of`", "`cursor`", "`ETag`", "text/csv"):
        assert word in about


def test_every_operation_has_a_name_of_its_own_a_heading_and_a_summary(
    described: list[tuple[str, Document]],
) -> None:
    names = [each["operationId"] for _, each in described]

    assert len(names) == len(set(names)) > 10
    assert [name for name in names if not re.fullmatch(r"[a-z]+(_[a-z]+)*", name)] == []
    assert [where for where, each in described if not each["tags"]] == []
    assert [where for where, each in described if not 10 < len(each["summary"]) < 120] == []


def test_every_parameter_is_explained_with_an_example(
    described: list[tuple[str, Document]],
) -> None:
    bare = [
        f"{where}: {parameter['name']}"
        for where, each in described
        for parameter in each.get("parameters", [])
        if not parameter.get("description")
        or parameter.get("example", parameter.get("examples")) in (None, STOPGAP)
    ]

    assert bare == []


def test_every_operation_says_what_may_go_wrong(described: list[tuple[str, Document]]) -> None:
    missing = {
        where: lacking
        for where, each in described
        if (lacking := must_say(each) - each["responses"].keys())
    }

    assert missing == {}


def must_say(operation: Document) -> set[str]:
    found = {"503"}
    if "security" in operation:
        found |= {"401", "403", "422", "429"}
    if "{customer_id}" in str(operation.get("parameters")):
        found |= {"404"}
    if "requestBody" in operation:
        found |= {"408", "413"}
    return found


def test_every_error_is_a_problem_of_a_type_in_the_list(
    described: list[tuple[str, Document]],
) -> None:
    told = {
        (where, status): response["content"]
        for where, each in described
        for status, response in each["responses"].items()
        if status >= "400" and where != "get /readyz"
    }

    assert [where for where, content in told.items() if set(content) != PROBLEM] == []
    shown = {
        example["value"]["type"]
        for content in told.values()
        for example in content["application/problem+json"]["examples"].values()
    }
    assert shown <= {each.uri for each in TYPES}


PROBLEM = {"application/problem+json"}


def test_429_says_when_and_401_says_how(described: list[tuple[str, Document]]) -> None:
    keyed = [each["responses"] for _, each in described if "security" in each]

    assert all("Retry-After" in responses["429"]["headers"] for responses in keyed)
    assert all("WWW-Authenticate" in responses["401"]["headers"] for responses in keyed)


def test_every_body_has_an_example_as_its_schema_has_it(openapi: Document) -> None:
    wrong = []
    seen = 0
    for where, content in bodies(openapi):
        schema = {**content["schema"], "components": openapi["components"]}
        for example in examples_in(content):
            seen += 1
            wrong += [f"{where}: {each.message}" for each in errors(schema, example)]

    assert seen > 50
    assert wrong == []


def test_no_example_is_a_stopgap(openapi: Document) -> None:
    """A field without a word of its own needs one in `worker/api/examples.py`."""
    vague = {
        f"{where}: {name}"
        for where, content in bodies(openapi)
        for example in examples_in(content)
        for name in stopgaps(example)
    }

    assert vague == set()


def stopgaps(value: object, name: str = "") -> Iterator[str]:
    if value == STOPGAP:
        yield name
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from stopgaps(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from stopgaps(each, name)


def errors(schema: Document, example: object) -> Iterator[Any]:
    return Draft202012Validator(schema).iter_errors(example)


def bodies(openapi: Document) -> Iterator[tuple[str, Document]]:
    """Every content with a schema that is sent or answered."""
    for path, method, operation in operations(openapi):
        places = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for place, body in places.items():
            for media_type, content in body.get("content", {}).items():
                if "schema" in content:
                    yield f"{method} {path} {place} {media_type}", content


def examples_in(content: Document) -> list[Any]:
    if "examples" in content:
        return [each["value"] for each in content["examples"].values()]
    return [content["example"]]


def test_every_parameters_example_is_as_its_schema_has_it(openapi: Document) -> None:
    wrong = [
        f"{method} {path} {parameter['name']}: {each.message}"
        for path, method, operation in operations(openapi)
        for parameter in operation.get("parameters", [])
        if "example" in parameter
        for each in errors(
            {**parameter["schema"], "components": openapi["components"]}, parameter["example"]
        )
    ]

    assert wrong == []


def test_a_key_is_asked_for_where_one_is_needed_and_with_which_scope(
    openapi: Document, described: list[tuple[str, Document]]
) -> None:
    (scheme,) = openapi["components"]["securitySchemes"].values()
    needed = {where: scopes_of(each) for where, each in described}

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert {where for where, scopes in needed.items() if scopes is None} == {
        "post /webhooks/stripe",
        "get /healthz",
        "get /readyz",
    }
    assert {scope for scopes in needed.values() for scope in scopes or []} == set(SCOPES)


def test_no_operation_takes_an_address_that_we_would_visit(openapi: Document) -> None:
    taken = {
        name.lower()
        for _, _, operation in operations(openapi)
        for name in [
            *(parameter["name"] for parameter in operation.get("parameters", [])),
            *fields(operation.get("requestBody", {}), openapi),
        ]
    }

    assert {"customer_id", "reason", "fix_id"} <= taken
    assert not [name for name in taken if re.search("url|uri|href|callback|redirect|host", name)]


def fields(value: object, openapi: Document) -> Iterator[str]:
    """The names of all fields within a schema."""
    if isinstance(value, dict):
        yield from value.get("properties", {})
        yield from fields(list(value.values()), openapi)
        if "$ref" in value:
            yield from fields(resolved(value, openapi), openapi)
    elif isinstance(value, list):
        for each in value:
            yield from fields(each, openapi)


def test_the_page_lists_every_operation_and_needs_nothing_else(
    shared_api: Api, openapi: Document
) -> None:
    got = shared_api.ask("GET", "/docs")

    assert got.status_code == 200
    assert "default-src 'none'" in got.headers["Content-Security-Policy"]
    assert "<script" not in got.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', got.text)
    missing = [
        path
        for path, method, _ in operations(openapi)
        if f"{method.upper()} {path}" not in got.text
    ]
    assert missing == []


def test_the_pages_of_the_framework_are_gone(shared_api: Api) -> None:
    assert shared_api.ask("GET", "/redoc").status_code == 404
    assert "cdn" not in shared_api.ask("GET", "/docs").text
