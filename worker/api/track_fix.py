"""The HTTP door: one event or a batch, put into the inbox."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from structlog import get_logger

from producers.publish import append
from schemas.events import BadEvent, Event, parse_json, printable, validated
from schemas.ids import new_id
from schemas.inbox import EVENT_BYTES_MAX, Entry
from schemas.problems import NOT_YOUR_CUSTOMER, WRONG_SCOPE, ProblemType
from schemas.receipts import Receipt, receipt
from worker import telemetry
from worker.api.access import Doors, Opened, Publisher, may, rows_of, serves
from worker.api.bounds import BATCH_BYTES_MAX
from worker.api.limits import BATCH_MAX
from worker.api.problems import Refusal, problems
from worker.inbox import time_of
from worker.storage.api_keys import ApiKey
from worker.storage.parked import park
from worker.usage.receipts import receipt_of

log = get_logger()
router = APIRouter()

WAIT_MAX = 30.0  # seconds a request may wait for outcomes
ASK_EVERY = 0.02
PREFER_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")


def event_schema() -> dict[str, Any]:
    """The event's JSON schema with its parts in place: references would lead nowhere here."""
    schema = Event.model_json_schema()
    schema["properties"]["data"] = schema.pop("$defs")["FixData"]
    return schema


BODY = {
    "parameters": [
        {
            "name": "Prefer",
            "in": "header",
            "description": f"`wait=N`: answer when settled, or after N (at most {WAIT_MAX:g}) s.",
            "schema": {"type": "string"},
            "example": "wait=1",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": event_schema()},
            "application/cloudevents-batch+json": {
                "schema": {"type": "array", "items": event_schema()}
            },
        },
    },
}


@router.post(
    "/api/v1/billing/track_fix",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Receipt,
    openapi_extra=BODY,
    responses={
        200: {"model": Receipt, "description": "Settled within `Prefer: wait=N` seconds"},
        207: {"description": "A batch: one receipt per event, in order"},
        **problems(401, 403, 413, 422, 503),
    },
)
async def track_fix(request: Request, doors: Opened, key: Publisher) -> Response:
    """Take in one CloudEvents event, or a JSON array of them.

    202 means: it is on disk and will be settled. After 503 or a time-out, send the same again.
    """
    wait = wait_of(request)
    document = parse_body(await request.body())
    if not isinstance(document, list):
        return await take_one(document, doors, key, wait)
    if not 0 < len(document) <= BATCH_MAX:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"Send 1 to {BATCH_MAX} events.")
    doors.limits.publish(key, len(document) - 1)  # one was counted with the key
    receipts = [checked(each, key) for each in document]
    settled = await take_in([each for each in receipts if isinstance(each, Event)], doors, wait)
    answers = [settled.pop(0) if isinstance(each, Event) else each for each in receipts]
    return JSONResponse({"results": [answer_of(each) for each in answers]}, HTTPStatus.MULTI_STATUS)


async def take_one(document: object, doors: Doors, key: ApiKey, wait: float) -> Response:
    try:
        event = validated(document)
    except BadEvent as error:
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY, error.problem, error.field or None
        ) from error
    refused = forbidden(event, key)
    if refused is not None:
        raise Refusal(HTTPStatus.FORBIDDEN, refused.why, kind=refused.kind)
    found = (await take_in([event], doors, wait))[0]
    status = HTTPStatus.ACCEPTED if found.status == "accepted" else HTTPStatus.OK
    return JSONResponse(answer_of(found), status)


def parse_body(body: bytes) -> Any:
    limit = BATCH_BYTES_MAX if body.lstrip()[:1] == b"[" else EVENT_BYTES_MAX
    try:
        return parse_json(body, limit)
    except BadEvent as error:
        too_large = len(body) > limit
        status = (
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.UNPROCESSABLE_ENTITY
        )
        raise Refusal(status, f"The body {error.problem}.", error.field or None) from error


def checked(document: object, key: ApiKey) -> Event | Receipt:
    """An event of a batch, or the receipt that says why it is refused."""
    try:
        event = validated(document)
    except BadEvent as error:
        return refusal_of(document, str(error))
    refused = forbidden(event, key)
    return event if refused is None else receipt(event, "refused", detail=refused.why)


class Forbidden(NamedTuple):
    why: str
    kind: ProblemType


def forbidden(event: Event, key: ApiKey) -> Forbidden | None:
    """Why this key may not send this event."""
    scope = "revert" if event.reverts else "publish"
    if not may(key, scope):
        why = f"this key may not send {event.type}; it needs the scope {scope}"
        return Forbidden(why, WRONG_SCOPE)
    if not serves(key, event.customer_id):
        return Forbidden("this key is not bound to this customer", NOT_YOUR_CUSTOMER)
    return None


def refusal_of(document: object, why: str) -> Receipt:
    """As much of the identity as could be read, so that the sender finds the event."""
    fields = document if isinstance(document, dict) else {}
    data = fields.get("data")
    named = data if isinstance(data, dict) else {}
    return Receipt(
        event_id=shown(fields.get("id")),
        customer_id=shown(named.get("customer_id")),
        fix_id=shown(named.get("fix_id")),
        status="refused",
        detail=why,
    )


def shown(value: object) -> str:
    return printable(value[:128]) if isinstance(value, str) else ""


async def take_in(events: Sequence[Event], doors: Doors, wait: float) -> list[Receipt]:
    """Accept the events, then wait for what becomes of them as long as the caller likes."""
    if not events:
        return []
    since = await run_in_threadpool(accept, events, doors)
    receipts = [receipt(event, "accepted") for event in events]
    end = time.monotonic() + wait
    while wait and time.monotonic() < end:
        receipts = await run_in_threadpool(ask_again, events, receipts, doors, since)
        if all(each.status != "accepted" for each in receipts):
            break
        await asyncio.sleep(ASK_EVERY)
    return receipts


def accept(events: Sequence[Event], doors: Doors) -> datetime:
    """Into the inbox; while Redis is away, into a table that a sweep settles from.

    Returns when the first of them was accepted.
    """
    traces = [event.traceparent or telemetry.current_traceparent() for event in events]
    try:
        with doors.redis.pipeline(transaction=False) as pipeline:
            for event, trace in zip(events, traces, strict=True):
                body = event.to_bytes()
                append(pipeline, event.customer_id, body, trace, "http", doors.signer)
            accepted_at, result = min(map(time_of, pipeline.execute())), "accepted"
    except RedisError:
        log.warning("inbox_away", exc_info=True)
        accepted_at, result = park_all(events, traces, doors), "parked"
    telemetry.events_accepted.add(len(events), {"door": "http", "result": result})
    return accepted_at


def park_all(events: Sequence[Event], traces: Sequence[str | None], doors: Doors) -> datetime:
    now = doors.clock.wall()
    with doors.engine.begin() as tx:
        for event, trace in zip(events, traces, strict=True):
            park(
                tx, event.customer_id, Entry(new_id("parked"), event.to_bytes(), "http", now, trace)
            )
    return now


def ask_again(
    events: Sequence[Event], known: Sequence[Receipt], doors: Doors, since: datetime
) -> list[Receipt]:
    """The receipts, with what has become of those that were only accepted; a look per customer."""
    receipts = list(known)
    still_open: defaultdict[str, list[int]] = defaultdict(list)
    for index, (event, so_far) in enumerate(zip(events, known, strict=True)):
        if so_far.status == "accepted":
            still_open[event.customer_id].append(index)
    for customer_id, indexes in still_open.items():
        with rows_of(customer_id, doors.engine) as tx:
            for index in indexes:
                receipts[index] = receipt_of(tx, events[index], since) or receipts[index]
    return receipts


def wait_of(request: Request) -> float:
    """Seconds from `Prefer: wait=N` (RFC 7240)."""
    found = PREFER_WAIT.search(request.headers.get("prefer", ""))
    return min(float(found[1]), WAIT_MAX) if found else 0.0


def answer_of(found: Receipt) -> dict[str, Any]:
    return found.model_dump(mode="json", exclude_none=True)
