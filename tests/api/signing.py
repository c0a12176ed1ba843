"""Webhooks as Stripe sends them: a body and its signature."""

from __future__ import annotations

import hmac
import json
import time
from typing import Any

OUR_SECRET, NEXT_SECRET = "whsec_of_today", "whsec_of_tomorrow"

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "api_version": "2026-06-24",
    "created": 1772366400,
    "type": "payment_intent.succeeded",
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "status": "succeeded"}},
}


def webhook(**changes: object) -> bytes:
    """A sound event with some of it replaced, or left out where the value is `...`."""
    event = EVENT | changes
    return json.dumps({name: value for name, value in event.items() if value is not ...}).encode()


def signature(body: bytes, secret: str = OUR_SECRET, *, ago: float = 0) -> str:
    """The header for this body, made so many seconds ago."""
    return stamped(body, str(int(time.time() - ago)), secret)


def stamped(body: bytes, stamp: str, secret: str = OUR_SECRET) -> str:
    mac = hmac.new(secret.encode(), f"{stamp}.".encode() + body, "sha256").hexdigest()
    return f"t={stamp},v1={mac}"
