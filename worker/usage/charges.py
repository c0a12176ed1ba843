"""The charges of a customer, and how each was collected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, FromClause, Label, RowMapping, Select, Table, or_, select

from schemas.answers import Answer
from schemas.listings import (
    ChargeAnswer,
    ChargeAttempt,
    ChargeCollection,
    ChargeDetail,
    ChargeDispute,
    ChargeLine,
    ChargeRefund,
)
from schemas.money import Money
from worker.billing.charges import FINAL
from worker.storage.charges import ChargeKey, is_charge
from worker.storage.tables import LIVE, attempts, charge_lines, charges, disputes, refunds
from worker.usage.lists import (
    ALL,
    Listed,
    Part,
    Sought,
    Window,
    having,
    left_out,
    of_customer,
    part_of,
    read_page,
)

Answered = TypeVar("Answered", bound=Answer)

LINES_MAX = 1000  # shown of one charge
IN_MINOR_UNITS = ("amount", "applied", "returned", "price")


def list_charges(
    tx: Connection,
    customer_id: str | None = None,
    *,
    status: str | None = None,
    window: Window = ALL,
) -> Listed[ChargeAnswer]:
    """Of one customer, or of all; the newest first."""
    within = of_customer(charges, customer_id)
    if status is not None and status not in FINAL:
        within.append(LIVE)  # of those a customer has two at most, and an index knows them
    sought = Sought(charges, ("opened_at", "charge_id"), within, having(status=status))
    return read_page(tx, sought, window, of_kind(ChargeAnswer), newest_code)


def newest_code(charge: FromClause) -> Label[Any]:
    """What the newest attempt failed for."""
    code = select(attempts.c.code).where(
        attempts.c.customer_id == charge.c.customer_id,
        attempts.c.charge_id == charge.c.charge_id,
    )
    return code.order_by(attempts.c.number.desc()).limit(1).label("decline")


def charge_detail(tx: Connection, key: ChargeKey) -> ChargeDetail | None:
    """With its lines, too."""
    collected = charge_collection(tx, key)
    if collected is None:
        return None
    newest = charge_lines.c.added_at.desc(), charge_lines.c.fix_id.desc()
    lines = rows_about(charge_lines, key).order_by(*newest)
    shown = part_of(tx, lines, of_kind(ChargeLine, collected.amount.currency), LINES_MAX)
    more = collected.left_out | left_out(lines=shown)
    return ChargeDetail(**dict(collected) | {"lines": shown.items, "left_out": more})


def charge_collection(
    tx: Connection, key: ChargeKey, fix_id: str | None = None
) -> ChargeCollection | None:
    """With what was done about it; of refunds those that concern this fix, if one is given."""
    row = tx.execute(select(charges, newest_code(charges)).where(*is_charge(key))).mappings()
    charge = row.first()
    if charge is None:
        return None
    going_back = rows_about(refunds, key).order_by(refunds.c.requested_at.desc())
    if fix_id is not None:
        going_back = going_back.where(or_(refunds.c.fix_id == fix_id, refunds.c.fix_id.is_(None)))
    parts: dict[str, Part[Any]] = {
        "attempts": part_of(
            tx,
            rows_about(attempts, key).order_by(attempts.c.number.desc()),
            of_kind(ChargeAttempt),
        ),
        "refunds": part_of(tx, going_back, of_kind(ChargeRefund)),
        "disputes": part_of(
            tx,
            rows_about(disputes, key).order_by(disputes.c.opened_at.desc()),
            of_kind(ChargeDispute),
        ),
    }
    shown = {name: part.items for name, part in parts.items()}
    return ChargeCollection(**values_of(ChargeAnswer, charge), **shown, left_out=left_out(**parts))


def rows_about(table: Table, key: ChargeKey) -> Select[Any]:
    return select(table).where(
        table.c.customer_id == key.customer_id, table.c.charge_id == key.charge_id
    )


def of_kind(kind: type[Answered], currency: str | None = None) -> Callable[[RowMapping], Answered]:
    return lambda row: kind(**values_of(kind, row, currency))


def values_of(kind: type[Answer], row: RowMapping, currency: str | None = None) -> dict[str, Any]:
    """What this kind of answer says of a row; amounts are in its currency, or the one given."""
    return {
        name: Money(row[name], currency or row["currency"]) if name in IN_MINOR_UNITS else row[name]
        for name in kind.model_fields
    }
