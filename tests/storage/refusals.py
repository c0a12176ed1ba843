"""Asking Postgres whether it would take a statement, without keeping what it did."""

from __future__ import annotations

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

DENIED, CHECK, UNIQUE, FOREIGN, NULL = "42501", "23514", "23505", "23503", "23502"


def refusal(engine: Engine, *statements: str) -> str:
    """The SQLSTATE with which one of them is refused; `allowed` if none is. Nothing is kept."""
    with engine.connect() as connection, connection.begin() as transaction:
        try:
            for statement in statements:
                connection.exec_driver_sql(statement)
            connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        except DBAPIError as error:
            return str(getattr(error.orig, "sqlstate", None))
        finally:
            transaction.rollback()
    return "allowed"


def inserted(table: str, values: dict[str, str]) -> str:
    """An INSERT of SQL expressions."""
    return f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
