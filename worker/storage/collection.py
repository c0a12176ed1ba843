"""One charge, and all that was done to collect it or came back of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, select

from worker.billing.charges import Charge
from worker.billing.disputes import Dispute
from worker.billing.refunds import Refund
from worker.storage.charges import ChargeKey
from worker.storage.refunds import refund_from
from worker.storage.tables import attempts, charges, disputes, refunds


class Tried(NamedTuple):
    """One attempt to collect."""

    number: int
    why: str
    payment_intent: str | None
    answer: str | None
    code: str | None
    message: str | None
    started_at: datetime
    answered_at: datetime | None


class Collection(NamedTuple):
    """A charge and what became of it."""

    charge: Charge
    attempts: list[Tried]
    refunds: list[Refund]
    disputes: list[Dispute]


def collection_of(tx: Connection, key: ChargeKey) -> Collection | None:
    row = tx.execute(select(charges).where(*belongs_to(charges, key))).mappings().first()
    tried = tx.execute(
        select(*(attempts.c[name] for name in Tried._fields))
        .where(*belongs_to(attempts, key))
        .order_by(attempts.c.number)
    ).all()
    returned = tx.execute(
        select(refunds).where(*belongs_to(refunds, key)).order_by(refunds.c.requested_at)
    ).mappings()
    found = [refund_from(each) for each in returned]
    taken = tx.execute(
        select(disputes).where(*belongs_to(disputes, key)).order_by(disputes.c.opened_at)
    ).mappings()
    disputed = [Dispute(**each) for each in taken]
    if row is None:
        return None
    charge = Charge(**row)
    return Collection(charge, [Tried(*each) for each in tried], found, disputed)


def belongs_to(table: Table, key: ChargeKey) -> tuple[Any, ...]:
    return table.c.customer_id == key.customer_id, table.c.charge_id == key.charge_id
