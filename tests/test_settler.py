"""A settler on real servers: what it holds, what it reads first, and what stops it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count

import pytest
from psycopg.errors import LockNotAvailable
from redis import Redis
from sqlalchemy import Engine, event, text

from producers.publish import append
from schemas.inbox import EVENT, GROUP, PARTITIONS, partition_of, stream_of
from tests.builders import (
    add_customer,
    deployed,
    fixes_of,
    one_row,
    outcomes,
    publish_all,
    reasons,
    rows_of,
)
from tests.dying_settler import EXIT_CODE
from tests.stack import Database, connected
from worker import inbox as inbox_module
from worker.clock import Clock
from worker.inbox import Inbox
from worker.local.valkey import Valkey
from worker.settler import DEATHS_MAX, Settler, held_partitions, partitions_of
from worker.storage import tables
from worker.storage.books import open_books
from worker.storage.engine import WORKER

ALL = partitions_of(0, 1)
MINE = partition_of("acme")


@pytest.fixture
def settler(engine: Engine, redis: Redis, clock: Clock) -> Settler:
    return Settler(engine, redis, clock, trust_redis=True)


@pytest.fixture
def emptied(redis: Redis) -> Callable[[], bool]:
    """Whether everything that was accepted is settled: when a turn may end."""
    Inbox(redis).create_groups()
    return lambda: Inbox(redis).depth().entries == 0


def unsettled(redis: Redis) -> int:
    return Inbox(redis).depth().entries


def deliver(redis: Redis, partitions: Sequence[int] = ALL) -> int:
    """Hand out what is new to a settler that never acknowledges it."""
    return len(Inbox(redis, partitions).fresh(1000))


def test_everything_accepted_is_settled_and_acknowledged(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    for customer_id in ("acme", "globex", "initech"):
        add_customer(engine, customer_id, credits=5)
        publish_all(redis, fixes_of(customer_id, 20))

    held = settler.turn(ALL, emptied)

    assert held
    assert unsettled(redis) == 0
    for customer_id in ("acme", "globex", "initech"):
        assert list(outcomes(engine, customer_id).values()) == ["credited"] * 5 + ["charged"] * 15


def test_entries_stay_readable_after_they_are_settled(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    publish_all(redis, fixes_of("acme", 3))

    settler.turn(ALL, emptied)

    assert redis.xlen(stream_of(MINE)) == 3


@pytest.mark.parametrize("first_turn", [True, False], ids=["fresh process", "running process"])
def test_what_was_delivered_before_is_settled_before_what_is_new(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    emptied: Callable[[], bool],
    first_turn: bool,
) -> None:
    add_customer(engine, credits=2)
    publish_all(redis, [deployed("first"), deployed("second")])
    assert deliver(redis) == 2
    publish_all(redis, [deployed("third")])
    settler.survivors_settled = not first_turn

    settler.turn(ALL, emptied)

    assert outcomes(engine) == {"first": "credited", "second": "credited", "third": "charged"}
    assert rows_of(engine, tables.entry_tries) == []


def test_one_entry_that_cannot_be_settled_does_not_hold_up_the_thousand_around_it(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    owner: Engine,
    emptied: Callable[[], bool],
) -> None:
    add_customer(engine, credits=1000)
    with owner.begin() as tx:
        tx.execute(text("ALTER TABLE fixes ADD CHECK (fix_id <> 'fix-00500')"))
    publish_all(redis, fixes_of("acme", 1000))

    while unsettled(redis):
        settler.turn([MINE], emptied)

    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], aside["detail"]) == (
        "unsettleable",
        "CheckViolation while settling; the log has the rest",
    )
    assert b"fix-00500" in aside["body"]
    settled = outcomes(engine)
    assert len(settled) == 999
    assert set(settled.values()) == {"credited"}
    assert unsettled(redis) == 0


HOSTILE = {
    "no event at all": {b"x": b"y"},
    "empty": {EVENT: b""},
    "no JSON": {EVENT: b"\x00\xff"},
    "no event": {EVENT: b"[]"},
    "a door that is no word": {EVENT: b"{}", b"d": b"\xff\x00"},
    "a trace that is none": {EVENT: b"{}", b"t": b"\xff" * 55},
    "of the beginning of time": {
        EVENT: deployed().to_bytes().replace(b"2026-03-15T11:59:00Z", b"0001-01-01T00:00:00+14:00")
    },
    "of the end of time": {
        EVENT: deployed().to_bytes().replace(b"2026-03-15T11:59:00Z", b"9999-12-31T23:59:59-14:00")
    },
    "deep": {EVENT: b'{"a":' * 900 + b"1" + b"}" * 900},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_entry_goes_to_quarantine_and_the_others_through(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    emptied: Callable[[], bool],
    fields: dict[bytes, bytes],
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed("before")])
    redis.xadd(stream_of(MINE), fields)  # type: ignore[arg-type]
    publish_all(redis, [deployed("after")])

    settler.turn(ALL, emptied)

    assert reasons(engine) == ["unreadable"]
    assert outcomes(engine) == {"before": "charged", "after": "charged"}
    assert unsettled(redis) == 0


def test_an_entry_on_the_wrong_partition_is_settled_all_the_same(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    elsewhere = stream_of((MINE + 1) % PARTITIONS)
    redis.xadd(elsewhere, {EVENT: deployed().to_bytes()})

    settler.turn(ALL, emptied)

    assert outcomes(engine) == {"fix-1": "charged"}


def die(database: Database, valkey: Valkey) -> int:
    command = [sys.executable, "-m", "tests.dying_settler", database.owner_url, valkey.url]
    return subprocess.run(command, timeout=60).returncode


def test_an_entry_that_kills_its_process_is_set_aside_after_the_third_death_alone(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    emptied: Callable[[], bool],
    database: Database,
    valkey: Valkey,
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed("deadly"), deployed("harmless")])
    deliver(redis)

    deaths = [die(database, valkey) for _ in range(DEATHS_MAX)]
    counted = [row["tries"] for row in rows_of(engine, tables.entry_tries)]
    settler.turn(ALL, emptied)

    assert deaths == [EXIT_CODE] * DEATHS_MAX
    assert counted == [DEATHS_MAX]
    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], b"deadly" in aside["body"]) == ("kills_the_worker", True)
    assert outcomes(engine) == {"harmless": "charged"}
    assert rows_of(engine, tables.entry_tries) == []


def test_an_entry_that_survives_its_processes_death_is_settled_and_its_tries_forgotten(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    emptied: Callable[[], bool],
    database: Database,
    valkey: Valkey,
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed()])
    deliver(redis)
    die(database, valkey)
    assert one_row(engine, tables.entry_tries)["tries"] == 1

    settler.turn(ALL, emptied)

    assert outcomes(engine) == {"fix-1": "charged"}
    assert rows_of(engine, tables.entry_tries) == []


@pytest.fixture
def hasty_engine(database: Database) -> Iterator[Engine]:
    """Waits for a lock no longer than a moment."""
    with connected(database.worker_url, WORKER) as engine:

        @event.listens_for(engine, "connect")
        def wait_shortly(connection: object, record: object) -> None:
            connection.execute("SET lock_timeout = '20ms'")  # type: ignore[attr-defined]
            connection.commit()  # type: ignore[attr-defined]

        yield engine


def test_a_database_that_fails_is_no_death_and_sets_nothing_aside(
    hasty_engine: Engine,
    engine: Engine,
    redis: Redis,
    clock: Clock,
    emptied: Callable[[], bool],
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed()])
    deliver(redis)
    settler = Settler(hasty_engine, redis, clock, trust_redis=True)

    with engine.begin() as holder:
        open_books(holder, ["acme"])
        for _ in range(DEATHS_MAX + 1):
            with hasty_engine.connect() as connection, suppress(LockNotAvailable):
                settler.settle_survivors(Inbox(redis), connection)
    settler.turn(ALL, emptied)

    assert reasons(engine) == []
    assert outcomes(engine) == {"fix-1": "charged"}


def test_a_connection_that_dies_in_the_middle_loses_nothing(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    owner: Engine,
    emptied: Callable[[], bool],
) -> None:
    add_customer(engine, credits=3)
    publish_all(redis, fixes_of("acme", 5))
    calls = count()

    def cut_then_go_on() -> bool:
        if next(calls) == 0:
            with owner.begin() as tx:
                tx.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_locks"
                        " WHERE locktype = 'advisory' AND database ="
                        " (SELECT oid FROM pg_database WHERE datname = current_database())"
                    )
                )
        return False

    interrupted = settler.turn(ALL, cut_then_go_on)
    left = unsettled(redis)
    settler.turn(ALL, emptied)

    assert (interrupted, left) == (True, 5)
    assert list(outcomes(engine).values()) == ["credited"] * 3 + ["charged"] * 2
    assert reasons(engine) == []


def test_an_inbox_that_is_away_is_waited_for(engine: Engine, clock: Clock) -> None:
    calls = count()
    with inbox_module.connect("redis://127.0.0.1:9") as nobody:
        settler = Settler(engine, nobody, clock, survivors_settled=True)

        held = settler.turn(ALL, stopping=lambda: next(calls) >= 2)

    assert held
    assert next(calls) == 3


def test_a_pending_entry_that_was_trimmed_is_acknowledged_and_the_rest_settled(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed("trimmed")])
    deliver(redis)
    redis.xtrim(stream_of(MINE), maxlen=0, approximate=False)
    publish_all(redis, [deployed("kept")])

    settler.turn(ALL, emptied)

    assert unsettled(redis) == 0
    assert outcomes(engine) == {"kept": "charged"}


@pytest.mark.parametrize("survivors_settled", [True, False])
def test_a_vanished_stream_is_made_again_and_misses_nothing(
    settler: Settler,
    redis: Redis,
    engine: Engine,
    emptied: Callable[[], bool],
    survivors_settled: bool,
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed("before")])
    settler.turn(ALL, emptied)
    redis.delete(*(stream_of(number) for number in ALL))
    publish_all(redis, [deployed("after")])
    settler.survivors_settled = survivors_settled

    settler.turn(ALL, lambda: "after" in outcomes(engine))

    assert outcomes(engine) == {"before": "charged", "after": "charged"}


def test_a_vanished_group_is_made_again_from_the_beginning_and_bills_nothing_twice(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed("before")])
    settler.turn(ALL, emptied)
    publish_all(redis, [deployed("meanwhile")])
    redis.xgroup_destroy(stream_of(MINE), GROUP)

    settler.turn(ALL, lambda: "meanwhile" in outcomes(engine))

    assert one_row(engine, tables.charges)["amount"] == 2 * 2900


def test_streams_that_never_were_are_made(settler: Settler, redis: Redis, engine: Engine) -> None:
    add_customer(engine)
    publish_all(redis, [deployed()])

    settler.turn(ALL, lambda: bool(outcomes(engine)))

    assert outcomes(engine) == {"fix-1": "charged"}
    assert all(redis.xinfo_groups(stream_of(number)) for number in ALL)


def test_who_finds_all_partitions_taken_does_nothing(
    settler: Settler, engine: Engine, redis: Redis, clock: Clock
) -> None:
    publish_all(redis, [deployed()])

    with held_partitions(engine, ALL, "30s") as (_, held):
        second = settler.turn(ALL, stopping=lambda: False)

    assert held == list(ALL)
    assert second is False
    assert unsettled(redis) == 1


def test_two_settlers_share_the_partitions(engine: Engine) -> None:
    with (
        held_partitions(engine, partitions_of(0, 2), "30s") as (_, even),
        held_partitions(engine, ALL, "30s") as (_, the_rest),
        held_partitions(engine, ALL, "30s") as (_, nothing),
    ):
        pass

    assert (len(even), len(the_rest), nothing) == (8, 8, [])
    assert sorted(even + the_rest) == list(ALL)


def test_partitions_are_free_again_after_a_turn(
    settler: Settler, engine: Engine, emptied: Callable[[], bool]
) -> None:
    settler.turn(ALL, emptied)

    with held_partitions(engine, ALL, "30s") as (_, held):
        pass

    assert held == list(ALL)


def test_what_was_planned_while_tables_were_empty_is_planned_anew_in_the_next_turn(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    few, many = fixes_of("acme", 3005)[:5], fixes_of("acme", 3005)[5:]
    for each in few:
        publish_all(redis, [each])
        settler.turn(ALL, emptied)
    publish_all(redis, many)
    settler.turn(ALL, emptied)

    publish_all(redis, [deployed("one-more")])
    settler.turn(ALL, emptied)

    assert "Seq Scan on events" not in plan_of_looking_up_events(engine)


def plan_of_looking_up_events(engine: Engine) -> str:
    """As the session has it that settled last: it is the pool's only one."""
    with engine.begin() as tx:
        tx.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        prepared = tx.scalar(
            text(
                "SELECT name FROM pg_prepared_statements"
                " WHERE statement LIKE 'SELECT \"events\".%' ORDER BY generic_plans DESC"
            )
        )
        explain = f"EXPLAIN EXECUTE \"{prepared}\" ('{{}}', '{{}}', '{{}}')"
        return "\n".join(tx.scalars(text(explain)))


def test_a_settler_that_is_told_to_stop_begins_nothing_new(
    settler: Settler, redis: Redis, engine: Engine
) -> None:
    add_customer(engine)
    publish_all(redis, [deployed()])
    settler.survivors_settled = True

    held = settler.turn(ALL, stopping=lambda: True)

    assert held
    assert outcomes(engine) == {}
    assert unsettled(redis) == 1


@pytest.mark.parametrize("settlers", [1, 2, 3, 5, 16])
def test_settlers_share_all_partitions_without_overlap(settlers: int) -> None:
    shares = [partitions_of(settler, settlers) for settler in range(settlers)]

    together = sorted(number for share in shares for number in share)

    assert together == list(range(PARTITIONS))


def test_one_customers_events_are_settled_in_the_order_they_were_accepted(
    settler: Settler, redis: Redis, engine: Engine, emptied: Callable[[], bool]
) -> None:
    add_customer(engine)
    names = [f"fix-{number * 37 % 100:02}" for number in range(100)]
    for name in names:
        append(redis, "acme", deployed(name).to_bytes(), None, "redis")

    settler.turn(ALL, emptied)

    assert [row["fix_id"] for row in rows_of(engine, tables.transfers)] == names
