"""What happened, as Stripe tells it: an event object and a delivery that waits in a row."""

from __future__ import annotations

import json
import time

from worker.sandbox import faults
from worker.sandbox.errors import JsonObject
from worker.sandbox.filters import listed
from worker.sandbox.kind import Kind
from worker.sandbox.params import boolean, text
from worker.sandbox.store import Condition, Tx, new_id

API_VERSION = "2026-10-28.endive"


def happened(tx: Tx, kind: str, thing: JsonObject) -> None:
    """Record an event and the deliveries it is owed, in the transaction that caused it."""
    endpoints = _wanting(tx, kind)
    event = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": tx.now,
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": len(endpoints),
        "request": {"id": tx.request_id, "idempotency_key": tx.key},
        "type": kind,
    }
    tx.add(event)
    if endpoints:
        for state, delay in faults.bend_delivery(tx, kind):
            _owe(tx, event, endpoints, state, delay)


def about(tx: Tx, customer: str) -> list[JsonObject]:
    """What was told of a customer, oldest first."""
    rows = tx.db.execute(
        "SELECT body FROM objects WHERE kind = 'event' AND ? IN"
        " (json_extract(body, '$.data.object.customer'), json_extract(body, '$.data.object.id'))"
        " ORDER BY seq",
        (customer,),
    )
    return [json.loads(body) for (body,) in rows]


def send_again(tx: Tx, event: JsonObject) -> None:
    """One more delivery to every endpoint that wants it."""
    _owe(tx, event, _wanting(tx, event["type"]), "pending", 0)


def _wanting(tx: Tx, kind: str) -> list[str]:
    rows = tx.db.execute(
        "SELECT id FROM objects WHERE kind = 'webhook_endpoint'"
        " AND json_extract(body, '$.status') = 'enabled'"
        " AND EXISTS (SELECT 1 FROM json_each(body, '$.enabled_events') WHERE value IN ('*', ?))"
        " ORDER BY seq",
        (kind,),
    )
    return [endpoint for (endpoint,) in rows]


def _owe(tx: Tx, event: JsonObject, endpoints: list[str], state: str, delay: float) -> None:
    tx.db.executemany(
        "INSERT INTO webhook_deliveries (event, endpoint, state, due) VALUES (?, ?, ?, ?)",
        [(event["id"], endpoint, state, time.time() + delay) for endpoint in endpoints],
    )


def _like(params: JsonObject, name: str) -> Condition:
    """A type, or all that begin as it does before a `*`."""
    return Condition("json_extract(body, '$.type') GLOB ?", text(params, name) or "")


def _delivered(params: JsonObject, name: str) -> Condition:
    """Whether every endpoint has accepted it."""
    return Condition(
        "? = NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE event = id"
        " GROUP BY endpoint HAVING max(state = 'delivered') = 0)",
        int(boolean(params, name)),
    )


KIND = Kind(
    "event",
    "events",
    param="id",
    filters={"delivery_success": _delivered, "type": _like, "types": listed("type")},
)
