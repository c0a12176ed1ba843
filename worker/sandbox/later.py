"""What happens later: rows with a time, done when the sandbox's clock has reached it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.sandbox.store import Tx

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# What is done to the object with this id; it looks first whether that still makes sense.
Action = Callable[[Tx, str], None]


def at(tx: Tx, due: int, what: str, id: str) -> None:
    """Have something done at a time; `what` is a name in the table of contents."""
    tx.db.execute("INSERT INTO later (due, what, id) VALUES (?, ?, ?)", (due, what, id))


def run_due(tx: Tx, actions: Mapping[str, Action]) -> None:
    """Do what is due, in order, each at its own time: a long jump is many small steps."""
    now = tx.now
    while row := tx.db.execute(
        "SELECT seq, due, what, id FROM later WHERE due <= ? ORDER BY due, seq LIMIT 1", (now,)
    ).fetchone():
        seq, tx.now, what, wanted = row
        tx.db.execute("DELETE FROM later WHERE seq = ?", (seq,))
        actions[what](tx, wanted)
    tx.now = now
