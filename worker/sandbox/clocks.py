"""Clocks: one for everybody, and how far a customer may be ahead of it."""

from __future__ import annotations

from worker.sandbox.store import Tx

# The parameters by which a call says whom it is about.
NAMES = ("customer", "subscription", "invoice", "payment_intent", "charge")


def advance(tx: Tx, seconds: int) -> None:
    """Move the clock of everybody; who is ahead stays as far ahead."""
    tx.db.execute("UPDATE clock SET advanced = advanced + ?", (seconds,))
    tx.clock += seconds


def advance_customer(tx: Tx, customer: str, seconds: int) -> None:
    """Move one customer on, which brings nearer all that is to happen to what is theirs."""
    tx.db.execute(
        "INSERT INTO customer_clocks VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET ahead = ahead + excluded.ahead",
        (customer, seconds),
    )
    theirs = [(seconds, seq) for seq, _ in _waiting(tx, customer)]
    tx.db.executemany("UPDATE later SET due = due - ? WHERE seq = ?", theirs)


def next_due(tx: Tx, customer: str | None) -> int | None:
    """When something next happens by itself, to them or to anyone; by their own clock."""
    if customer is None:
        (due,) = tx.db.execute("SELECT min(due) FROM later").fetchone()
        return None if due is None else int(due)
    return min((due + tx.ahead for _, due in _waiting(tx, customer)), default=None)


def _waiting(tx: Tx, customer: str) -> list[tuple[int, int]]:
    """What is to happen to what is this customer's: where it stands, and when."""
    rows = tx.db.execute("SELECT seq, due, id FROM later").fetchall()
    return [(seq, due) for seq, due, thing in rows if _owner(tx, thing) == customer]


def follow(tx: Tx, *named: object) -> None:
    """Go on at the time of the customer these ids lead to: the first that leads to one."""
    owners = (_owner(tx, thing) for thing in named if isinstance(thing, str))
    customer = next((owner for owner in owners if owner), None)
    row = tx.db.execute(
        "SELECT ahead FROM customer_clocks WHERE customer = ?", (customer,)
    ).fetchone()
    tx.ahead = row[0] if row else 0


def _owner(tx: Tx, thing_id: str) -> str | None:
    """The customer whose an object is; a dispute is whose charge it questions."""
    thing = tx.find_any(thing_id) or {}
    if thing.get("object") == "customer":
        return thing_id
    if thing.get("object") == "dispute":
        return _owner(tx, thing["charge"])
    return thing.get("customer")
