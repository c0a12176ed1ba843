"""Lists of what happened: fixes and charges, newest last."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from schemas.money import Money
from worker.storage.charges import ChargeKey, read_charge
from worker.storage.tables import attempts, charge_lines, charges, disputes, fixes, refunds


class FixLine(NamedTuple):
    """A fix and what it cost."""

    customer_id: str
    fix_id: str
    outcome: str
    price: Money | None
    repository: str
    pull_request: int | None
    finding: str | None
    why: str | None


class ChargeLine(NamedTuple):
    """A charge and the payment that collected it, or why it did not."""

    charge_id: str
    customer_id: str
    status: str
    amount: Money
    payment_intent: str | None
    decline: str | None


def list_fixes(tx: Connection, customer_id: str | None = None) -> list[FixLine]:
    """Of one customer, or of all."""
    rows = select(fixes).order_by(fixes.c.customer_id, fixes.c.deployed_at, fixes.c.fix_id)
    if customer_id is not None:
        rows = rows.where(fixes.c.customer_id == customer_id)
    return [
        FixLine(
            row.customer_id,
            row.fix_id,
            row.outcome,
            Money(row.price, row.currency) if row.outcome == "charged" else None,
            row.repository,
            row.pull_request,
            row.finding,
            row.held_why,
        )
        for row in tx.execute(rows)
    ]


class ChargeDetail(NamedTuple):
    """A charge and all that was done about it."""

    charge_id: str
    customer_id: str
    status: str
    amount: Money
    applied: Money
    returned: Money
    due_at: datetime | None
    payment_intent: str | None
    lines: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    refunds: list[dict[str, Any]]
    disputes: list[dict[str, Any]]


# What is shown of the rows that belong to a charge, in order.
SHOWN: dict[str, tuple[Table, tuple[str, ...], str]] = {
    "lines": (charge_lines, ("fix_id", "price", "added_at", "removed_at"), "added_at"),
    "attempts": (
        attempts,
        ("number", "why", "answer", "code", "message", "payment_intent", "answered_at"),
        "number",
    ),
    "refunds": (
        refunds,
        ("refund_id", "status", "amount", "fix_id", "reason", "code", "stripe_refund"),
        "requested_at",
    ),
    "disputes": (
        disputes,
        ("dispute_id", "status", "funds", "amount", "reason", "opened_at"),
        "opened_at",
    ),
}

AMOUNTS = {"price", "amount"}  # columns in minor units of the charge's currency


def charge_detail(tx: Connection, key: ChargeKey) -> ChargeDetail:
    charge = read_charge(tx, key)
    currency = charge.currency
    return ChargeDetail(
        charge.charge_id,
        charge.customer_id,
        charge.status,
        Money(charge.amount, currency),
        Money(charge.applied, currency),
        Money(charge.returned, currency),
        charge.due_at,
        charge.payment_intent,
        **{name: rows_about(tx, key, currency, *shown) for name, shown in SHOWN.items()},
    )


def rows_about(
    tx: Connection,
    key: ChargeKey,
    currency: str,
    table: Table,
    columns: tuple[str, ...],
    order: str,
) -> list[dict[str, Any]]:
    rows = tx.execute(
        select(*(table.c[name] for name in columns))
        .where(table.c.customer_id == key.customer_id, table.c.charge_id == key.charge_id)
        .order_by(table.c[order])
    )
    return [
        {name: Money(value, currency) if name in AMOUNTS else value for name, value in row.items()}
        for row in rows.mappings()
    ]


def list_charges(
    tx: Connection,
    customer_id: str | None = None,
    *,
    status: str | None = None,
    limit: int | None = None,
) -> list[ChargeLine]:
    """Of one customer, or of all; with the code of the newest attempt that failed."""
    code = (
        select(attempts.c.code)
        .where(
            attempts.c.customer_id == charges.c.customer_id,
            attempts.c.charge_id == charges.c.charge_id,
        )
        .order_by(attempts.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = select(charges, code.label("code")).order_by(charges.c.customer_id, charges.c.opened_at)
    if customer_id is not None:
        rows = rows.where(charges.c.customer_id == customer_id)
    if status is not None:
        rows = rows.where(charges.c.status == status)
    if limit is not None:
        rows = rows.order_by(None).order_by(charges.c.opened_at.desc()).limit(limit)
    return [
        ChargeLine(
            row.charge_id,
            row.customer_id,
            row.status,
            Money(row.amount, row.currency),
            row.payment_intent,
            row.code,
        )
        for row in tx.execute(rows)
    ]
