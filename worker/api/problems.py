"""Errors as RFC 9457 has them: what is wrong, in which field, and what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Scope
from structlog import get_logger

from schemas.answers import Problem
from schemas.events import printable
from schemas.problems import (
    DATABASE_AWAY,
    INBOX_AWAY,
    UNKNOWN_PATH,
    ProblemType,
    usual_type,
)
from worker.storage.engine import is_away

log = get_logger()

NAME = Problem.__name__
NO_JSON = "The body is no JSON in UTF-8."
MEDIA_TYPE = "application/problem+json"


class Refusal(HTTPException):
    """Answered as a problem; without a `kind`, as the usual one of its status.

    An HTTPException, because FastAPI answers 400 to whatever else is raised while it reads a body.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        field: str | None = None,
        kind: ProblemType | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, detail)
        self.status = status
        self.field = field
        self.kind = kind
        self.retry_after = retry_after  # seconds


def answer_problems(app: FastAPI) -> None:
    """Every error leaves as a problem; none shows more than it should."""
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(ClientDisconnect, broken_off)
    app.add_exception_handler(SQLAlchemyError, unexpected)
    app.add_exception_handler(RedisError, inbox_error)
    app.add_exception_handler(Exception, unexpected)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors, as the description of the API shows them."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{NAME}"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def problem(
    status: int,
    detail: str,
    field: str | None = None,
    kind: ProblemType | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    kind = kind or usual_type(status, field)
    body = Problem(type=kind.uri, title=kind.title, status=status, detail=detail, field=field)
    more = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    return JSONResponse(
        body.model_dump(exclude_none=True), status, {**more, **(headers or {})}, MEDIA_TYPE
    )


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for it
    again = error.retry_after
    headers = None if again is None else {"Retry-After": str(max(1, ceil(again)))}
    return problem(error.status, error.detail, error.field, error.kind, headers)


async def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI could not read the body
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, NO_JSON)
    kind = UNKNOWN_PATH if error.status_code == HTTPStatus.NOT_FOUND else None
    return problem(error.status_code, str(error.detail), None, kind, error.headers)


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, NO_JSON)
    field = printable(".".join(str(part) for part in first["loc"][1:]))
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, first["msg"], field)


async def broken_off(_: Request, __: Exception) -> Response:
    """Nobody hears this, and nothing of ours failed."""
    return problem(HTTPStatus.BAD_REQUEST, "The connection ended before the body did.")


def database_away(request: Request, error: Exception) -> Response:
    log.warning("database_away", route=route_of(request.scope), error=type(error).__name__)
    again = "The database cannot be reached: send the same again."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, again, kind=DATABASE_AWAY)


async def inbox_error(request: Request, error: Exception) -> Response:
    log.warning("inbox_away", route=route_of(request.scope), error=type(error).__name__)
    again = "The inbox cannot be reached: send the same again."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, again, kind=INBOX_AWAY)


async def unexpected(request: Request, error: Exception) -> Response:
    if is_away(error):  # of the driver itself: much is read past SQLAlchemy
        return database_away(request, error)
    log.error("request_failed", route=route_of(request.scope), exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed on our side.")


def route_of(scope: Scope) -> str:
    """Not the path: in a link that a customer was sent, a part of it is secret."""
    return str(getattr(scope.get("route"), "path", "none"))
