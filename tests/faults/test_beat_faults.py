"""Faults of beat and of the sweep that ends cycles: each ends once, where it should.

Each test begins with the number of its row in the fault matrix.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.inbox import partition_of, stream_of
from tests.builders import (
    HOUR,
    MARCH,
    MINUTE,
    add_customer,
    deployed,
    give_credits,
    one_row,
    rows_of,
)
from tests.running import RunningStack, eventually, running_stack
from tests.stack import Database
from tests.stories.customers import deployed_now, new_customer
from tests.sweeping import (
    CLOSED,
    UNTOUCHED,
    broken,
    changed_by,
    clock_at,
    cycles_of,
    locked,
    settle_at,
    sweep_at,
    sweeper,
    waiting,
)
from worker import inbox
from worker.due import Tools, sweep
from worker.local.valkey import Valkey
from worker.storage import tables
from worker.storage.clock import move_clock_of
from worker.stripe_gateway import StripeGateway

MIDNIGHT = MARCH.end


def add_crowd(engine: Engine, how_many: int) -> list[str]:
    """So many customers whose cycle and whose two credits end at the same midnight."""
    names = [f"c-{number:04}" for number in range(1, how_many + 1)]
    for each in names:
        add_customer(engine, each)
        give_credits(engine, each, 2, expires_at=MIDNIGHT)
    return names


def ended_once(engine: Engine, names: list[str]) -> bool:
    """Every cycle is closed, every credit has expired once, and the books are whole."""
    found = rows_of(engine, tables.transfers, kind="expire")
    assert sorted(row["customer_id"] for row in found) == names
    assert {row["amount"] for row in found} == {2}
    assert all(cycles_of(engine, each) == CLOSED for each in names)
    return broken(engine) == []


def test_f73_two_processes_at_once_end_each_cycle_once(
    engine: Engine, database: Database, valkey: Valkey, redis: Redis
) -> None:
    names = add_crowd(engine, 250)

    sweepers = [sweeper(database, valkey, MIDNIGHT + HOUR) for _ in range(2)]
    changed = [changed_by(each) for each in sweepers]

    assert sum(changed) == len(names)
    assert ended_once(engine, names)


def test_f73_two_beats_end_each_cycle_once(stack: RunningStack, tmp_path: Path) -> None:
    customer = new_customer(stack, "trial")
    command = [sys.executable, "-m", "celery", "-q", "-A", "worker.celery_app", "beat"]
    second = subprocess.Popen(
        [*command, "--schedule", str(tmp_path / "schedule")], env={**os.environ, **stack.env}
    )
    try:
        for months in (1, 2, 3):
            pass_month(stack, customer)
            assert months_closed(stack, customer, months)
    finally:
        second.kill()
        second.wait()
    assert stack.broken() == []


def pass_month(stack: RunningStack, customer_id: str) -> None:
    """By this customer's clock it is two hours after the end of their cycle."""
    book = one_row(stack.engine, tables.books, customer_id=customer_id)
    by = book["cycle_end"] + 2 * HOUR - (datetime.now(UTC) + book["clock_offset"])
    with stack.engine.begin() as tx:
        move_clock_of(tx, customer_id, by)


def months_closed(stack: RunningStack, customer_id: str, months: int) -> bool:
    """Whether so many calendar months, one after the other, are closed in time; and no more."""
    wanted = [(number, "closed") for number in range(1, months + 1)] + [(months + 1, "open")]
    assert eventually(lambda: cycles_of(stack.engine, customer_id) == wanted, 60), cycles_of(
        stack.engine, customer_id
    )
    starts = [
        row["starts_at"] for row in rows_of(stack.engine, tables.cycles, customer_id=customer_id)
    ]
    return all((each.day, each.hour, each.minute) == (1, 0, 0) for each in starts)


def test_f74_a_beat_that_is_killed_right_after_a_tick_has_no_second_effect(
    stack: RunningStack,
) -> None:
    """Its schedule on disk is minutes old then, so the next one rings at once for everything."""
    customer = new_customer(stack, "trial")

    for months in (1, 2, 3):
        pass_month(stack, customer)
        assert months_closed(stack, customer, months)
        beat = stack.pids()["beat"]
        stack.kill("beat")
        assert eventually(partial(is_replaced, stack, beat))

    stack.post(deployed_now(customer, 1), wait=10)
    assert months_closed(stack, customer, 3)
    assert stack.broken() == []


def is_replaced(stack: RunningStack, beat: int) -> bool:
    return stack.pids()["beat"] != beat


def test_f75_a_beat_that_was_down_over_midnight_and_lost_its_schedule_ends_the_month_at_midnight(
    tmp_path: Path,
) -> None:
    with running_stack(tmp_path) as stack:
        customer = new_customer(stack, "trial")
        beat = stack.pids()["beat"]
        os.kill(beat, signal.SIGSTOP)
        pass_month(stack, customer)

        for file in (tmp_path / "beat").iterdir():
            file.unlink()
        os.kill(beat, signal.SIGKILL)

        assert months_closed(stack, customer, 1)
        assert stack.broken() == []


def test_f75_redis_that_refuses_at_the_tick_delays_the_end_and_does_not_move_it(
    engine: Engine, redis: Redis, stripe: StripeGateway
) -> None:
    add_customer(engine)
    clock = clock_at(MIDNIGHT + 3 * HOUR)
    away = inbox.connect("redis://127.0.0.1:1")

    refused = sweep("cycle", Tools(engine, away, stripe, clock))
    before = cycles_of(engine)
    done = sweep("cycle", Tools(engine, redis, stripe, clock))

    assert (refused, before, done) == (0, UNTOUCHED, 1)
    assert cycles_of(engine) == CLOSED
    assert one_row(engine, tables.cycles, number=2)["starts_at"] == MIDNIGHT
    assert broken(engine) == []


@pytest.mark.parametrize("place", [0, 50, 99, 100, 249])
def test_f76_a_sweep_killed_at_one_customer_is_finished_by_the_next(
    engine: Engine, owner: Engine, database: Database, valkey: Valkey, redis: Redis, place: int
) -> None:
    """Killed in the middle of that customer's page; the pages before it are committed."""
    names = add_crowd(engine, 250)
    by_turn = sorted(rows_of(engine, tables.books), key=lambda row: row["due_at"])
    with locked(engine, by_turn[place]["customer_id"]):
        dying = sweeper(database, valkey, MIDNIGHT + HOUR)
        assert eventually(lambda: waiting(owner) == 1)
        dying.kill()
        dying.communicate()
    assert eventually(lambda: waiting(owner) == 0)
    done = len(rows_of(engine, tables.transfers, kind="expire"))

    rest = sweep_at(MIDNIGHT + HOUR, engine, redis)

    assert done == place // 100 * 100
    assert rest == len(names) - done
    assert ended_once(engine, names)


# The moment at which an event was deployed and accepted, and the cycle it counts in.
ON_THE_EDGE = {
    "the last moment": (timedelta(milliseconds=-1), 1),
    "midnight": (timedelta(0), 2),
    "the first moment": (timedelta(milliseconds=1), 2),
}


@pytest.mark.parametrize(("off", "cycle"), ON_THE_EDGE.values(), ids=ON_THE_EDGE)
@pytest.mark.parametrize("first", ["sweep", "event"])
def test_f77_an_event_on_the_boundary_beside_the_sweep_counts_in_one_cycle(
    engine: Engine, owner: Engine, redis: Redis, first: str, off: timedelta, cycle: int
) -> None:
    """Both have begun before either may open the book; they open it in this order."""
    add_customer(engine)
    late = MIDNIGHT + 2 * MINUTE
    sweeping = thread(lambda: sweep_at(late, engine, redis))
    settling = thread(lambda: settle_at(late, engine, redis))
    edge = MIDNIGHT + off
    key = f"{int(edge.timestamp() * 1000)}-1"
    redis.xadd(stream_of(partition_of("acme")), {b"e": deployed(at=edge).to_bytes()}, id=key)
    both = [sweeping, settling] if first == "sweep" else [settling, sweeping]

    with locked(engine, "acme"):
        for number, each in enumerate(both, start=1):
            each.start()
            assert eventually(partial(are_waiting, owner, number))
    for each in both:
        each.join(30)
    sweep_at(MIDNIGHT + HOUR, engine, redis)

    (fix,) = rows_of(engine, tables.fixes)
    (charged,) = rows_of(engine, tables.transfers)
    assert charged["cycle"] == cycle
    assert (fix["cycle_start"], fix["late"]) == (MARCH.start if cycle == 1 else MIDNIGHT, False)
    assert cycles_of(engine) == CLOSED
    assert broken(engine) == []


def are_waiting(owner: Engine, how_many: int) -> bool:
    return waiting(owner) == how_many


def thread(work: Callable[[], object]) -> threading.Thread:
    return threading.Thread(target=work)
