"""What happens later: rows with a time of the common clock, done when it has reached that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.sandbox import clocks
from worker.sandbox.store import Tx

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# What is done to the object with this id; it looks first whether that still makes sense.
Action = Callable[[Tx, str], None]


def at(tx: Tx, due: int, what: str, id: str) -> None:
    """Have something done at a time of its customer; `what` is a name in the table of contents."""
    tx.db.execute("INSERT INTO later (due, what, id) VALUES (?, ?, ?)", (due - tx.ahead, what, id))


def run_due(tx: Tx, actions: Mapping[str, Action]) -> None:
    """Do what is due, in order, each at its own time: a long jump is many small steps."""
    clock, ahead = tx.clock, tx.ahead
    while row := tx.db.execute(
        "SELECT seq, due, what, id FROM later WHERE due <= ? ORDER BY due, seq LIMIT 1", (clock,)
    ).fetchone():
        seq, tx.clock, what, wanted = row
        clocks.follow(tx, wanted)
        tx.db.execute("DELETE FROM later WHERE seq = ?", (seq,))
        actions[what](tx, wanted)
    tx.clock, tx.ahead = clock, ahead
