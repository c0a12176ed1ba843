"""The business clocks: everyone's, and each customer's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.builders import DAY, HOUR, MARCH, NOW, add_customer, one_row, rows_of
from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, DENIED, NULL, UNIQUE, inserted, refusal
from worker.billing.cycles import SWEPT_WITHIN, spread
from worker.clock import Clock
from worker.customers import create_customer
from worker.storage import tables
from worker.storage.books import read_book
from worker.storage.clock import how_far_ahead, move_clock, move_clock_of
from worker.storage.cycles import due_books

NOTHING = timedelta(0)


def ahead(engine: Engine) -> timedelta:
    with engine.begin() as tx:
        return how_far_ahead(tx)


def move(engine: Engine, by: timedelta) -> None:
    with engine.begin() as tx:
        move_clock(tx, by)


def lead(engine: Engine, customer_id: str) -> Any:
    return one_row(engine, tables.books, customer_id=customer_id)["clock_offset"]


def test_nobody_is_ahead_at_first(engine: Engine) -> None:
    add_customer(engine)

    assert (ahead(engine), lead(engine, "acme")) == (NOTHING, NOTHING)
    assert rows_of(engine, tables.clock) == []


def test_moving_the_clock_moves_everyone_and_adds_up(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex", clock_offset=DAY)

    for by in (HOUR, 40 * DAY):
        move(engine, by)

    assert ahead(engine) == 40 * DAY + HOUR
    assert lead(engine, "acme") == 40 * DAY + HOUR
    assert lead(engine, "globex") == 41 * DAY + HOUR
    assert len(rows_of(engine, tables.clock)) == 1


def test_a_customer_who_comes_later_shares_the_clock_of_the_stack(
    engine: Engine, clock: Clock
) -> None:
    move(engine, 40 * DAY)

    create_customer("acme", "payg", engine, clock)

    book = one_row(engine, tables.books)
    assert book["clock_offset"] == 40 * DAY
    assert (book["cycle_start"], book["cycle_end"]) == (day(4), day(5))
    assert book["due_at"] == day(5) - 40 * DAY + spread("acme", SWEPT_WITHIN)


def day(month: int) -> datetime:
    return NOW.replace(month=month, day=1, hour=0)


def test_one_customers_clock_is_nobody_elses(engine: Engine) -> None:
    for name in ("acme", "globex"):
        add_customer(engine, name)

    with engine.begin() as tx:
        moved = move_clock_of(tx, "acme", DAY), move_clock_of(tx, "stranger", DAY)

    assert moved == (True, False)
    assert (lead(engine, "acme"), lead(engine, "globex"), ahead(engine)) == (DAY, NOTHING, NOTHING)


@pytest.mark.parametrize("whose", ["everyone's", "acme's"])
def test_whose_clock_is_moved_is_due_that_much_sooner(engine: Engine, whose: str) -> None:
    for name in ("acme", "globex"):
        add_customer(engine, name)
    by = MARCH.end - NOW

    with engine.begin() as tx:
        before = due_books(tx, NOW, 10, None)
        move_clock(tx, by) if whose == "everyone's" else move_clock_of(tx, "acme", by)
        after = [each.customer_id for each in due_books(tx, NOW, 10, None)]

    assert before == []
    assert after == (["acme", "globex"] if whose == "everyone's" else ["acme"])


def test_a_book_is_read_with_the_lead_of_its_customer(engine: Engine) -> None:
    add_customer(engine, clock_offset=DAY + HOUR)

    with engine.begin() as tx:
        book = read_book(tx, "acme")

    assert book is not None
    assert book.clock_offset == DAY + HOUR
    assert book.next_due == MARCH.end
    assert timedelta(0) <= book.due_at - (MARCH.end - DAY - HOUR) < timedelta(minutes=10)


ROW = {"one": "true", "ahead": "'1 day'"}
REFUSED = {
    "a second clock": ((inserted("clock", ROW),) * 2, UNIQUE),
    "a clock beside the one": ((inserted("clock", ROW | {"one": "false"}),), CHECK),
    "a clock that says nothing": ((inserted("clock", ROW | {"ahead": "NULL"}),), NULL),
}


@pytest.mark.parametrize(("statements", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_there_is_one_clock(ledger: Ledger, statements: tuple[str, ...], sqlstate: str) -> None:
    outcomes = [refusal(role, *statements) for role in (ledger.worker, ledger.owner)]

    assert outcomes == [sqlstate, sqlstate]


def test_the_api_neither_sees_nor_moves_it(ledger: Ledger) -> None:
    outcomes = [
        refusal(ledger.api, each)
        for each in ("SELECT * FROM clock", inserted("clock", ROW), "UPDATE clock SET one = true")
    ]

    assert outcomes == [DENIED] * 3
