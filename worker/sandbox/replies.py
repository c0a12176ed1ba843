"""Answers on the wire: as Stripe sends them, and as a broken network does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from worker.sandbox import errors
from worker.sandbox.calls import Call
from worker.sandbox.errors import Answer, JsonObject
from worker.sandbox.faults import Fault
from worker.sandbox.store import new_id

BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"
# Where the permission of a restricted key is not named as its path is.
PERMISSIONS = {"checkout": "checkout_session", "prices": "plan", "webhook_endpoints": "webhook"}
LIES: dict[str, Callable[[JsonObject], JsonObject]] = {
    "wrong_amount": lambda body: {
        name: body[name] + 100 for name in ("amount", "amount_received") if body.get(name)
    },
    "wrong_currency": lambda body: {"currency": "usd" if body.get("currency") == "eur" else "eur"},
    "wrong_customer": lambda _body: {"customer": new_id("cus", 14)},
}


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
        case "http_401":
            return reply(call, errors.unauthorized(call.authorization.partition(" ")[2]))
        case "http_403":
            return reply(call, _forbidden(call))
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
        case lie if fault.when == "lie":
            return reply(call, Answer(answer.status, _untrue(answer.body, lie), answer.headers))
    return reply(call, answer)


def _forbidden(call: Call) -> Answer:
    _, _, path, *_ = call.path.split("/")
    kind = PERMISSIONS.get(path, path.removesuffix("s"))
    right = f"rak_{kind}_{'read' if call.method == 'GET' else 'write'}"
    return errors.error(
        403,
        "invalid_request_error",
        "The provided key 'rk_test_********' does not have the required permissions for this"
        f" endpoint on account 'acct_sandbox'. Having the '{right}' permission would allow this"
        " request to continue.",
    )


def _untrue(body: JsonObject, lie: str) -> JsonObject:
    """One object, or each of a list, with one field that is not so."""
    if "data" in body:
        return {**body, "data": [_untrue(one, lie) for one in body["data"]]}
    return body | {name: value for name, value in LIES[lie](body).items() if name in body}


def _json(call: Call, answer: Answer, text: str) -> Response:
    headers = {"Request-Id": call.request_id, **answer.headers}
    if call.version:
        headers["Stripe-Version"] = call.version
    if call.key:
        headers["Idempotency-Key"] = call.key
    return Response(text, answer.status, headers, media_type="application/json")
