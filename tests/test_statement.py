"""The sweep that writes statements: every closed cycle once, in order, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.builders import MARCH, add_customer, rows_of
from tests.stating import APRIL_CLOSED, pass_time
from worker.clock import Clock
from worker.statement import TOGETHER, write_statements
from worker.storage import tables

AFTER = Clock(APRIL_CLOSED - datetime.now(UTC))


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What would have been written to the log."""
    with capture_logs() as entries:
        yield entries


def written(engine: Engine) -> list[tuple[str, int]]:
    return [(row["customer_id"], row["number"]) for row in rows_of(engine, tables.statements)]


def test_every_closed_cycle_gets_its_statement_once(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    pass_time(engine, APRIL_CLOSED)

    swept = [write_statements(engine, AFTER) for _ in range(2)]

    assert swept == [4, 0]
    assert written(engine) == [("acme", 1), ("acme", 2), ("globex", 1), ("globex", 2)]


def test_more_than_a_page_is_written_in_one_sweep(engine: Engine) -> None:
    for number in range(TOGETHER + 5):
        add_customer(engine, f"customer-{number:03}")
    pass_time(engine, MARCH.end.replace(hour=2))

    assert write_statements(engine, AFTER) == TOGETHER + 5


def test_no_page_is_begun_after_its_time(engine: Engine) -> None:
    add_customer(engine)
    pass_time(engine, APRIL_CLOSED)

    assert write_statements(engine, AFTER, seconds=0) == 0
    assert written(engine) == []


def test_one_that_cannot_be_written_holds_up_nobody_else(
    engine: Engine, owner: Engine, logged: list[EventDict]
) -> None:
    for customer_id in ("acme", "broken", "globex"):
        add_customer(engine, customer_id)
    pass_time(engine, APRIL_CLOSED)
    with owner.begin() as tx:
        tx.execute(text("UPDATE books SET currency = '?' WHERE customer_id = 'broken'"))

    written_now = write_statements(engine, AFTER)

    assert written_now == 4
    assert {customer_id for customer_id, _ in written(engine)} == {"acme", "globex"}
    failed = [each["customer"] for each in logged if each["event"] == "statement_failed"]
    assert set(failed) == {"broken"}
