"""The card's bank: it alone moves money, and writes down every time it was asked to.

It knows nothing of an intent's status, so a payment charged twice by mistake shows as two rows.
"""

from __future__ import annotations

import json
import sqlite3

from worker.sandbox.cards import BY_NAME, DECLINES, Authenticates, Card, Decline
from worker.sandbox.errors import JsonObject
from worker.sandbox.later import DAY
from worker.sandbox.store import Tx

# How long what happens later takes, in seconds of the sandbox's clock.
DELAYS = {
    "payment": 3 * DAY,
    "refund": DAY,
    "refund_failure": 2 * DAY,
    "dispute_verdict": 5,
    "dispute_deadline": 9 * DAY,
}


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


def set_up(tx: Tx, payment_method: str) -> None:
    """The customer agreed to payments made without them."""
    tx.db.execute("INSERT OR IGNORE INTO mandates (payment_method) VALUES (?)", (payment_method,))


def _is_set_up(tx: Tx, payment_method: str) -> bool:
    query = "SELECT 1 FROM mandates WHERE payment_method = ?"
    return tx.db.execute(query, (payment_method,)).fetchone() is not None


def wants_customer(tx: Tx, payment_method: str, *, off_session: bool) -> bool:
    """Whether the bank asks for 3D Secure."""
    match card_of(tx, payment_method).authenticates:
        case Authenticates.ALWAYS:
            return True
        case Authenticates.UNLESS_SET_UP:
            return not (off_session and _is_set_up(tx, payment_method))
        case Authenticates.ON_SESSION:
            return not off_session
    return False


def charge(
    tx: Tx, intent: JsonObject, charge_id: str, card: Card, *, authenticated: bool
) -> Decline | None:
    """Charge the card and write it down; None unless the bank says no at once."""
    decline = card.decline if authenticated else "authentication_required"
    record = {
        **{name: intent[name] for name in ("customer", "amount", "currency")},
        "payment_intent": intent["id"],
        "charge": charge_id,
        "status": "pending" if card.processes else "failed" if decline else "succeeded",
        "metadata": json.dumps(intent["metadata"]),
        "idempotency_key": tx.key,
        "created": tx.now,
    }
    tx.db.execute(
        "INSERT INTO payments (payment_intent, charge, customer, amount, currency, status,"
        " metadata, idempotency_key, created) VALUES (:payment_intent, :charge, :customer,"
        " :amount, :currency, :status, :metadata, :idempotency_key, :created)",
        record,
    )
    return DECLINES[decline] if decline and not card.processes else None


def settle(tx: Tx, charge_id: str, card: Card) -> Decline | None:
    """What the bank says at last about a charge that was pending."""
    tx.db.execute(
        "UPDATE payments SET status = ? WHERE charge = ?",
        ("failed" if card.decline else "succeeded", charge_id),
    )
    return DECLINES[card.decline] if card.decline else None


def refund(tx: Tx, refund: JsonObject) -> None:
    """Give money back to the cardholder."""
    tx.db.execute(
        "INSERT INTO refunds (payment_intent, charge, refund, amount, currency, status, metadata,"
        " idempotency_key, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(refund[name] for name in ("payment_intent", "charge", "id", "amount", "currency")),
            refund["status"],
            json.dumps(refund["metadata"]),
            tx.key,
            tx.now,
        ),
    )


def settle_refund(tx: Tx, refund: JsonObject) -> None:
    """What became of money given back."""
    tx.db.execute(
        "UPDATE refunds SET status = ? WHERE refund = ?", (refund["status"], refund["id"])
    )


def dispute(tx: Tx, dispute: JsonObject) -> None:
    """Write down a dispute as it is now, and how much of its money the cardholder holds."""
    withdrawn = -sum(moved["amount"] for moved in dispute["balance_transactions"])
    names = ("payment_intent", "charge", "id", "amount", "currency", "reason", "status")
    tx.db.execute(
        "INSERT INTO disputes (payment_intent, charge, dispute, amount, currency, reason, status,"
        " withdrawn, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (dispute) DO UPDATE SET status = excluded.status,"
        " withdrawn = excluded.withdrawn",
        (*(dispute[name] for name in names), withdrawn, tx.now),
    )


def is_charged_back(tx: Tx, charge_id: str) -> bool:
    """Whether the cardholder holds money of this charge because of a dispute."""
    query = "SELECT 1 FROM disputes WHERE charge = ? AND withdrawn > 0"
    return tx.db.execute(query, (charge_id,)).fetchone() is not None


def payments(tx: Tx) -> list[JsonObject]:
    """The truth of money: one row per time a card was charged, oldest first."""
    return _rows(
        tx.db.execute(
            "SELECT payment_intent, charge, customer, amount, currency, status, metadata,"
            " idempotency_key, created FROM payments ORDER BY seq"
        )
    )


def refunds(tx: Tx) -> list[JsonObject]:
    """The truth of money given back, oldest first."""
    return _rows(
        tx.db.execute(
            "SELECT payment_intent, charge, refund, amount, currency, status, metadata,"
            " idempotency_key, created FROM refunds ORDER BY seq"
        )
    )


def disputes(tx: Tx) -> list[JsonObject]:
    """The truth of money taken back, oldest first."""
    return _rows(
        tx.db.execute(
            "SELECT payment_intent, charge, dispute, amount, currency, reason, status, withdrawn,"
            " created FROM disputes ORDER BY seq"
        )
    )


def _rows(found: sqlite3.Cursor) -> list[JsonObject]:
    names = [column[0] for column in found.description]
    rows = [dict(zip(names, row, strict=True)) for row in found]
    for row in rows:
        if "metadata" in row:
            row["metadata"] = json.loads(row["metadata"])
    return rows
