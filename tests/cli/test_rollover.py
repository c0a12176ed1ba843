"""`fixbill rollover`: what is over is ended now, and what that was is said."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis import Redis
from sqlalchemy import Engine, update

from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    add_customer,
    give_credits,
    one_row,
    publish_all,
    rows_of,
)
from tests.cli.running import Cli, fixed_now
from tests.sweeping import broken
from worker.storage import tables

NOTHING = "0 customers were brought up to now; 0 statements written\n"


@pytest.fixture
def over(cli: Cli) -> int:
    """Two customers whose cycles nobody has ended since March; how many of each are over."""
    for customer_id in ("acme", "globex"):
        add_customer(cli.engine, customer_id)
    now = datetime.now(UTC)
    ended = (now.year - MARCH.start.year) * 12 + now.month - MARCH.start.month
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return ended - (now < month + HOUR)  # the last one still takes fixes


def test_all_that_is_over_is_ended_and_stated(cli: Cli, over: int) -> None:
    done = cli("rollover")

    assert done.code == 0
    assert done.out == (f"2 customers were brought up to now; {2 * over:,} statements written\n")
    for customer_id in ("acme", "globex"):
        found = rows_of(cli.engine, tables.statements, customer_id=customer_id)
        assert [row["number"] for row in found] == list(range(1, over + 1))
        book = one_row(cli.engine, tables.books, customer_id=customer_id)
        assert book["cycle_start"] <= datetime.now(UTC) < book["cycle_end"]
    assert broken(cli.engine) == []


def test_the_second_run_does_nothing(cli: Cli, over: int) -> None:
    cli("rollover")
    before = rows_of(cli.engine, tables.cycles), rows_of(cli.engine, tables.books)

    again = cli("rollover")

    assert (again.code, again.out) == (0, NOTHING)
    assert (rows_of(cli.engine, tables.cycles), rows_of(cli.engine, tables.books)) == before


def test_it_is_told_as_json(cli: Cli, over: int) -> None:
    assert cli("rollover", "--json").json == {"customers": 2, "statements": 2 * over}
    assert cli("rollover", "--json").json == {"customers": 0, "statements": 0}


def test_where_nobody_is_there_is_nothing_to_do(cli: Cli) -> None:
    done = cli("rollover")

    assert (done.code, done.out) == (0, NOTHING)


def test_one_is_said_as_one(cli: Cli) -> None:
    cli("customers", "add", "acme", "--plan", "payg")
    now = datetime.now(UTC)
    give_credits(cli.engine, "acme", 3, expires_at=now, now=now - DAY)
    due_now(cli.engine)

    done = cli("rollover")

    assert done.out == "1 customer was brought up to now; 0 statements written\n"
    assert one_row(cli.engine, tables.books)["expired"] == 3


def test_what_waits_in_the_inbox_is_waited_for(cli: Cli, redis: Redis) -> None:
    """It was accepted before the credits expired, and is to find them."""
    cli("customers", "add", "acme", "--plan", "payg")
    publish_all(redis, [fixed_now()])
    now = datetime.now(UTC)
    give_credits(cli.engine, "acme", 3, expires_at=now, now=now - DAY)
    due_now(cli.engine)

    done = cli("rollover", "--json")

    assert done.json == {"customers": 0, "statements": 0}
    assert one_row(cli.engine, tables.books)["credits"] == 3


def due_now(engine: Engine) -> None:
    """Credits that were given behind the book's back make it due."""
    with engine.begin() as tx:
        tx.execute(update(tables.books).values(due_at=datetime.now(UTC)))
