"""Refunds, and the disputes that forbid them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, exists, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from worker.billing.charges import ChargeStatus
from worker.billing.disputes import Dispute, Funds
from worker.billing.fix import Fix, FixOutcome
from worker.billing.grants import Grant
from worker.billing.refunds import Bought, Refund, RefundStatus
from worker.billing.reverts import REVERT
from worker.storage.books import money_gone
from worker.storage.clock import LONGEST_LEAD
from worker.storage.grants import GRANT_COLUMNS
from worker.storage.tables import (
    books,
    charge_lines,
    charges,
    disputes,
    fixes,
    grants,
    refunds,
    top_ups,
    transfers,
)

LEASE = timedelta(minutes=5)  # longer than a list and a call to Stripe with their retries


class RefundKey(NamedTuple):
    """Which refund."""

    customer_id: str
    refund_id: str


class Payer(NamedTuple):
    """Whose payment it was, and for which charge of ours; None: it is unapplied."""

    customer_id: str
    charge_id: str | None


def claim_due_refunds(tx: Connection, now: datetime, wall: datetime, limit: int) -> list[RefundKey]:
    """Lease refunds to be sent, or to be asked about."""
    due = (
        select(refunds.c.customer_id, refunds.c.refund_id)
        .join(books, books.c.customer_id == refunds.c.customer_id)
        .where(
            refunds.c.due_at <= literal(now) + LONGEST_LEAD,
            refunds.c.due_at <= literal(now) + books.c.clock_offset,
            or_(refunds.c.leased_until.is_(None), refunds.c.leased_until < wall),
        )
        .order_by(refunds.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=refunds)
    )
    keys = [RefundKey(*row) for row in tx.execute(due)]
    for key in keys:
        tx.execute(update(refunds).where(*is_refund(key)).values(leased_until=wall + LEASE))
    return keys


def is_refund(key: RefundKey) -> tuple[Any, ...]:
    return refunds.c.customer_id == key.customer_id, refunds.c.refund_id == key.refund_id


def read_refund(tx: Connection, key: RefundKey) -> Refund:
    row = tx.execute(select(refunds).where(*is_refund(key))).mappings().one()
    return refund_from(row)


def find_refund(tx: Connection, stripe_refund: str, refund_id: str | None) -> Refund | None:
    """By Stripe's id, or by ours as Stripe's refund carries it while we know no other."""
    named = (refunds.c.refund_id == refund_id) & refunds.c.stripe_refund.is_(None)
    known = select(refunds).where(or_(refunds.c.stripe_refund == stripe_refund, named))
    row = tx.execute(known).mappings().first()
    return refund_from(row) if row else None


def has_refund(tx: Connection, key: RefundKey) -> bool:
    return tx.scalar(select(refunds.c.refund_id).where(*is_refund(key))) is not None


def refund_from(row: Any) -> Refund:
    return Refund(**dict(row) | {"status": RefundStatus(row["status"])})


def add_refund(tx: Connection, refund: Refund) -> None:
    tx.execute(insert(refunds).values(asdict(refund)))


def save_refund(tx: Connection, refund: Refund) -> None:
    """As it is now; the lease on it ends."""
    key = RefundKey(refund.customer_id, refund.refund_id)
    tx.execute(
        update(refunds).where(*is_refund(key)).values(asdict(refund) | {"leased_until": None})
    )


def mark_tried(tx: Connection, key: RefundKey) -> None:
    """From here on Stripe may have it."""
    tx.execute(update(refunds).where(*is_refund(key)).values(tried=True))


def under_way(tx: Connection, customer_id: str, charge_id: str) -> int:
    """What has been asked for and is not booked yet; minor units."""
    asked = select(func.coalesce(func.sum(refunds.c.amount), 0)).where(
        refunds.c.customer_id == customer_id,
        refunds.c.charge_id == charge_id,
        refunds.c.status == RefundStatus.REQUESTED,
    )
    return int(tx.scalar(asked) or 0)


def is_disputed(tx: Connection, customer_id: str, charge_id: str) -> bool:
    """Whether the bank has the money, or has given it to the customer."""
    found = select(disputes.c.dispute_id).where(
        disputes.c.customer_id == customer_id,
        disputes.c.charge_id == charge_id,
        disputes.c.funds.in_((Funds.WITHDRAWN, Funds.LOST)),
    )
    return tx.scalar(found.limit(1)) is not None


def payer_of(tx: Connection, payment_intent: str) -> Payer | None:
    """Who made a payment that is in the ledger."""
    row = tx.execute(
        select(transfers.c.customer_id, charges.c.charge_id)
        .outerjoin(
            charges,
            (charges.c.customer_id == transfers.c.customer_id)
            & (charges.c.payment_intent == payment_intent)
            & (charges.c.status == ChargeStatus.PAID),
        )
        .where(
            transfers.c.kind.in_(("pay", "unapplied_in")),
            transfers.c.source_key == payment_intent,
        )
        .limit(1)
    ).first()
    return Payer(*row) if row else None


def unapplied_from(tx: Connection, customer_id: str, payment_intent: str) -> int:
    """How much of this payment no charge explained and is still here; minor units."""
    brought = select(transfers.c.amount).where(
        transfers.c.customer_id == customer_id,
        transfers.c.kind == "unapplied_in",
        transfers.c.source_key == payment_intent,
    )
    returned = select(func.coalesce(func.sum(refunds.c.from_unapplied), 0)).where(
        refunds.c.customer_id == customer_id,
        refunds.c.payment_intent == payment_intent,
        refunds.c.status != RefundStatus.FAILED,
    )
    return (tx.scalar(brought) or 0) - int(tx.scalar(returned) or 0)


def grants_bought(tx: Connection, refund: Refund) -> list[Grant]:
    """The credits given for fixes of this charge that were taken back: they were paid in money."""
    fix_of_grant = literal(REVERT) + fixes.c.fix_id
    bought = (
        select(*GRANT_COLUMNS)
        .join(
            fixes,
            (fixes.c.customer_id == grants.c.customer_id) & (fix_of_grant == grants.c.grant_id),
        )
        .where(fixes.c.customer_id == refund.customer_id, fixes.c.charge_id == refund.charge_id)
    )
    if refund.fix_id is not None:
        bought = bought.where(fixes.c.fix_id == refund.fix_id)
    return [Grant(**row) for row in tx.execute(bought).mappings()]


def credits_bought(tx: Connection, refund: Refund) -> Bought | None:
    """What the payment of this refund has bought; None where it was for no credits."""
    others = select(func.coalesce(func.sum(refunds.c.amount), 0)).where(
        refunds.c.customer_id == refund.customer_id,
        refunds.c.payment_intent == refund.payment_intent,
        refunds.c.refund_id != refund.refund_id,
        refunds.c.status.in_((RefundStatus.PENDING, RefundStatus.SUCCEEDED)),
    )
    sold = select(
        *GRANT_COLUMNS, top_ups.c.amount // top_ups.c.credits, others.scalar_subquery()
    ).join(
        top_ups,
        (top_ups.c.customer_id == grants.c.customer_id)
        & (top_ups.c.payment_intent == grants.c.origin),
    )
    mine = grants.c.customer_id == refund.customer_id, grants.c.origin == refund.payment_intent
    row = tx.execute(sold.where(*mine)).first()
    return Bought(Grant(*row[:-2]), row[-2], int(row[-1])) if row else None


def reverted_without_credit(tx: Connection, refund: Refund) -> list[Fix]:
    """Fixes on the refund's charge that are paid for, taken back, and have earned nothing yet."""
    credit = exists().where(
        grants.c.customer_id == fixes.c.customer_id,
        grants.c.grant_id == literal(REVERT) + fixes.c.fix_id,
    )
    line = exists().where(
        charge_lines.c.customer_id == fixes.c.customer_id,
        charge_lines.c.fix_id == fixes.c.fix_id,
        charge_lines.c.removed_at.is_(None),
    )
    rows = tx.execute(
        select(fixes).where(
            fixes.c.customer_id == refund.customer_id,
            fixes.c.charge_id == refund.charge_id,
            fixes.c.outcome == FixOutcome.REVERTED,
            line,
            ~credit,
        )
    )
    found = [Fix(**row) for row in rows.mappings()]
    gone = money_gone(tx, found)
    return [fix for fix in found if (fix.customer_id, fix.fix_id) not in gone]


def clawed_by(tx: Connection, refund: Refund) -> list[tuple[Grant, int]]:
    """The credits that went with this refund."""
    rows = tx.execute(
        select(*GRANT_COLUMNS, transfers.c.amount)
        .join(
            transfers,
            (transfers.c.customer_id == grants.c.customer_id)
            & (transfers.c.grant_id == grants.c.grant_id),
        )
        .where(
            transfers.c.customer_id == refund.customer_id,
            transfers.c.kind == "claw_back",
            transfers.c.source_key == literal(f"{refund.stripe_refund}/") + grants.c.grant_id,
        )
    ).mappings()
    names = [column.name for column in GRANT_COLUMNS]
    return [(Grant(**{name: row[name] for name in names}), row["amount"]) for row in rows]


def find_dispute(tx: Connection, dispute_id: str) -> Dispute | None:
    row = tx.execute(select(disputes).where(disputes.c.dispute_id == dispute_id)).mappings().first()
    return Dispute(**dict(row) | {"funds": Funds(row["funds"])}) if row else None


def count_unanswered_disputes(engine: Engine) -> int:
    """Disputes and inquiries for which the bank waits to hear our side."""
    waiting = select(func.count()).where(disputes.c.status.endswith("needs_response"))
    with engine.begin() as tx:
        return tx.scalar(waiting) or 0


def save_dispute(tx: Connection, dispute: Dispute) -> None:
    row = asdict(dispute)
    statement = upsert(disputes).values(row)
    tx.execute(statement.on_conflict_do_update(index_elements=list(disputes.primary_key), set_=row))
