"""Answers on the wire: as Stripe sends them, and as a broken network does."""

from __future__ import annotations

import asyncio
import json

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from worker.sandbox import errors
from worker.sandbox.calls import Call
from worker.sandbox.errors import Answer
from worker.sandbox.faults import Fault

BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"


class Cut(Response):
    """Silence for a while, then the connection is gone without an answer."""

    def __init__(self, seconds: float = 0) -> None:
        super().__init__()
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        # A caller who gives up earlier ends the silence.
        gone = asyncio.ensure_future(receive())
        await asyncio.wait((gone,), timeout=self.seconds)
        scope["state"]["transport"].abort()
        await gone


def reply(call: Call, answer: Answer) -> Response:
    """The answer with the headers Stripe sends."""
    return _json(call, answer, json.dumps(answer.body, indent=2))


def broken(call: Call, fault: Fault, answer: Answer) -> Response:
    """What the caller sees when a fault strikes; `answer` is what it would have seen."""
    match fault.name.removesuffix("_before").removesuffix("_after"):
        case "http_500":
            return reply(call, errors.server_error())
        case "timeout":
            return Cut(fault.seconds)
        case "cut":
            return Cut()
        case "html_502":
            return HTMLResponse(BAD_GATEWAY, 502)
        case "http_429":
            return reply(call, errors.rate_limited())
        case "lock_timeout":
            return reply(call, errors.lock_timeout())
        case "http_409_in_use":
            return reply(call, errors.key_in_use(call.key or ""))
        case "half_json":
            text = json.dumps(answer.body)
            return _json(call, answer, text[: len(text) // 2])
    return reply(call, answer)


def _json(call: Call, answer: Answer, text: str) -> Response:
    headers = {"Request-Id": call.request_id, **answer.headers}
    if call.version:
        headers["Stripe-Version"] = call.version
    if call.key:
        headers["Idempotency-Key"] = call.key
    return Response(text, answer.status, headers, media_type="application/json")
