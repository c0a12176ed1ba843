"""Is the process up, is it ready, and what does it measure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from migrations.migrate import is_current
from worker import telemetry
from worker.api.access import Doors, Opened
from worker.inbox import Inbox

router = APIRouter()


@router.get("/healthz")
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Something is away or out of date"}})
def readyz(doors: Opened) -> Response:
    """Database, schema and inbox; `weak` names settings that would lose accepted events."""
    checks: dict[str, Any] = {**database(doors), **inbox(doors)}
    ready = checks["database"] == checks["schema"] == checks["inbox"] == "ok"
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse({"ready": ready, **checks}, status)


def database(doors: Doors) -> dict[str, str]:
    try:
        with doors.engine.connect() as connection:
            current = is_current(connection)
    except SQLAlchemyError:
        return {"database": "away", "schema": "unknown"}
    return {"database": "ok", "schema": "ok" if current else "behind: run the migrations"}


def inbox(doors: Doors) -> dict[str, Any]:
    try:
        weak = Inbox(doors.redis).weaknesses()
    except RedisError:
        return {"inbox": "away", "weak": []}
    return {"inbox": "ok", "weak": weak}


@router.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Of this process, for Prometheus."""
    body, media_type = telemetry.exposition()
    return Response(body, media_type=media_type)
