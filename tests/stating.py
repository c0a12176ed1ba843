"""Closed cycles, and the statements that are written of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Engine

from schemas.answers import Statement
from tests.builders import HOUR, MARCH, rows_of
from worker import statement as lives
from worker.billing.cycles import month_of
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.rollover import catch_up
from worker.clock import Clock
from worker.storage import tables
from worker.storage.books import open_books
from worker.storage.cycles import unstated_cycles
from worker.storage.post import post
from worker.storage.statements import CycleKey, ledger_of, read_statement
from worker.usage.statements import statement_of

APRIL = month_of(MARCH.end)
MARCH_CLOSED, APRIL_CLOSED = MARCH.end + HOUR, APRIL.end + HOUR


def pass_time(engine: Engine, until: datetime, customer_ids: Sequence[str] = ()) -> None:
    """For these customers, or for all of them; no statement is written yet."""
    known = [row["customer_id"] for row in rows_of(engine, tables.books)]
    with engine.begin() as tx:
        journal = Journal(open_books(tx, customer_ids or known), Known(), until)
        for book in journal.books.values():
            catch_up(journal, book, until)
        post(tx, journal)


def write_statements(engine: Engine) -> list[CycleKey]:
    """Of every cycle that is closed."""
    with engine.begin() as tx:
        waiting = [each.key for each in unstated_cycles(tx, 1000)]
    lives.write_statements(engine, Clock(APRIL_CLOSED - datetime.now(UTC)))
    with engine.begin() as tx:
        return [key for key in waiting if read_statement(tx, key) is not None]


def close_march(engine: Engine) -> None:
    """The first cycle of every customer is over, and its statement written."""
    pass_time(engine, MARCH_CLOSED)
    write_statements(engine)


def stated(engine: Engine, customer_id: str = "acme", number: int = 1) -> Statement:
    with engine.begin() as tx:
        found = read_statement(tx, CycleKey(customer_id, number))
    assert found is not None
    return found


def as_it_stands(engine: Engine, customer_id: str = "acme", number: int = 1) -> Statement:
    """What a statement of this first cycle would say now."""
    with engine.begin() as tx:
        return statement_of(ledger_of(tx, CycleKey(customer_id, number)), None)
