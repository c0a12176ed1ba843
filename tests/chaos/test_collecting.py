"""Collecting while everything goes wrong: in the end our books are Stripe's, to the cent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine
from structlog.processors import format_exc_info
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.builders import rows_of
from tests.chaos.deeds import JUMPS, deploy_fixes, do_something, start_collecting
from tests.chaos.ending import (
    at_stripe,
    broken,
    come_to_rest,
    compared,
    happened_twice,
    in_the_books,
    unfinished,
)
from tests.chaos.world import FAULTS_AT, World, world_of
from worker.storage import tables

SEEDS = range(10)
CHARGES_PER_CUSTOMER = 2
FAULTS_AT_ONCE = 6


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """What would have been written to the log."""
    with capture_logs([format_exc_info]) as entries:
        yield entries


@pytest.fixture
def world(
    seed: int,
    tmp_path: Path,
    engine: Engine,
    api_engine: Engine,
    redis: Redis,
    logged: list[EventDict],
) -> Iterator[World]:
    with world_of(seed, tmp_path, engine, api_engine, redis) as one:
        yield one


@pytest.mark.every(4)  # of ten seeds with 100 charges three; the rest take minutes
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("charges", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_whatever_happens_the_books_come_to_equal_stripe(
    seed: int,
    charges: int,
    world: World,
    logged: list[EventDict],
    request: pytest.FixtureRequest,
) -> None:
    try:
        live_through_chaos(world, seed, charges)
        result = come_to_rest(world)

        assert in_the_books(world) == at_stripe(world)
        assert (happened_twice(world), broken(world), unfinished(world)) == ([], [], [])
        assert (result.parked, compared(world)) == ([], ([], []))
    except BaseException as error:
        failed = [entry for entry in logged if entry["event"] == "due_row_failed"]
        error.add_note(f"what failed last: {failed[-1:]}")
        error.add_note(f"alone: pytest -n 0 -m '' '{request.node.nodeid}'")
        raise


def live_through_chaos(world: World, seed: int, charges: int) -> None:
    """Until there are so many charges; over all seeds, every fault is laid at every endpoint."""
    mine = FAULTS_AT[seed :: len(SEEDS)]
    faults = world.rng.sample(mine, k=len(mine))
    world.populate(charges // CHARGES_PER_CUSTOMER)
    while faults or len(rows_of(world.engine, tables.charges)) < charges:
        for fault, endpoint in faults[:FAULTS_AT_ONCE]:
            world.harm(fault, endpoint)
        del faults[:FAULTS_AT_ONCE]
        deploy_fixes(world)
        with world.collecting():
            for _ in range(charges // 20):
                do_something(world)
        start_collecting(world)
        world.jump(world.rng.choice(JUMPS))
