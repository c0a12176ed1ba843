"""Is the process up, is it ready, and what does it measure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import JSONResponse, Response

from migrations.migrate import is_current
from schemas.answers import Answer
from worker import telemetry
from worker.api.access import Doors, Opened
from worker.inbox import Inbox

router = APIRouter()

BEHIND = "behind: run the migrations"
WEAK = "appendfsync is 'everysec'; set it to 'always'"


class Health(Answer):
    status: Literal["ok"] = "ok"


# For the description alone; a model cannot have a field named schema.
READINESS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["ready", "database", "schema", "inbox", "weak"],
            "properties": {
                "ready": {"type": "boolean", "description": "Whether all is ok."},
                "database": {"enum": ["ok", "away"]},
                "schema": {"enum": ["ok", "unknown", BEHIND]},
                "inbox": {"enum": ["ok", "away"]},
                "weak": {
                    "type": "array",
                    "items": {"type": "string", "examples": [WEAK]},
                    "description": "Settings of the inbox that would lose accepted events.",
                },
            },
        }
    }
}


@router.get("/healthz")
def healthz() -> Health:
    """Whether the process answers."""
    return Health()


@router.get(
    "/readyz",
    response_model=None,
    responses={
        200: {"content": READINESS, "description": "All is there"},
        503: {"content": READINESS, "description": "Something is away or out of date"},
    },
)
def readyz(doors: Opened) -> Response:
    """Whether database, schema and inbox are ready, and which settings of the inbox are weak."""
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
    return {"database": "ok", "schema": "ok" if current else BEHIND}


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
