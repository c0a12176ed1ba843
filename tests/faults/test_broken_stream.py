"""One stream of the inbox is no stream any more: the other fifteen are read as ever.

`SET inbox:{3} x`, by whoever may write to the store.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine
from structlog.testing import capture_logs

from schemas.events import parse_event
from schemas.inbox import partition_of, stream_of
from tests.builders import MARCH, add_customer, deployed, outcomes, publish_all
from tests.sweeping import UNTOUCHED, cycles_of, sweep_at
from worker.clock import Clock
from worker.inbox import RETENTION, Inbox
from worker.settler import Settler, partitions_of

ALL = partitions_of(0, 1)
BROKEN = partition_of("acme")
OTHER = next(name for name in (f"other-{n}" for n in count()) if partition_of(name) > BROKEN)


def break_stream(redis: Redis, partition: int = BROKEN) -> None:
    redis.delete(stream_of(partition))
    redis.set(stream_of(partition), "x")


@pytest.fixture
def settler(engine: Engine, redis: Redis, clock: Clock) -> Settler:
    add_customer(engine, OTHER)
    publish_all(redis, [deployed(customer_id=OTHER)])
    return Settler(engine, redis, clock, trust_redis=True)


@pytest.mark.parametrize("survivors_settled", [True, False], ids=["running", "just started"])
@pytest.mark.parametrize("before", ["no group", "new", "pending"])
def test_the_others_are_settled_and_the_log_names_it(
    settler: Settler, redis: Redis, engine: Engine, before: str, survivors_settled: bool
) -> None:
    settler.survivors_settled = survivors_settled
    if before != "no group":
        Inbox(redis).create_groups()
    if before == "pending":
        assert len(Inbox(redis).fresh(10)) == 1
    break_stream(redis)

    with capture_logs() as logged:
        settler.turn(ALL, lambda: bool(outcomes(engine, OTHER)))

    assert outcomes(engine, OTHER) == {"fix-1": "charged"}
    assert [each for each in logged if each["log_level"] in {"error", "warning"}] == [
        {"event": "streams_left_out", "log_level": "error", "streams": [stream_of(BROKEN)]}
    ]


def test_a_turn_after_it_is_mended_reads_it_again(
    settler: Settler, redis: Redis, engine: Engine
) -> None:
    add_customer(engine)
    break_stream(redis)
    settler.turn(ALL, lambda: bool(outcomes(engine, OTHER)))
    redis.delete(stream_of(BROKEN))
    publish_all(redis, [deployed()])

    settler.turn(ALL, lambda: bool(outcomes(engine)))

    assert outcomes(engine) == {"fix-1": "charged"}


class Meddled(Redis):
    """Somebody breaks the stream as soon as it was read from."""

    def xreadgroup(self, *arguments: Any, **more: Any) -> Any:
        found = super().xreadgroup(*arguments, **more)
        break_stream(self)
        return found


def test_what_was_read_just_before_is_in_hand(redis: Redis) -> None:
    publish_all(redis, [deployed(f"fix-{number}") for number in range(3)])
    inbox = Inbox(Meddled(connection_pool=redis.connection_pool))
    inbox.create_groups()

    entries = inbox.fresh(2 * len(ALL))  # two of a stream, and then what others left

    assert [parse_event(each.body).fix_id for each in entries] == ["fix-0", "fix-1"]


def test_depth_is_that_of_the_others_and_they_are_trimmed(
    settler: Settler, redis: Redis, engine: Engine, clock: Clock
) -> None:
    stream = stream_of(partition_of(OTHER))
    redis.delete(stream)
    for number in range(300):  # trimming is by whole nodes of the stream
        redis.xadd(stream, {"e": b"{}"}, id=f"1-{number + 1}")
    settler.turn(ALL, lambda: Inbox(redis).depth().entries == 0)
    publish_all(redis, [deployed(customer_id=OTHER)])
    break_stream(redis)

    depth = Inbox(redis).depth()
    Inbox(redis).trim(clock.wall() + RETENTION)

    assert depth.entries == 1
    assert int(redis.xlen(stream)) < 201


def test_months_end_for_the_others_and_wait_for_those_whose_events_cannot_be_read(
    settler: Settler, redis: Redis, engine: Engine
) -> None:
    settler.turn(ALL, lambda: bool(outcomes(engine, OTHER)))
    add_customer(engine)
    break_stream(redis)

    sweep_at(MARCH.end, engine, redis)
    during = cycles_of(engine), cycles_of(engine, OTHER)
    redis.delete(stream_of(BROKEN))
    sweep_at(MARCH.end, engine, redis)

    assert during[0] == UNTOUCHED
    assert during[1] != UNTOUCHED
    assert cycles_of(engine) == during[1]


def test_the_settler_of_that_partition_alone_stays_and_says_so(
    settler: Settler, redis: Redis
) -> None:
    break_stream(redis)
    settler.survivors_settled = True

    with capture_logs() as logged:
        settler.turn([BROKEN], lambda: bool(logged))

    assert {each["event"] for each in logged} == {"inbox_unreadable"}
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        Inbox(redis, [BROKEN]).fresh(1)
