"""Stripe's webhooks: verified, stored, answered. They are processed from the row."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from schemas.answers import Answer
from schemas.problems import BAD_WEBHOOK
from worker.api.access import Doors, Opened
from worker.api.problems import Refusal, problems
from worker.storage.stripe_events import store_event
from worker.stripe_webhooks import BadWebhook, verified_webhook

router = APIRouter()


# For the description alone: what is signed are the bytes, so they are read as they are.
SIGNED = {
    "parameters": [
        {
            "name": "Stripe-Signature",
            "in": "header",
            "required": True,
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
}


class Received(Answer):
    """The webhook is stored, and will be looked at."""

    received: bool


@router.post(
    "/webhooks/stripe",
    response_model=Received,
    openapi_extra=SIGNED,
    responses=problems(400),
)
async def stripe_webhook(request: Request, doors: Opened) -> Response:
    """Take in a webhook of Stripe's.

    For Stripe alone: anything not signed by it gets 400 and leaves no trace. A webhook is a hint;
    what it is about is asked of Stripe before anything is booked.
    """
    signature = request.headers.get("stripe-signature")
    await run_in_threadpool(store, await request.body(), signature, doors)
    return JSONResponse({"received": True})


def store(body: bytes, signature: str | None, doors: Doors) -> None:
    now = doors.clock.wall()
    try:
        webhook = verified_webhook(body, signature, doors.webhook_secrets, now)
        if webhook.livemode != doors.stripe.livemode:
            raise BadWebhook("livemode: test and live events do not mix")
    except BadWebhook as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error), kind=BAD_WEBHOOK) from error
    with doors.engine.begin() as tx:
        store_event(tx, webhook, now)
