"""Subscriptions and their invoices, as Stripe last told of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.postgresql import insert

from worker.billing.stripe_objects import StripeInvoice, StripeSubscription
from worker.billing.subscriptions import ENDED
from worker.storage.tables import invoices, subscriptions


def status_of_invoice(tx: Connection, customer_id: str, invoice_id: str) -> str | None:
    """The status we know; None for an invoice that is new to us."""
    status: str | None = tx.scalar(
        select(invoices.c.status).where(
            invoices.c.customer_id == customer_id, invoices.c.invoice_id == invoice_id
        )
    )
    return status


def save_invoice(tx: Connection, customer_id: str, seen: StripeInvoice, now: datetime) -> None:
    row = {
        "customer_id": customer_id,
        "invoice_id": seen.invoice_id,
        "subscription_id": seen.subscription_id,
        "status": seen.status,
        "reason": seen.reason,
        "amount": seen.money.amount,
        "currency": seen.money.currency,
        "payment_intent": seen.payment_intent,
        "period_start": seen.period_start,
        "period_end": seen.period_end,
        "recorded_at": now,
    }
    save(tx, invoices, row)


def save_subscription(
    tx: Connection, customer_id: str, seen: StripeSubscription, now: datetime
) -> None:
    """What has ended stays so: two replies of Stripe may be read in the wrong order."""
    known = seen._asdict()
    del known["stripe_customer"]
    status = select(subscriptions.c.status).where(
        subscriptions.c.customer_id == customer_id,
        subscriptions.c.subscription_id == seen.subscription_id,
    )
    if tx.scalar(status) in ENDED and seen.status not in ENDED:
        return
    save(tx, subscriptions, known | {"customer_id": customer_id, "recorded_at": now})


def save(tx: Connection, table: Table, row: dict[str, Any]) -> None:
    statement = insert(table).values(row)
    tx.execute(statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=row))
