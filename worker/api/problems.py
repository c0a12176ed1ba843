"""Errors as RFC 9457 has them: what is wrong, in which field, and what would be right."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from structlog import get_logger

from schemas.answers import Problem
from schemas.events import printable
from worker.storage.engine import is_away

log = get_logger()

NAME = Problem.__name__


class Refusal(Exception):
    """Answered as a problem."""

    def __init__(self, status: int, detail: str, field: str | None = None) -> None:
        self.status = status
        self.detail = detail
        self.field = field
        super().__init__(detail)


def answer_problems(app: FastAPI) -> None:
    """Every error leaves as a problem; none shows more than it should."""
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(SQLAlchemyError, database_error)
    app.add_exception_handler(Exception, unexpected)
    app.openapi = partial(described, app)  # type: ignore[method-assign]


def described(app: FastAPI) -> dict[str, Any]:
    """The description, with the problem that its errors refer to."""
    description = FastAPI.openapi(app)
    description["components"]["schemas"][NAME] = Problem.model_json_schema()
    return description


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These errors, as the description of the API shows them."""
    content = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{NAME}"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def problem(status: int, detail: str, field: str | None = None) -> Response:
    title = HTTPStatus(status).phrase
    body = Problem(type="about:blank", title=title, status=status, detail=detail, field=field)
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers, media_type="application/problem+json"
    )


async def refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for it
    return problem(error.status, error.detail, error.field)


async def http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    return problem(error.status_code, str(error.detail))


async def invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    field = printable(".".join(str(part) for part in first["loc"][1:]))
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, first["msg"], field)


async def database_error(request: Request, error: Exception) -> Response:
    if not is_away(error):
        return await unexpected(request, error)
    log.warning("database_away", path=request.url.path, error=type(error).__name__)
    again = "The database cannot be reached: send the same again."
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, again)


async def unexpected(request: Request, error: Exception) -> Response:
    log.error("request_failed", path=request.url.path, exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something failed on our side.")
