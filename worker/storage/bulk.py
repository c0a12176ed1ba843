"""Many rows in one statement: the only file that talks to psycopg itself.

Four verbs, built from the tables. Core's own bulk forms cost 15 to 20 per cent of the settle rate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from inspect import signature
from itertools import takewhile
from operator import attrgetter
from typing import Any, TypeVar

from psycopg import Connection as Driver
from psycopg import sql
from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql

Row = Sequence[Any]
Found = TypeVar("Found")

DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def append(tx: Connection, table: Table, rows: Collection[object]) -> None:
    """COPY new rows from objects that have an attribute for every column."""
    if not rows:
        return
    statement, types = copy_into(table)
    values = attrgetter(*(column.name for column in written(table)))
    with driver(tx).cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(values(row))


def find(
    tx: Connection,
    table: Table,
    of: Callable[..., Found],
    by: tuple[str, ...],
    keys: Iterable[Row],
    end: str = "",
    **same: object,
) -> Iterator[Found]:
    """The rows with these keys, each `of` its columns by position, and of what is `same` for all.

    They are waited for when the first is read, so several can be asked for `at_once`. `end` is a
    trusted tail such as ORDER BY.
    """
    keys = sorted(keys, key=tuple)
    if not keys:
        return iter(())
    cursor = driver(tx).cursor(binary=True)
    cursor.execute(select_from(table, columns_of(of, table), by, end), transposed(keys))
    return (of(*row, **same) for row in cursor)


def replace(
    tx: Connection, table: Table, columns: tuple[str, ...], rows: Collection[object]
) -> None:
    """Set these columns from objects that have them, and the primary key, as attributes."""
    if rows:
        keys = (column.name for column in table.primary_key)
        execute(tx, update(table, columns), list(map(attrgetter(*keys, *columns), rows)))


def add(tx: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows, or add their numbers to the row that has the same primary key.

    A row that takes something away has to be there: Postgres checks the constraints of what it
    would insert before it finds the row to add to.
    """
    keys = len(table.primary_key)
    takes = [row for row in rows if min(row[keys:]) < 0]
    gives = [row for row in rows if min(row[keys:]) >= 0]
    if gives:
        execute(tx, upsert(table), gives)
    if takes:
        execute(tx, increase(table), takes)


def at_once(tx: Connection) -> AbstractContextManager[object]:
    """Statements within are sent without waiting for the one before; at the end for all."""
    return driver(tx).pipeline()


def driver(tx: Connection) -> Driver[Any]:
    """The psycopg connection inside this transaction."""
    connection = tx.connection.driver_connection
    assert isinstance(connection, Driver)  # noqa: S101 - the engine was built on psycopg
    return connection


def execute(tx: Connection, statement: bytes, rows: Sequence[Row]) -> None:
    with driver(tx).cursor() as cursor:
        cursor.execute(statement, transposed(rows))


def transposed(rows: Sequence[Row]) -> list[list[Any]]:
    """One array a column, as unnest() takes them."""
    return [list(values) for values in zip(*rows, strict=True)]


# As bytes: psycopg renders what is composed at every call, an update of books in 0.2 ms.
@cache
def copy_into(table: Table) -> tuple[bytes, list[str]]:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table.name), names(written(table))
    )
    return statement.as_bytes(), [type_of(column) for column in written(table)]


def written(table: Table) -> list[Column[Any]]:
    """Its columns but those that Postgres computes."""
    return [column for column in table.columns if column.computed is None]


@cache
def columns_of(of: Callable[..., object], table: Table) -> tuple[str, ...]:
    """Its places, up to the first that the table does not have."""
    return tuple(takewhile(table.columns.__contains__, signature(of).parameters))


@cache
def select_from(table: Table, columns: tuple[str, ...], by: tuple[str, ...], end: str) -> bytes:
    statement = sql.SQL("SELECT {} FROM {} JOIN {} ON {} {}").format(
        names([table.columns[name] for name in columns], table.name),
        sql.Identifier(table.name),
        unnested(table, by),
        equal(table, by),
        sql.SQL(end),
    )
    return statement.as_bytes()


@cache
def update(table: Table, columns: tuple[str, ...]) -> bytes:
    keys = tuple(column.name for column in table.primary_key)
    statement = sql.SQL("UPDATE {} SET {} FROM {} WHERE {}").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("new", name))
            for name in columns
        ),
        unnested(table, keys + columns),
        equal(table, keys),
    )
    return statement.as_bytes()


@cache
def upsert(table: Table) -> bytes:
    keys = [column.name for column in table.primary_key]
    counts = [column.name for column in table.columns if column.name not in keys]
    statement = sql.SQL(
        "INSERT INTO {} ({}) SELECT * FROM {} ON CONFLICT ({}) DO UPDATE SET {}"
    ).format(
        sql.Identifier(table.name),
        names(table.columns),
        unnested(table, tuple(column.name for column in table.columns)),
        sql.SQL(", ").join(map(sql.Identifier, keys)),
        sql.SQL(", ").join(
            sql.SQL("{0} = {1}.{0} + excluded.{0}").format(
                sql.Identifier(name), sql.Identifier(table.name)
            )
            for name in counts
        ),
    )
    return statement.as_bytes()


@cache
def increase(table: Table) -> bytes:
    keys = [column.name for column in table.primary_key]
    counts = [column.name for column in table.columns if column.name not in keys]
    statement = sql.SQL("UPDATE {} SET {} FROM {} WHERE {}").format(
        sql.Identifier(table.name),
        sql.SQL(", ").join(
            sql.SQL("{0} = {1} + {2}").format(
                sql.Identifier(name), sql.Identifier(table.name, name), sql.Identifier("new", name)
            )
            for name in counts
        ),
        unnested(table, tuple(column.name for column in table.columns)),
        equal(table, keys),
    )
    return statement.as_bytes()


def equal(table: Table, keys: Iterable[str]) -> sql.Composed:
    """The row's key is the one in `new`."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(table.name, key), sql.Identifier("new", key))
        for key in keys
    )


def unnested(table: Table, columns: tuple[str, ...]) -> sql.Composed:
    """Arrays as a table called `new`."""
    return sql.SQL("unnest({}) AS new({})").format(
        sql.SQL(", ").join(sql.SQL(f"%b::{type_of(table.columns[name])}[]") for name in columns),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )


def names(columns: Iterable[Column[Any]], table: str | None = None) -> sql.Composed:
    parts = [(table, column.name) if table else (column.name,) for column in columns]
    return sql.SQL(", ").join(sql.Identifier(*part) for part in parts)


def type_of(column: Column[Any]) -> str:
    return str(column.type.compile(DIALECT)).lower()
