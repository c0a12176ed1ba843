"""Idempotency as Stripe documents it for API v1: the first answer of a call that began is kept."""

from __future__ import annotations

import json

from worker.sandbox.calls import Call
from worker.sandbox.errors import Answer, key_reused
from worker.sandbox.store import Tx

KEPT_FOR = 24 * 60 * 60


def recall(tx: Tx, call: Call) -> Answer | None:
    """The answer kept under the call's key; the same key for anything else is refused."""
    row = tx.db.execute(
        "SELECT endpoint, params, status, body, request_id FROM idempotency_keys"
        " WHERE key = ? AND created > ?",
        (call.key, tx.clock - KEPT_FOR),
    ).fetchone()
    if row is None:
        return None
    endpoint, params, status, body, request_id = row
    if endpoint != f"{call.method} {call.path}":
        raise key_reused(str(call.key), "for the same endpoint")
    if params != _fingerprint(call):
        raise key_reused(str(call.key), "with the same parameters")
    headers = {"Idempotent-Replayed": "true", "Original-Request": request_id}
    return Answer(status, json.loads(body), headers)


def remember(tx: Tx, call: Call, answer: Answer) -> None:
    """Keep the answer, in the transaction of its effect."""
    if call.key is None:
        return
    tx.db.execute(
        "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            call.key,
            f"{call.method} {call.path}",
            _fingerprint(call),
            answer.status,
            json.dumps(answer.body),
            call.request_id,
            tx.clock,
        ),
    )


def forget(tx: Tx) -> int:
    """Wipe every key, as after a day; how many there were."""
    return tx.db.execute("DELETE FROM idempotency_keys").rowcount


def _fingerprint(call: Call) -> str:
    return json.dumps(call.params, sort_keys=True)
