"""The card's bank: it alone moves money, and writes down every time it was asked to.

It knows nothing of an intent's status, so a payment charged twice by mistake shows as two rows.
"""

from __future__ import annotations

import json

from worker.sandbox.cards import BY_NAME, DECLINES, Authenticates, Card, Decline
from worker.sandbox.errors import JsonObject
from worker.sandbox.store import Tx

COLUMNS = (
    "payment_intent",
    "charge",
    "customer",
    "amount",
    "currency",
    "status",
    "metadata",
    "idempotency_key",
    "created",
)


def keep(tx: Tx, payment_method: str, card: Card) -> None:
    """Remember which card stands behind a payment method."""
    tx.db.execute(
        "INSERT INTO vault (payment_method, card) VALUES (?, ?)", (payment_method, card.names[0])
    )


def card_of(tx: Tx, payment_method: str) -> Card:
    """The card behind a payment method."""
    (name,) = tx.db.execute(
        "SELECT card FROM vault WHERE payment_method = ?", (payment_method,)
    ).fetchone()
    return BY_NAME[name]


def spend(tx: Tx, payment_method: str) -> None:
    """A payment method that was used or detached while it belonged to nobody is used up."""
    tx.db.execute("UPDATE vault SET spent = 1 WHERE payment_method = ?", (payment_method,))


def is_spent(tx: Tx, payment_method: str) -> bool:
    """Whether the payment method may not be used again."""
    row = tx.db.execute(
        "SELECT spent FROM vault WHERE payment_method = ?", (payment_method,)
    ).fetchone()
    return bool(row[0])


def wants_customer(card: Card, *, off_session: bool) -> bool:
    """Whether the bank asks for 3D Secure."""
    if off_session:
        return card.authenticates is Authenticates.ALWAYS
    return card.authenticates is not Authenticates.NEVER


def charge(tx: Tx, intent: JsonObject, charge_id: str, card: Card) -> Decline | None:
    """Charge the card and write it down; None when the money moved."""
    decline = card.decline
    if card.authenticates is Authenticates.ALWAYS:
        decline = "authentication_required"
    record = {
        **{name: intent[name] for name in ("customer", "amount", "currency")},
        "payment_intent": intent["id"],
        "charge": charge_id,
        "status": "failed" if decline else "succeeded",
        "metadata": json.dumps(intent["metadata"]),
        "idempotency_key": tx.key,
        "created": tx.now,
    }
    tx.db.execute(
        "INSERT INTO payments (payment_intent, charge, customer, amount, currency, status,"
        " metadata, idempotency_key, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [record[name] for name in COLUMNS],
    )
    return DECLINES[decline] if decline else None


def payments(tx: Tx) -> list[JsonObject]:
    """The truth of money: one row per time a card was charged, oldest first."""
    rows = tx.db.execute(
        "SELECT payment_intent, charge, customer, amount, currency, status, metadata,"
        " idempotency_key, created FROM payments ORDER BY seq"
    )
    found = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return [{**row, "metadata": json.loads(row["metadata"])} for row in found]
