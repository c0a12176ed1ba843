"""Faults on demand: which call or delivery is to go wrong next, and how.

A fault is a row. It waits for a call of its method and path (`*` is one part of a path), lets
`skip` of them pass, then strikes `times` of them.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import Literal

from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.store import Tx

When = Literal["before", "during", "after", "lie", "webhook"]

# before: the call never began, nothing happened and nothing is kept under its key.
# during: the key is in use while the call hangs; then it is done and answered as usual.
# after: the effect happened and the answer is kept, but the caller is not told so.
# lie: the effect happened and the true answer is kept, but the caller is told something else.
FAULTS: dict[str, When] = {
    "http_500_before": "before",
    "timeout_before": "before",
    "cut_before": "before",
    "html_502": "before",
    "http_401": "before",
    "http_403": "before",
    "http_429": "before",
    "http_409_in_use": "before",
    "lock_timeout": "before",
    "slow": "during",
    "http_500_after": "after",  # the 500 itself is kept under the key
    "timeout_after": "after",
    "cut_after": "after",
    "half_json": "after",
    "html_502_after": "after",
    "wrong_amount": "lie",
    "wrong_currency": "lie",
    "wrong_customer": "lie",
    "webhook_drop": "webhook",  # never sent; found by listing events with delivery_success=false
    "webhook_duplicate": "webhook",
    "webhook_delay": "webhook",
}
SECONDS = 30.0


@dataclass(frozen=True)
class Fault:
    """One strike."""

    name: str
    seconds: float

    @property
    def when(self) -> When:
        return FAULTS[self.name]


def plan(tx: Tx, wish: JsonObject) -> None:
    """Lay a fault in wait."""
    unknown = wish.keys() - {"fault", "method", "path", "event", "times", "skip", "seconds"}
    if wish.get("fault") not in FAULTS or unknown:
        raise invalid(f"A fault is one of {', '.join(FAULTS)}; unknown: {sorted(unknown)}.")
    tx.db.execute(
        "INSERT INTO faults (fault, method, path, event, times, skip, seconds)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            wish["fault"],
            wish.get("method", "*"),
            wish.get("path", "*"),
            wish.get("event", "*"),
            int(wish.get("times", 1)),
            int(wish.get("skip", 0)),
            float(wish.get("seconds", SECONDS)),
        ),
    )


def planned(tx: Tx) -> list[JsonObject]:
    """What still waits."""
    names = ("fault", "method", "path", "event", "times", "skip", "seconds")
    rows = tx.db.execute(
        "SELECT fault, method, path, event, times, skip, seconds FROM faults ORDER BY seq"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def clear(tx: Tx) -> None:
    """Nothing goes wrong any more."""
    tx.db.execute("DELETE FROM faults")


def strike(tx: Tx, method: str, path: str) -> Fault | None:
    """The fault this call runs into, used up by one."""
    waiting = tx.db.execute(
        "SELECT seq, fault, method, path, skip, seconds FROM faults ORDER BY seq"
    ).fetchall()
    for seq, name, for_method, for_path, skip, seconds in waiting:
        if FAULTS[name] == "webhook" or not _matches(for_method, for_path, method, path):
            continue
        if skip:
            tx.db.execute("UPDATE faults SET skip = skip - 1 WHERE seq = ?", (seq,))
            continue
        _use_up(tx, seq)
        return Fault(name, seconds)
    return None


def bend_delivery(tx: Tx, event: str) -> list[tuple[str, float]]:
    """The deliveries of one event as (state, delay): normally one, now."""
    waiting = tx.db.execute(
        "SELECT seq, fault, event, skip, seconds FROM faults ORDER BY seq"
    ).fetchall()
    for seq, name, for_event, skip, seconds in waiting:
        if FAULTS[name] != "webhook" or not fnmatch.fnmatchcase(event, for_event):
            continue
        if skip:
            tx.db.execute("UPDATE faults SET skip = skip - 1 WHERE seq = ?", (seq,))
            continue
        _use_up(tx, seq)
        if name == "webhook_drop":
            return [("dropped", 0.0)]
        if name == "webhook_delay":
            return [("pending", seconds)]
        return [("pending", 0.0), ("pending", 0.0)]
    return [("pending", 0.0)]


def _use_up(tx: Tx, seq: int) -> None:
    tx.db.execute("UPDATE faults SET times = times - 1 WHERE seq = ?", (seq,))
    tx.db.execute("DELETE FROM faults WHERE times <= 0")


def _matches(for_method: str, for_path: str, method: str, path: str) -> bool:
    if for_method not in ("*", method):
        return False
    if for_path == "*":
        return True
    pattern = "[^/]+".join(re.escape(part) for part in for_path.split("*"))
    return re.fullmatch(pattern, path) is not None
