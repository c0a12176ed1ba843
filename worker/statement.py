"""The life of a statement: written once a cycle is closed, from the ledger alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from time import monotonic

from sqlalchemy import Connection, Engine
from structlog import get_logger

from worker.clock import Clock
from worker.storage.cycles import unstated_cycles
from worker.storage.statements import CycleKey, add_statement, ledger_of, read_statement
from worker.usage.statements import statement_of

log = get_logger()

TOGETHER = 100  # statements of one transaction


def write_statements(engine: Engine, clock: Clock, *, seconds: float = inf) -> int:
    """Of every closed cycle that has none, page by page, within so many seconds; how many."""
    after, written, end = None, 0, monotonic() + seconds
    while monotonic() < end:
        with engine.begin() as tx:
            page = unstated_cycles(tx, TOGETHER, after)
        if not page:
            break
        after = page[-1]
        written += write_page([each.key for each in page], engine, clock)
    return written


def write_page(keys: Sequence[CycleKey], engine: Engine, clock: Clock) -> int:
    """Some in one transaction; one that cannot be written holds up no other."""
    try:
        with engine.begin() as tx:
            return sum(write_statement(tx, key, clock) for key in keys)
    except Exception:
        if len(keys) == 1:
            log.error("statement_failed", customer=keys[0].customer_id, exc_info=True)
            return 0
    return sum(write_page([key], engine, clock) for key in keys)


def write_statement(tx: Connection, key: CycleKey, clock: Clock) -> bool:
    """Numbered as the cycle is; False if it is written already, or its turn has not come."""
    before = read_statement(tx, CycleKey(key.customer_id, key.number - 1))
    if before is None and key.number > 1:
        return False
    return add_statement(tx, key, statement_of(ledger_of(tx, key), before), clock.now())
