"""The ledger of a customer, transfer by transfer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, select

from schemas.answers import Transaction
from schemas.money import Money
from worker.billing.ledger import CREDIT
from worker.storage.prepared import Prepared
from worker.storage.tables import cycles, fixes, refunds, transfers
from worker.usage.lists import Listed, Sought, Window, having, of_customer, read_page

# What can be about a fix. Each is in the ledger under the fix, or under a refund of it.
ABOUT_A_FIX = (
    "consume",
    "give_back",
    "charge",
    "uncharge",
    "refund",
    "refund_failed",
    "refund_unapplied",
    "refund_unapplied_failed",
)


class Filters(NamedTuple):
    """Which transfers; None: whichever."""

    kind: str | None = None
    cycle: int | None = None
    fix_id: str | None = None
    charge_id: str | None = None


EVERY = Filters()

NEWEST = Prepared(
    select(transfers)
    .where(transfers.c.customer_id == bindparam("customer_id"))
    .order_by(transfers.c.seq.desc())
    .limit(bindparam("count"))
)
COLUMNS = transfers.columns.keys()


def newest_transactions(tx: Connection, customer_id: str, count: int) -> list[Transaction]:
    """So many at most."""
    rows = NEWEST.rows(tx, customer_id=customer_id, count=count)
    return [transaction_from(dict(zip(COLUMNS, row, strict=True))) for row in rows]


def list_transactions(
    tx: Connection, customer_id: str, window: Window, filters: Filters = EVERY
) -> Listed[Transaction]:
    """The newest first."""
    within = of_customer(transfers, customer_id)
    if filters.cycle is not None:
        within += in_cycle(tx, customer_id, filters.cycle)
    if filters.fix_id is not None:
        within += about_fix(tx, customer_id, filters.fix_id)
    sought = Sought(transfers, ("seq",), within, having(**filters._asdict()))
    return read_page(tx, sought, window, transaction_from)


def in_cycle(tx: Connection, customer_id: str, number: int) -> Iterator[ColumnElement[bool]]:
    """All its transfers lie between two others; a cycle that is not known has none."""
    edges = tx.execute(
        select(cycles.c.first_seq, cycles.c.last_seq).where(
            cycles.c.customer_id == customer_id, cycles.c.number == number
        )
    ).first()
    first, last = edges or (1, 0)
    yield transfers.c.seq >= first
    if last is not None:
        yield transfers.c.seq <= last


def about_fix(tx: Connection, customer_id: str, fix_id: str) -> Iterator[ColumnElement[bool]]:
    """By the keys of what caused them: an index by fix would cost every fix."""
    refunded: Any = select(refunds.c.refund_id, refunds.c.stripe_refund).join_from(
        refunds,
        fixes,
        (refunds.c.customer_id == fixes.c.customer_id)
        & (refunds.c.charge_id == fixes.c.charge_id)
        & (refunds.c.fix_id == fixes.c.fix_id),
    )
    of_fix = refunded.where(fixes.c.customer_id == customer_id, fixes.c.fix_id == fix_id)
    keys = {key for row in tx.execute(of_fix) for key in row if key is not None}
    yield transfers.c.kind.in_(ABOUT_A_FIX)
    yield transfers.c.source_key.in_(sorted({fix_id, *keys}))


def transaction_from(row: RowMapping | dict[str, Any]) -> Transaction:
    in_credits = row["unit"] == CREDIT
    return Transaction(
        seq=row["seq"],
        kind=row["kind"],
        from_account=row["from_account"],
        to_account=row["to_account"],
        credits=row["amount"] if in_credits else None,
        money=None if in_credits else Money(row["amount"], row["unit"]),
        fix_id=row["fix_id"],
        grant_id=row["grant_id"],
        charge_id=row["charge_id"],
        cycle=row["cycle"],
        happened_at=row["happened_at"],
        recorded_at=row["recorded_at"],
        hash=row["hash"].hex(),
    )
