"""Connections to Postgres: which role, which limits, and which errors mean what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

WORKER = "fixbill_worker"
API = "fixbill_api"
OPS = "fixbill_ops"  # what the API becomes to look over all customers

# SQLSTATE classes that blame the data: data exception, integrity violation, program limit.
DATA_ERRORS = ("22", "23", "54")
# Connection, transaction rolled back, resources, object in use, operator intervention, system.
AWAY = ("08", "40", "53", "55", "57", "58")

SESSION = {
    "timezone": "UTC",
    "lock_timeout": "5s",
    "statement_timeout": "30s",
    # A process frozen inside a transaction gives its locks up after this.
    "idle_in_transaction_session_timeout": "15s",
}


def connect(url: str, role: str | None, pool_size: int = 8) -> Engine:
    """An engine whose sessions act as `role`, whoever logs in."""
    session = SESSION | ({"role": role} if role else {})
    return create_engine(
        with_driver(url),
        pool_size=pool_size,
        max_overflow=4,
        pool_timeout=10,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 5,
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """Everything that is read in it is of one moment."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as tx, tx.begin():
        yield tx


def with_driver(url: str) -> str:
    """SQLAlchemy wants the driver in the scheme and does not know `postgres://`."""
    scheme, separator, rest = url.partition("://")
    if scheme in {"postgres", "postgresql"}:
        return f"postgresql+psycopg{separator}{rest}"
    return url


def is_away(error: Exception) -> bool:
    """Whether Postgres cannot be reached or is too busy: the same may work in a moment."""
    cause = error.orig if isinstance(error, StatementError) else error
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        return cause.sqlstate[:2] in AWAY
    return isinstance(cause, (psycopg.OperationalError, PoolTimeout))


def blames_the_data(error: Exception) -> bool:
    """Whether trying the same rows again is useless; anything about the server is not that."""
    cause = error.orig if isinstance(error, StatementError) else error
    if not isinstance(cause, psycopg.Error):
        return not isinstance(cause, (SQLAlchemyError, OSError))
    if cause.sqlstate is None:  # raised by the client: a value it cannot send, or a lost connection
        return isinstance(cause, psycopg.DataError)
    return cause.sqlstate[:2] in DATA_ERRORS
