"""Orders about subscriptions."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from worker.billing.orders import Order, OrderStatus, Wish
from worker.storage.tables import subscription_orders as orders

LEASE = timedelta(seconds=120)  # longer than all calls of one try may take


class OrderKey(NamedTuple):
    """Whose order, and which."""

    customer_id: str
    order_id: str


def add_order(tx: Connection, order: Order) -> None:
    tx.execute(insert(orders).values(asdict(order)))


def requested_order(tx: Connection, customer_id: str) -> Order | None:
    """The one that is not carried out yet; there is at most one."""
    waiting = select(orders).where(
        orders.c.customer_id == customer_id, orders.c.status == OrderStatus.REQUESTED
    )
    row = tx.execute(waiting).mappings().first()
    return order_from(dict(row)) if row else None


def read_order(tx: Connection, key: OrderKey) -> Order:
    """Locked, so that of two who carry it out one decides what became of it."""
    row = tx.execute(select(orders).where(is_order(key)).with_for_update()).mappings().one()
    return order_from(dict(row))


def keep_subscription(tx: Connection, key: OrderKey, subscription_id: str) -> bool:
    """The one that this order is about; False if it is about another, which somebody else made."""
    free = orders.c.subscription_id.is_(None) | (orders.c.subscription_id == subscription_id)
    kept = update(orders).where(is_order(key), free).values(subscription_id=subscription_id)
    return tx.execute(kept).rowcount > 0


def lease_order(tx: Connection, key: OrderKey, wall: datetime) -> bool:
    """False while somebody else has it."""
    free = or_(orders.c.leased_until.is_(None), orders.c.leased_until < wall)
    leased = update(orders).where(is_order(key), free).values(leased_until=wall + LEASE)
    return tx.execute(leased).rowcount > 0


def save_order(tx: Connection, order: Order) -> None:
    key = OrderKey(order.customer_id, order.order_id)
    tx.execute(update(orders).where(is_order(key)).values(asdict(order)))


def claim_due_orders(tx: Connection, wall: datetime, limit: int) -> list[OrderKey]:
    """Lease orders to be carried out now."""
    due = (
        select(orders.c.customer_id, orders.c.order_id)
        .where(
            orders.c.due_at <= wall,
            or_(orders.c.leased_until.is_(None), orders.c.leased_until < wall),
        )
        .order_by(orders.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    keys = [OrderKey(*row) for row in tx.execute(due)]
    return [key for key in keys if lease_order(tx, key, wall)]


def is_order(key: OrderKey) -> ColumnElement[bool]:
    return (orders.c.customer_id == key.customer_id) & (orders.c.order_id == key.order_id)


def order_from(row: dict[str, Any]) -> Order:
    known = {"wish": Wish(row["wish"]), "status": OrderStatus(row["status"])}
    return Order(**row | known)
