"""What happened, as Stripe tells it: an event object and a delivery that waits in a row."""

from __future__ import annotations

import time

from worker.sandbox import faults
from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.kind import Kind
from worker.sandbox.params import text
from worker.sandbox.store import Condition, Tx, new_id

API_VERSION = "2026-10-28.endive"


def happened(tx: Tx, kind: str, thing: JsonObject) -> None:
    """Record an event and the delivery it is owed, in the transaction that caused it."""
    event = {
        "id": new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": tx.now,
        "data": {"object": thing},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": tx.request_id, "idempotency_key": tx.key},
        "type": kind,
    }
    tx.add(event)
    for state, delay in faults.bend_delivery(tx, kind):
        tx.db.execute(
            "INSERT INTO deliveries (event, state, due) VALUES (?, ?, ?)",
            (event["id"], state, time.time() + delay),
        )


def _conditions(params: JsonObject) -> list[Condition]:
    """Events by type (with a trailing `*`), by a list of types, or by whether they got through."""
    found = []
    if kind := text(params, "type"):
        found.append(Condition("json_extract(body, '$.type') GLOB ?", kind))
    if types := params.get("types"):
        if not isinstance(types, list):
            raise invalid("Invalid array", param="types")
        # A list as one bound value: SQLite unfolds the commas itself.
        found.append(
            Condition(
                "instr(',' || ? || ',', ',' || json_extract(body, '$.type') || ',') > 0",
                ",".join(types),
            )
        )
    if (success := text(params, "delivery_success")) is not None:
        found.append(
            Condition(
                "? = EXISTS (SELECT 1 FROM deliveries WHERE event = id AND state = 'delivered')",
                int(success == "true"),
            )
        )
    return found


KIND = Kind("event", "events", param="id", conditions=_conditions)
