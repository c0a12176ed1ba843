"""Lists of what happened: fixes and charges, newest last."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from schemas.money import Money
from worker.storage.tables import attempts, charges, fixes


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


def list_charges(tx: Connection, customer_id: str | None = None) -> list[ChargeLine]:
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
