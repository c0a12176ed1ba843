"""Our side of a comparison with Stripe, and the differences that wait for a person."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, Engine, func, select, union_all, update
from sqlalchemy.dialects.postgresql import insert

from schemas.money import Money
from worker.billing.disputes import CLOSED, Funds
from worker.billing.drift import Booked, Books, Drift, DriftKind, Standing, Window
from worker.billing.refunds import BOOKED, RefundStatus
from worker.billing.subscriptions import ENDED
from worker.storage.tables import (
    books,
    customers,
    disputes,
    drifts,
    invoices,
    refunds,
    subscriptions,
    transfers,
)


def books_for(tx: Connection, window: Window, intents: Iterable[str]) -> Books:
    """What we know of these payment intents, and of all that moved within the window."""
    return Books(
        owners=owners(tx),
        payments=payments(tx, window, list(intents)),
        recent_refunds=recent_refunds(tx, window),
        amounts=amounts(tx),
        refunds={
            row.stripe_refund: RefundStatus(row.status)
            for row in tx.execute(
                select(refunds.c.stripe_refund, refunds.c.status).where(
                    refunds.c.status.in_(BOOKED)
                )
            )
        },
        disputes={
            row.dispute_id: Funds(row.funds)
            for row in tx.execute(select(disputes.c.dispute_id, disputes.c.funds))
        },
        invoices={
            row.invoice_id: row.status
            for row in tx.execute(select(invoices.c.invoice_id, invoices.c.status))
        },
        subscriptions={
            row.subscription_id: Standing(row.status, row.cancel_at_period_end)
            for row in tx.execute(select(subscriptions))
        },
    )


def owners(tx: Connection) -> dict[str, tuple[str, str]]:
    rows = tx.execute(
        select(customers.c.stripe_customer, books.c.customer_id, books.c.currency)
        .join(books, books.c.customer_id == customers.c.customer_id)
        .where(customers.c.stripe_customer.is_not(None))
    )
    return {row.stripe_customer: (row.customer_id, row.currency) for row in rows}


def payments(tx: Connection, window: Window, intents: list[str]) -> dict[str, Booked]:
    within = transfers.c.recorded_at.between(*window)
    rows = tx.execute(
        select(
            transfers.c.source_key,
            transfers.c.customer_id,
            transfers.c.unit,
            func.sum(transfers.c.amount).label("amount"),
            func.bool_or(within).label("recent"),
        )
        .where(
            transfers.c.kind.in_(("pay", "unapplied_in")),
            transfers.c.source_key.not_like("in\\_%"),  # an invoice that no card has paid
            within | transfers.c.source_key.in_(intents),
        )
        .group_by(transfers.c.source_key, transfers.c.customer_id, transfers.c.unit)
    )
    return {
        row.source_key: Booked(row.customer_id, Money(int(row.amount), row.unit), row.recent)
        for row in rows
    }


def amounts(tx: Connection) -> dict[str, Money]:
    """What was booked of refunds and disputes, by Stripe's id."""
    ids = {refunds: refunds.c.stripe_refund, disputes: disputes.c.dispute_id}
    rows = tx.execute(
        union_all(*(select(id_, table.c.amount, table.c.currency) for table, id_ in ids.items()))
    )
    return {row[0]: Money(row[1], row[2]) for row in rows if row[0] is not None}


def recent_refunds(tx: Connection, window: Window) -> dict[str, str]:
    """Refunds that Stripe's list should have; whose they are."""
    rows = tx.execute(
        select(refunds.c.stripe_refund, refunds.c.customer_id).where(
            refunds.c.status.in_(BOOKED), refunds.c.requested_at.between(*window)
        )
    )
    return {row.stripe_refund: row.customer_id for row in rows}


def standing_subscriptions(tx: Connection) -> list[str]:
    """Those that have not ended as far as we know; Stripe's ids."""
    live = subscriptions.c.status.not_in(ENDED)
    return list(tx.scalars(select(subscriptions.c.subscription_id).where(live)))


def unsettled(tx: Connection) -> tuple[list[str], list[str]]:
    """Refunds and disputes that may still change, however old; Stripe's ids."""
    pending = tx.scalars(
        select(refunds.c.stripe_refund).where(refunds.c.status == RefundStatus.PENDING)
    )
    undecided = tx.scalars(
        select(disputes.c.dispute_id).where(
            disputes.c.funds.in_((Funds.OURS, Funds.WITHDRAWN)), disputes.c.status.not_in(CLOSED)
        )
    )
    return list(pending), list(undecided)


def park_drifts(tx: Connection, found: Iterable[Drift], now: datetime) -> list[Drift]:
    """Keep these for a person; those that are new."""
    return [drift for drift in found if park_drift(tx, drift, now)]


def park_drift(tx: Connection, drift: Drift, now: datetime) -> bool:
    row = {
        "kind": drift.kind,
        "subject": drift.subject,
        "customer_id": drift.customer_id,
        "evidence": dict(drift.evidence),
        "found_at": now,
        "resolved_at": None,
    }
    statement = insert(drifts).values(row)
    again = statement.on_conflict_do_update(
        index_elements=["kind", "subject"], set_=row, where=drifts.c.resolved_at.is_not(None)
    )
    return tx.execute(again.returning(drifts.c.subject)).first() is not None


def standing_drifts(tx: Connection) -> list[Drift]:
    """What waits for a person, oldest first."""
    rows = tx.execute(
        select(drifts).where(drifts.c.resolved_at.is_(None)).order_by(drifts.c.found_at)
    )
    return [Drift(DriftKind(row.kind), row.subject, row.customer_id, row.evidence) for row in rows]


def count_standing(engine: Engine) -> int:
    standing = select(func.count()).select_from(drifts).where(drifts.c.resolved_at.is_(None))
    with engine.begin() as tx:
        return tx.scalar(standing) or 0


def resolve_drift(tx: Connection, drift: Drift, now: datetime) -> None:
    this = (drifts.c.kind == drift.kind, drifts.c.subject == drift.subject)
    tx.execute(update(drifts).where(*this).values(resolved_at=now))
