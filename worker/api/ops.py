"""The operator's live page: what stands where over all customers, and what acts on it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from redis.exceptions import RedisError
from sqlalchemy import Connection
from starlette.responses import Response
from structlog import get_logger

from worker.api.access import Doors, Opened, good_key, may, rows_of_all
from worker.api.page_route import PageRoute, shown
from worker.api.pages.ops import Look, ops_page
from worker.api.pages.pile import pile_page
from worker.api.problems import Refusal
from worker.customers import CANCELLED
from worker.inbox import Inbox
from worker.storage.backlog import due_backlogs
from worker.storage.piles import DUE_PILES, LISTED_MAX, PILES, rows_of
from worker.usage.operations import Settling, operations, partitions_of, settling_of

log = get_logger()

basic = HTTPBasic(auto_error=False)
HOUR = timedelta(hours=1)
LOOK = re.compile(r"(\d{1,11}\.\d{3})-(\d{1,18})")


def operator(
    request: Request,
    doors: Opened,
    credentials: Annotated[HTTPBasicCredentials | None, Depends(basic)],
) -> None:
    """Whoever has a key with the scope admin that is bound to no customer, as the password."""
    key = good_key(credentials.password, request, doors) if credentials else None
    if key is None or not may(key, "admin") or key.customer_ids is not None:
        whole = "Any user name, and as the password an API key with the scope admin for everyone."
        raise Refusal(HTTPStatus.UNAUTHORIZED, whole)
    doors.limits.ask(key)


pages = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(operator)])


@pages.get("/ops")
def ops(doors: Opened, since: Annotated[str | None, Query(max_length=40)] = None) -> Response:
    """All of it at one glance; it looks again by itself."""
    settling, values = settling_now(doors), moments(doors)
    with rows_of_all(doors.engine) as tx:
        found = operations(tx, settling, values)
    return shown(ops_page(found, look_of(since)))


@pages.get("/ops/due/{kind}")
def due(kind: str, doors: Opened) -> Response:
    """What is due of this kind, the oldest first."""
    if kind == "held_fix":
        with rows_of_all(doors.engine) as tx:
            return listed(kind, held(tx, doors), None, doors)
    if kind not in DUE_PILES:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such page.")
    return pile(kind, None, doors)


@pages.get("/ops/inbox")
def inbox(doors: Opened) -> Response:
    """How much waits in each partition."""
    try:
        return listed("inbox", partitions_of(Inbox(doors.redis)), None, doors)
    except RedisError as error:
        away = "The inbox cannot be read: see inbox_unreadable in the log, and `fixbill doctor`."
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, away) from error


@pages.get("/ops/{name}")
def waiting(name: str, request: Request, doors: Opened) -> Response:
    """What waits for a person, or can be looked through; `?status=…` and the like for one kind."""
    if name not in PILES or name in DUE_PILES:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such page.")
    by = PILES[name].by
    return pile(name, request.query_params.get(by) if by else None, doors)


def pile(name: str, only: str | None, doors: Doors) -> Response:
    with rows_of_all(doors.engine) as tx:
        return listed(name, rows_of(tx, PILES[name], moments(doors), only), only, doors)


def moments(doors: Doors) -> dict[str, object]:
    """What the piles compare with."""
    now, wall = doors.clock.now(), doors.clock.wall()
    return {"now": now, "wall": wall, "hour_ago": wall - HOUR, "cancelled": CANCELLED}


def listed(name: str, rows: Sequence[Any], only: str | None, doors: Doors) -> Response:
    is_business_time = name in PILES and PILES[name].is_business_time
    now = doors.clock.now() if is_business_time else doors.clock.wall()
    return shown(pile_page(name, rows, only, now))


def held(tx: Connection, doors: Doors) -> list[dict[str, str]]:
    return [{"customer_id": each} for each in due_backlogs(tx, doors.clock.now(), LISTED_MAX)]


def settling_now(doors: Doors) -> Settling | None:
    try:
        return settling_of(Inbox(doors.redis))
    except RedisError:
        log.warning("inbox_unreadable", exc_info=True)
        return None


def look_of(since: str | None) -> Look | None:
    """What the page before this one has seen."""
    parts = LOOK.fullmatch(since or "")
    if parts is None:
        return None
    return Look(datetime.fromtimestamp(float(parts[1]), UTC), int(parts[2]))


router = pages
