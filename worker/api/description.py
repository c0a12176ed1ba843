"""The description of the API (OpenAPI 3.1), completed: what every operation has in common."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from schemas.answers import Problem
from schemas.problems import TYPES
from worker.api.examples import PARAMETERS, example_of, problem_of, sheet_of
from worker.api.problems import MEDIA_TYPE, NAME

Document = dict[str, Any]
Operation = dict[str, Any]

METHODS = ("get", "post", "put", "patch", "delete")
OF_FASTAPI = ("HTTPValidationError", "ValidationError")  # errors that we answer as problems

ABOUT = """
**Authentication.** Send `Authorization: Bearer fbk_…` with an API key (`fixbill keys create`). A
key has scopes: `publish`, `revert`, `read`, `admin`. Each operation names those of which it needs
one; `admin` may do everything. A key may be bound to customers, and may expire. What belongs to
others is answered like what does not exist: 404.

**Money** is an object: `amount` in whole minor units (cents for `usd`) and `currency`, the
lower-case ISO 4217 code. 2900 and `usd` are $29.00; prices are without tax. Times are RFC 3339
in UTC, days begin at midnight UTC, and credits are whole numbers.

**Freshness.** Answers carry `as_of`: everything that was accepted before it is included. It is also
the header `Fixbill-As-Of`.

**Lists** come in pages of `limit`, with `has_more` and `cursor`: send the cursor to get the next
page. What is written meanwhile moves no cursor. With `Accept: text/csv` a list is a spreadsheet,
and the cursor is the header `Fixbill-Cursor`.

**Caching.** Answers with an `ETag` may be asked for with `If-None-Match`: 304 means that nothing
but `as_of` has changed.

**Doing something twice.** A fix is billed once, however often it is sent. Requests that make
something, and could make it twice, take the header `Idempotency-Key`.

**Errors** are `application/problem+json` (RFC 9457). `type` is one of a closed list and never
changes its meaning; `detail` is a sentence for people; `field` names what is wrong.

**Rates.** A key may ask, and publish, only so often. 429 says in `Retry-After` when to go on.
"""

HEADERS: dict[str, Document] = {
    "ETag": {"description": "Of all but `as_of`.", "schema": {"type": "string"}},
    "Fixbill-As-Of": {
        "description": "Everything accepted before it is included.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "Fixbill-Cursor": {
        "description": "Leads to the next page; absent on the last.",
        "schema": {"type": "string"},
    },
}
UNCHANGED = "Nothing but `as_of` has changed since the ETag that was sent"
IF_NONE_MATCH: Document = {
    "name": "If-None-Match",
    "in": "header",
    "description": "An `ETag` that you have.",
    "schema": {"type": "string"},
    "example": 'W/"5d41402abc4b2a76b9719d911017c592"',
}
RETRY_AFTER: Document = {"description": "Whole seconds.", "schema": {"type": "integer"}}
CHALLENGE: Document = {"description": "`Bearer`.", "schema": {"type": "string"}}


def describe(app: FastAPI) -> None:
    app.openapi = partial(described, app)  # type: ignore[method-assign]


def described(app: FastAPI) -> Document:
    """Made once; FastAPI keeps it."""
    if app.openapi_schema is None:
        complete(FastAPI.openapi(app))
    assert app.openapi_schema is not None  # noqa: S101 - FastAPI has just set it
    return app.openapi_schema


def complete(document: Document) -> None:
    document["info"]["description"] = ABOUT.strip()
    schemas = document["components"]["schemas"]
    for name in OF_FASTAPI:
        schemas.pop(name, None)
    schemas[NAME] = Problem.model_json_schema()
    schemas[NAME]["properties"]["type"]["enum"] = [each.uri for each in TYPES]
    for _, method, operation in operations(document):
        summarize(operation)
        complete_parameters(document, operation)
        complete_responses(document, method, operation)
        complete_body(document, operation)


def operations(document: Document) -> Iterator[tuple[str, str, Operation]]:
    """Path, method and operation."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def summarize(operation: Operation) -> None:
    """The first paragraph of the docstring says it in short."""
    first, _, rest = operation.get("description", "").partition("\n\n")
    operation["summary"] = " ".join(first.split()).rstrip(".")
    said = [rest.strip()] if rest.strip() else []
    scopes = scopes_of(operation)
    if scopes is not None:
        operation["x-scope"] = scopes
        needed = " or ".join(f"`{scope}`" for scope in scopes)
        said.append(f"Needs a key with the scope {needed}.")
    operation["description"] = "\n\n".join(said)


def scopes_of(operation: Operation) -> list[str] | None:
    """One of them is needed; None: no key is needed."""
    for requirement in operation.get("security", []):
        for scopes in requirement.values():
            return list(scopes)
    return None


def complete_parameters(document: Document, operation: Operation) -> None:
    for parameter in operation.get("parameters", []):
        name = parameter["name"]
        if name in PARAMETERS:
            parameter.setdefault("description", PARAMETERS[name])
        if "examples" not in parameter:
            parameter.setdefault("example", example_of(parameter["schema"], document, name))


def complete_body(document: Document, operation: Operation) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content.setdefault("example", example_of(content["schema"], document))


def complete_responses(document: Document, method: str, operation: Operation) -> None:
    responses = operation["responses"]
    for status in errors_of(operation):
        responses.setdefault(status, {})
    for status, response in responses.items():
        if is_error(status) and not is_own(response):
            response.clear()
            response.update(error(int(status)))
        if response["description"] == "Successful Response":  # FastAPI's, for want of another
            response["description"] = HTTPStatus(int(status)).phrase
        for media_type, content in response.get("content", {}).items():
            complete_content(document, media_type, content, response)
    if method == "get" and "security" in operation and "application/json" in content_of(responses):
        operation["parameters"].append(IF_NONE_MATCH)
        responses.setdefault("304", {"description": UNCHANGED})
        for status in ("200", "304"):
            responses[status]["headers"] = HEADERS
    operation["responses"] = dict(sorted(responses.items()))


def content_of(responses: Document) -> Document:
    found: Document = responses.get("200", {}).get("content", {})
    return found


def errors_of(operation: Operation) -> Iterator[str]:
    """What may go wrong with any operation of this kind."""
    parameters, keyed = operation.get("parameters", []), "security" in operation
    yield "503"
    if keyed:
        yield from ("401", "403", "422", "429")
    if any(parameter["in"] == "path" for parameter in parameters):
        yield "404"
    if "requestBody" in operation:
        yield from ("408", "413")


def is_error(status: str) -> bool:
    return status >= "400"


def is_own(response: Document) -> bool:
    """Whether it is something else than a problem; FastAPI's own errors are not ours."""
    content = response.get("content", {}).get("application/json")
    return content is not None and not any(name in str(content) for name in OF_FASTAPI)


def error(status: int) -> Document:
    """The problems with this status."""
    kinds = [each for each in TYPES if each.status == status]
    examples = {each.slug: {"summary": each.title, "value": problem_of(each)} for each in kinds}
    found: Document = {
        "description": ", or: ".join(each.title for each in kinds),
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": f"#/components/schemas/{NAME}"},
                "examples": examples,
            }
        },
    }
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        found["headers"] = {"Retry-After": RETRY_AFTER}
    if status == HTTPStatus.UNAUTHORIZED:
        found["headers"] = {"WWW-Authenticate": CHALLENGE}
    return found


def complete_content(
    document: Document, media_type: str, content: Document, response: Document
) -> None:
    """An example, unless it has one."""
    if "example" in content or "examples" in content:
        return
    if media_type == "text/html":
        content["example"] = "<!doctype html>…"
    elif media_type == "text/csv":
        listing = response["content"]["application/json"]["schema"]
        content["example"] = sheet_of(example_of(listing, document))
    else:
        content["example"] = example_of(content["schema"], document)
