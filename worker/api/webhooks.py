"""Stripe's webhooks: verified, stored, answered. They are processed from the row."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from worker.api.access import Doors, Opened
from worker.api.problems import Refusal, problems
from worker.storage.stripe_events import store_event
from worker.stripe_webhooks import WEBHOOK_BYTES_MAX, BadWebhook, verified_webhook

router = APIRouter()


@router.post("/webhooks/stripe", responses=problems(400, 413, 503))
async def stripe(request: Request, doors: Opened) -> Response:
    """For Stripe alone: anything not signed by it gets 400 and leaves no trace."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > WEBHOOK_BYTES_MAX:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is too large.")
    signature = request.headers.get("stripe-signature")
    await run_in_threadpool(store, bytes(body), signature, doors)
    return JSONResponse({"received": True})


def store(body: bytes, signature: str | None, doors: Doors) -> None:
    now = doors.clock.wall()
    try:
        webhook = verified_webhook(body, signature, doors.webhook_secrets, now)
        if webhook.livemode != doors.stripe.livemode:
            raise BadWebhook("livemode: test and live events do not mix")
    except BadWebhook as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    with doors.engine.begin() as tx:
        store_event(tx, webhook, now)
