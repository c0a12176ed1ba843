"""Pages of what may be millions of rows: newest first, and never much to read for one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    RowMapping,
    Select,
    Table,
    TextClause,
    func,
    literal,
    select,
    tuple_,
)

Item = TypeVar("Item")
Condition = ColumnElement[bool] | TextClause

SCAN_MAX = 50_000  # rows that are read for one page where no index knows what they should have
SHOWN_MAX = 100  # of what belongs to one row


class Window(NamedTuple):
    """Which part of a list; without a limit, all of it."""

    limit: int | None = None
    before: Sequence[Any] | None = None  # the place of the last row that was seen
    scan: int | None = None


ALL = Window()


class Listed(NamedTuple, Generic[Item]):
    """One page, and the place after which the next one begins; None: it is the last."""

    items: list[Item]
    end: list[str | int] | None = None


class Sought(NamedTuple):
    """Rows of one table, in descending order of columns that an index has and nothing changes."""

    table: Table
    order: Sequence[str]
    within: Iterable[Condition]  # what an index knows
    having: Mapping[str, object] = {}  # what every row has to be read for
    columns: Sequence[ColumnElement[Any]] = ()  # without any: all


def read_page(
    tx: Connection,
    sought: Sought,
    window: Window,
    item: Callable[[RowMapping], Item],
    *more: Callable[[FromClause], ColumnElement[Any]],  # columns made from those of a row
) -> Listed[Item]:
    """Rows that have what is asked for may lie far apart.

    So a page ends once `scan` rows were read, however few it has found, and the next goes on there.
    """
    read = rows_before(sought, window.before)
    if sought.having:
        rows = read.limit(window.scan).subquery()
        wanted = [rows.c[name] == value for name, value in sought.having.items()]
        found = select(rows).where(*wanted).order_by(*newest(rows, sought.order))
        found = found.add_columns(*(column(rows) for column in more))
    else:
        found = read.add_columns(*(column(sought.table) for column in more))
    limit = window.limit
    page = tx.execute(found.limit(limit and limit + 1)).mappings().all()
    if limit is not None and len(page) > limit:
        return Listed([item(row) for row in page[:limit]], own_place(page[limit - 1], sought.order))
    end = None
    if sought.having and window.scan is not None:
        end = tx.execute(read.offset(window.scan - 1).limit(1)).mappings().first()
    return Listed([item(row) for row in page], own_place(end, sought.order) if end else None)


def rows_before(sought: Sought, place: Sequence[Any] | None) -> Select[Any]:
    table, order = sought.table, sought.order
    wanted = select(*sought.columns) if sought.columns else select(table)
    read = wanted.where(*sought.within).order_by(*newest(table, order))
    if place is None:
        return read
    columns = [table.c[name] for name in order]
    values = [literal(value, column.type) for column, value in zip(columns, place, strict=True)]
    return read.where(tuple_(*columns) < tuple_(*values))


def newest(rows: FromClause, order: Sequence[str]) -> list[ColumnElement[Any]]:
    return [rows.c[name].desc() for name in order]


def own_place(row: RowMapping, order: Sequence[str]) -> list[str | int]:
    values = [row[name] for name in order]
    return [each.isoformat() if isinstance(each, datetime) else each for each in values]


def of_customer(table: Table, customer_id: str | None) -> list[Condition]:
    """Of one, or of all."""
    return [] if customer_id is None else [table.c.customer_id == customer_id]


def having(**wanted: object) -> dict[str, object]:
    """What is asked for, without what is not."""
    return {name: value for name, value in wanted.items() if value is not None}


class Part(NamedTuple, Generic[Item]):
    """The newest of what belongs to one row, oldest first, and how many more there are."""

    items: list[Item]
    left_out: int


def part_of(
    tx: Connection, rows: Select[Any], item: Callable[[RowMapping], Item], shown: int = SHOWN_MAX
) -> Part[Item]:
    """Of rows that begin with the newest."""
    total = func.count().over().label("total")
    found = tx.execute(rows.add_columns(total).limit(shown)).mappings().all()
    items = [item(row) for row in reversed(found)]
    return Part(items, found[0]["total"] - len(found) if found else 0)


def left_out(**parts: Part[Any]) -> dict[str, int]:
    """By the names of those that are not whole."""
    return {name: part.left_out for name, part in parts.items() if part.left_out}
