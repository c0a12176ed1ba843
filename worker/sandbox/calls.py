"""One API call as it arrived, and who sent it."""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

from starlette.requests import Request

from worker.sandbox.errors import JsonObject, Refusal, invalid, unauthorized
from worker.sandbox.form import decode
from worker.sandbox.store import new_id

KEY_LENGTH_MAX = 255


@dataclass(frozen=True)
class Call:
    """Method, path and nested parameters, with the idempotency key of a POST."""

    method: str
    path: str
    params: JsonObject
    key: str | None
    request_id: str
    version: str | None
    authorization: str
    origin: str


async def read(request: Request) -> Call:
    """Take a request apart."""
    body = (await request.body()).decode(errors="replace")
    posted = request.method == "POST"
    return Call(
        request.method,
        request.url.path,
        decode(body if posted else request.url.query),
        # Stripe ignores the header on GET and DELETE, which need none.
        request.headers.get("idempotency-key") if posted else None,
        new_id("req", 14),
        request.headers.get("stripe-version"),
        request.headers.get("authorization", ""),
        str(request.base_url).rstrip("/"),
    )


def admit(call: Call, api_key: str) -> None:
    """Refuse a stranger, and a key too long to keep."""
    sent = _sent_key(call.authorization)
    if not sent or not hmac.compare_digest(sent.encode(), api_key.encode()):
        raise Refusal(unauthorized(sent))
    if call.key is not None and not 0 < len(call.key) <= KEY_LENGTH_MAX:
        raise invalid(f"Idempotency keys have 1 to {KEY_LENGTH_MAX} characters.")


def _sent_key(authorization: str) -> str | None:
    """The API key of `Bearer sk_…` or of Basic with the key as user name."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
