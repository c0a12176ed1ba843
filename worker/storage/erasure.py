"""What is personal of a customer, and how it goes. docs/erasure.md has a line for every column."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    Table,
    case,
    func,
    literal,
    or_,
    select,
    union,
    update,
)

from worker.billing.charges import IN_FLIGHT
from worker.billing.disputes import Funds
from worker.billing.orders import OrderStatus
from worker.billing.refunds import RefundStatus
from worker.billing.top_ups import TopUpStatus
from worker.storage.customers import Customer
from worker.storage.tables import (
    attempts,
    charges,
    contests,
    customers,
    disputes,
    drifts,
    invoices,
    parked_entries,
    quarantine,
    refunds,
    stripe_events,
    subscription_orders,
    top_ups,
    waiting_fixes,
)

ERASED = "erased"  # stands where somebody's words stood
STRIPE_CUSTOMER = re.compile(rb'"(cus_[A-Za-z0-9_.:-]+)"')

WORDS = {
    contests: ("reason", "decided_why"),
    attempts: ("message",),
    refunds: ("reason", "message"),
    top_ups: ("message",),
    subscription_orders: ("message",),
}

# What is not done with yet, by the name it is told with.
UNDER_WAY = {
    "charge": (charges.c.charge_id, charges.c.status.in_(IN_FLIGHT)),
    "refund": (
        refunds.c.refund_id,
        refunds.c.status.in_((RefundStatus.REQUESTED, RefundStatus.PENDING)),
    ),
    "top-up": (top_ups.c.top_up_id, top_ups.c.status == TopUpStatus.REQUESTED),
    "order": (
        subscription_orders.c.order_id,
        subscription_orders.c.status == OrderStatus.REQUESTED,
    ),
    "dispute": (disputes.c.dispute_id, disputes.c.funds == Funds.WITHDRAWN),
    "contest": (contests.c.contest_id, contests.c.decided_at.is_(None)),
    "difference from Stripe": (drifts.c.subject, drifts.c.resolved_at.is_(None)),
    "event": (waiting_fixes.c.event_id, literal(True)),
    "entry": (parked_entries.c.entry_key, literal(True)),
}


def under_way(tx: Connection, customer_id: str) -> str | None:
    """What of this customer's is not done with yet, as "charge ch_1"; None if nothing is."""
    for name, (column, unfinished) in UNDER_WAY.items():
        found = tx.scalar(select(column).where(of(column.table, customer_id), unfinished).limit(1))
        if found is not None:
            return f"{name} {found}"
    return None


def erase(tx: Connection, customer: Customer, now: datetime) -> datetime:
    """When it was done first: what has come in since goes with a repetition."""
    theirs = customer.customer_id
    for table, columns in WORDS.items():
        tx.execute(update(table).where(of(table, theirs)).values(erased(table, columns)))
    tx.execute(update(drifts).where(of(drifts, theirs)).values(evidence={}))
    erase_quarantine(tx, theirs, now)
    erase_webhooks(tx, customer)
    first = func.coalesce(customers.c.erased_at, now)
    nobody = {"name": None, "email": None, "payment_method": None, "erased_at": first}
    done = update(customers).where(of(customers, theirs)).values(nobody)
    erased_at: datetime = tx.execute(done.returning(customers.c.erased_at)).scalar_one()
    return erased_at


def erase_quarantine(tx: Connection, customer_id: str, now: datetime) -> None:
    """Without its bytes an entry waits for nobody."""
    replayed_at = func.coalesce(quarantine.c.replayed_at, now)
    gone = {"body": b"", "signature": None, "detail": ERASED, "replayed_at": replayed_at}
    tx.execute(update(quarantine).where(of(quarantine, customer_id)).values(gone))


def erase_webhooks(tx: Connection, customer: Customer) -> None:
    """Those that are done with; the others are emptied when they are."""
    known = stripe_ids_of(customer.customer_id)
    about: ColumnElement[bool] = stripe_events.c.object_id.in_(known)
    if customer.stripe_customer is not None:
        about = or_(about, names(customer.stripe_customer))
    done = stripe_events.c.due_at.is_(None)
    tx.execute(update(stripe_events).where(done, about).values(body=b""))


def of(table: FromClause, customer_id: str) -> ColumnElement[bool]:
    theirs: ColumnElement[bool] = table.c.customer_id == customer_id
    return theirs


def erased(table: Table, columns: tuple[str, ...]) -> dict[str, ColumnElement[str | None]]:
    """Where words stand; where none stand, none."""
    return {name: case((table.c[name].is_not(None), ERASED)) for name in columns}


def stripe_ids_of(customer_id: str) -> CompoundSelect[Any]:
    """Of objects whose events need not say which customer they are about."""
    known = (
        charges.c.payment_intent,
        top_ups.c.payment_intent,
        invoices.c.invoice_id,
        refunds.c.stripe_refund,
        refunds.c.payment_intent,
        disputes.c.dispute_id,
        disputes.c.payment_intent,
    )
    return union(*(select(each).where(of(each.table, customer_id)) for each in known))


def names(stripe_customer: str) -> ColumnElement[bool]:
    """Whether the webhook mentions Stripe's customer anywhere."""
    needle = f'"{stripe_customer}"'.encode()
    found: ColumnElement[int] = func.pg_catalog.position(stripe_events.c.body, needle)
    return found > 0


def erase_late_webhook(tx: Connection, event_id: str) -> None:
    """Stripe goes on telling of a customer who was erased: of the deletion itself, of a dispute."""
    this = stripe_events.c.event_id == event_id
    body, object_id = tx.execute(
        select(stripe_events.c.body, stripe_events.c.object_id).where(this)
    ).one()
    told_of = [each.decode() for each in STRIPE_CUSTOMER.findall(body)]
    owners = union(
        select(disputes.c.customer_id).where(disputes.c.dispute_id == object_id),
        select(refunds.c.customer_id).where(refunds.c.stripe_refund == object_id),
    )
    about = or_(customers.c.stripe_customer.in_(told_of), customers.c.customer_id.in_(owners))
    if tx.scalar(select(customers.c.customer_id).where(customers.c.erased_at.is_not(None), about)):
        tx.execute(update(stripe_events).where(this).values(body=b""))
