"""The usage rows built anew: what was right stays, what was wrong gets right, beside anyone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.billing.histories import History, cut, histories
from tests.builders import (
    DAY,
    NOW,
    add_customer,
    deployed,
    entry,
    reverted,
    rows_of,
    settle_entries,
    settle_events,
)
from tests.running import eventually
from tests.stack import Database
from tests.sweeping import broken, waiting
from tests.test_settle import empty, store
from worker.local.valkey import Valkey
from worker.storage import tables
from worker.storage.books import open_books
from worker.usage.rebuild import everyone, rebuild_slices, rebuild_usage

ACME = "WHERE customer_id = 'acme'"


def rebuild(engine: Engine, fixes_max: int = 10_000) -> dict[str, int]:
    """Everyone; how many rows were wrong, where any were."""
    done = [rebuild_usage(each, engine, fixes_max) for each in everyone(engine)]
    return {each.customer_id: each.changed for each in done if each.changed}


def kept(engine: Engine) -> list[dict[str, Any]]:
    """The rows that count something."""
    rows = rows_of(engine, tables.usage)
    return [row for row in rows if any(list(row.values())[len(tables.usage.primary_key) :])]


@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(histories(), st.sets(st.integers(1, 23), max_size=4), st.sampled_from([1, 3, 10_000]))
def test_after_any_history_there_is_nothing_to_change(
    engine: Engine, owner: Engine, history: History, cuts: set[int], fixes_max: int
) -> None:
    empty(owner)
    store(owner, history.memory())
    for piece in cut(history.arrivals, cuts):
        settle_entries(engine, [each.entry for each in piece])
    before = rows_of(engine, tables.usage)

    changed = rebuild(engine, fixes_max)

    assert changed == {}
    assert before
    assert rows_of(engine, tables.usage) == before


SABOTAGE = {
    "all rows gone": ("DELETE FROM usage", {"acme", "globex", "hooli", "umbrella"}),
    "one customer's rows gone": (f"DELETE FROM usage {ACME}", {"acme"}),
    "one fix too many": (f"UPDATE usage SET credited = credited + 1 {ACME}", {"acme"}),
    "one fix too few": (
        f"UPDATE usage SET charged = charged - 1 {ACME} AND repository = 'acme/api'",
        {"acme"},
    ),
    "another amount": (f"UPDATE usage SET amount = amount / 2 {ACME} AND amount > 0", {"acme"}),
    "outcomes in each other's place": (
        f"UPDATE usage SET charged = reverted, reverted = charged {ACME}",
        {"acme"},
    ),
    "another repository": (f"UPDATE usage SET repository = repository || 'x' {ACME}", {"acme"}),
    "another day": (f"UPDATE usage SET day = day - 1000 {ACME}", {"acme"}),
    "a day to come": (f"UPDATE usage SET day = day + 1000 {ACME}", {"acme"}),
    "another cycle": (
        f"UPDATE usage SET cycle_start = cycle_start - interval '1 month' {ACME}",
        {"acme"},
    ),
    "a row too many": (
        "INSERT INTO usage SELECT customer_id, cycle_start, '0001-01-01', repository,"
        f" 1, 2, 3, 4, 5 FROM usage {ACME} LIMIT 1",
        {"acme"},
    ),
    "rows of nobody": (
        "INSERT INTO usage SELECT 'nobody', cycle_start, day, repository, 1, 2, 3, 4, 5"
        f" FROM usage {ACME} LIMIT 1",
        {"nobody"},
    ),
    "a row that counts nothing": (
        "INSERT INTO usage (customer_id, cycle_start, day, repository)"
        f" SELECT customer_id, cycle_start, day, 'x' FROM usage {ACME} LIMIT 1",
        set(),
    ),
}


@pytest.mark.parametrize(("statement", "whose"), SABOTAGE.values(), ids=SABOTAGE)
def test_what_a_saboteur_did_is_undone_and_nothing_else(
    engine: Engine, owner: Engine, statement: str, whose: set[str]
) -> None:
    before = kept(engine)
    with owner.begin() as tx:
        tx.exec_driver_sql(statement)

    first, second = rebuild(engine), rebuild(engine)

    assert first.keys() == whose
    assert second == {}
    assert kept(engine) == before
    assert broken(engine) == []


def test_how_many_rows_were_wrong_is_told(engine: Engine, owner: Engine) -> None:
    with owner.begin() as tx:
        tx.exec_driver_sql(f"UPDATE usage SET repository = repository || 'x' {ACME}")

    done = rebuild_usage("acme", engine)

    # Two that were missing, and two that should not have been.
    assert (done.rows, done.changed) == (2, 4)


# Slices.


def busy_days(engine: Engine, customer_id: str = "initech", days: int = 5) -> None:
    """Three fixes a day, one of them taken back."""
    add_customer(engine, customer_id)
    for number in range(days):
        at = NOW - number * DAY
        fixes = [deployed(f"fix-{number}-{each}", customer_id, at=at) for each in range(3)]
        settle_events(engine, *fixes, reverted(f"fix-{number}-0", customer_id, at=at))


@pytest.mark.parametrize(
    ("fixes_max", "slices"), [(1, 5), (3, 5), (4, 5), (6, 3), (7, 3), (15, 1), (16, 1)]
)
def test_a_slice_has_whole_days_and_as_many_as_have_so_many_fixes(
    engine: Engine, owner: Engine, fixes_max: int, slices: int
) -> None:
    busy_days(engine)
    before = kept(engine)
    with owner.begin() as tx:
        tx.exec_driver_sql("DELETE FROM usage")

    done = list(rebuild_slices("initech", engine, fixes_max))

    assert len(done) == slices
    assert sum(each.changed for each in done) == 5
    assert kept(engine) == [row for row in before if row["customer_id"] == "initech"]


def test_who_stops_between_two_slices_leaves_the_rest_as_it_was(
    engine: Engine, owner: Engine
) -> None:
    busy_days(engine)
    right = kept(engine)
    with owner.begin() as tx:
        tx.exec_driver_sql("UPDATE usage SET charged = 7, reverted = 0")

    list(islice(rebuild_slices("initech", engine, 1), 2))
    halfway = rows_of(engine, tables.usage, customer_id="initech")
    rebuild(engine)

    assert [row["charged"] for row in halfway] == [2, 2, 7, 7, 7]
    assert kept(engine) == right


def test_where_nothing_is_wrong_a_rebuild_waits_for_nobody(engine: Engine) -> None:
    with engine.begin() as tx:
        open_books(tx, ["acme"])

        done = rebuild_usage("acme", engine)

    assert (done.rows, done.changed) == (2, 0)


def test_no_lock_is_held_between_two_slices(engine: Engine) -> None:
    busy_days(engine)

    under_way = rebuild_slices("initech", engine, 1)
    next(under_way)
    settle_events(engine, deployed("in-between", "initech", at=NOW - 4 * DAY))
    later = deployed("later", "initech", at=NOW, repository="initech/new")
    settle_events(engine, later)
    rest = list(under_way)

    assert sum(each.changed for each in rest) == 0
    assert broken(engine) == []


# Beside others, and killed.


@contextmanager
def settling(engine: Engine, customers: list[str]) -> Iterator[Callable[[], int]]:
    """A settler posts small batches for these customers on many days; how many so far."""
    stop, batches = threading.Event(), 0

    def work() -> None:
        nonlocal batches
        while not stop.is_set():
            events = [
                made(f"beside-{number}", customer_id, at=NOW - (number % 5) * DAY)
                for customer_id in customers
                for number in range(3 * batches, 3 * batches + 3)
                for made in ((deployed, reverted) if number % 3 else (deployed,))
            ]
            settle_entries(engine, [entry(each) for each in events])
            batches += 1

    settler = threading.Thread(target=work)
    settler.start()
    try:
        yield lambda: batches
    finally:
        stop.set()
        settler.join()


def test_beside_a_settler_nothing_is_lost_and_nothing_counted_twice(
    engine: Engine, owner: Engine
) -> None:
    for customer_id in ("initech", "stark"):
        busy_days(engine, customer_id)
    differed = 0
    with settling(engine, ["initech", "stark"]) as batches:
        while batches() < 20:
            with owner.begin() as tx:  # as a book is locked by whoever changes it
                open_books(tx, ["initech"])
                tx.exec_driver_sql("UPDATE usage SET held = 3 WHERE customer_id = 'initech'")
            differed += rebuild(engine, fixes_max=1).get("initech", 0)

    assert differed > 0
    assert rebuild(engine) == {}
    assert broken(engine) == []


def test_a_rebuild_that_is_killed_has_done_some_customers_and_left_the_others(
    engine: Engine, owner: Engine, database: Database, valkey: Valkey
) -> None:
    right = kept(engine)
    with owner.begin() as tx:
        tx.exec_driver_sql("UPDATE usage SET held = held + 1")
    wrong = rows_of(engine, tables.usage, customer_id="globex")

    with engine.begin() as tx:
        open_books(tx, ["globex"])
        with rebuilder(database, valkey) as process:
            assert eventually(lambda: waiting(owner))
            process.kill()
    first = rows_of(engine, tables.usage, customer_id="acme")
    second = rows_of(engine, tables.usage, customer_id="globex")
    rest = rebuild(engine)

    assert first == [row for row in right if row["customer_id"] == "acme"]
    assert second == wrong
    assert rest.keys() == {"globex", "hooli", "umbrella"}
    assert kept(engine) == right


@contextmanager
def rebuilder(database: Database, valkey: Valkey) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "DATABASE_URL": database.worker_url,
        "REDIS_URL": valkey.url,
        "STRIPE_API_KEY": "sk_test_unused",
    }
    command = [sys.executable, "-m", "worker.cli.main", "usage", "rebuild"]
    with subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_days_of_rows_are_those_of_utc(engine: Engine, owner: Engine) -> None:
    add_customer(engine, "initech")
    east = datetime.fromisoformat("2026-03-15T01:30:00+02:00")
    settle_events(engine, deployed("east", "initech", at=east))
    with owner.begin() as tx:
        tx.exec_driver_sql("DELETE FROM usage WHERE customer_id = 'initech'")

    rebuild_usage("initech", engine)

    (row,) = rows_of(engine, tables.usage, customer_id="initech")
    assert row["day"] == date(2026, 3, 14)
    assert row["cycle_start"] == datetime(2026, 3, 1, tzinfo=UTC)
