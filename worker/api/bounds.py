"""What is sent to us is of bounded size, and arrives within bounded time."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.inbox import EVENT_BYTES_MAX
from worker.api.problems import Refusal, problem
from worker.stripe_webhooks import WEBHOOK_BYTES_MAX

BATCH_BYTES_MAX = 4 * 1024 * 1024
BYTES_MAX = {  # EVENT_BYTES_MAX for any other path
    "/api/v1/billing/track_fix": BATCH_BYTES_MAX,
    "/webhooks/stripe": WEBHOOK_BYTES_MAX,
}
HEAD_BYTES_MAX = 16 * 1024  # address and headers
HEADERS_TOO_LARGE = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
ARRIVES_WITHIN = 10.0  # seconds


class BoundedRequests:
    """413 for a body that is too large, 408 for one that does not come; read only when wanted."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = Body(BYTES_MAX.get(scope["path"], EVENT_BYTES_MAX), receive)
        refusal = refused(scope, body.bytes_max)
        if refusal is None:
            await self.app(scope, body.receive, send)
        else:
            await refusal(scope, receive, send)


def refused(scope: Scope, body_bytes_max: int) -> Response | None:
    """By what the head says; whether that is true of the body shows when it is read."""
    head_bytes = len(scope["path"]) + len(scope["query_string"])
    declared = b""
    for name, value in scope["headers"]:
        head_bytes += len(name) + len(value)
        if name == b"content-length":
            declared = value.lstrip(b"0")
    if head_bytes > HEAD_BYTES_MAX:
        return problem(HEADERS_TOO_LARGE, f"At most {HEAD_BYTES_MAX} bytes of headers are taken.")
    if declared.isdigit() and (len(declared) > 9 or int(declared) > body_bytes_max):
        return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(body_bytes_max))
    return None


def too_large(bytes_max: int) -> str:
    return f"At most {bytes_max} bytes are taken here."


class Body:
    """One request's."""

    def __init__(self, bytes_max: int, receive: Receive) -> None:
        self.bytes_max = bytes_max
        self.receive_part = receive
        self.bytes = 0
        self.deadline: float | None = None  # None: nobody has begun to read
        self.complete = False

    async def receive(self) -> Message:
        if self.complete:  # what comes now is at most that the caller has gone
            return await self.receive_part()
        message = await self.part()
        self.bytes += len(message.get("body", b""))
        self.complete = not message.get("more_body", False)
        if self.bytes > self.bytes_max:
            raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, too_large(self.bytes_max))
        return message

    async def part(self) -> Message:
        self.deadline = self.deadline or asyncio.get_running_loop().time() + ARRIVES_WITHIN
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self.receive_part()
        except TimeoutError as error:
            late = f"The body did not arrive within {ARRIVES_WITHIN:g} seconds: send it again."
            raise Refusal(HTTPStatus.REQUEST_TIMEOUT, late) from error
