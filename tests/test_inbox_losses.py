"""What was deleted before it was read is noticed, and nothing else is taken for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from schemas.inbox import GROUP, partition_of, stream_of
from tests.builders import fixes_of, publish_all
from worker.inbox import RETENTION, Inbox

MINE = stream_of(partition_of("acme"))


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    """One that has read before: of a stream that nobody ever read, Redis does not count."""
    box = Inbox(redis)
    box.create_groups()
    publish(redis, 1)
    assert read(box) == 0
    return box


def publish(redis: Redis, how_many: int) -> None:
    publish_all(redis, fixes_of("acme", how_many))


def read(box: Inbox, count: int = 1000) -> int:
    """Read what is new, as a settler does; how many were lost beside it."""
    entries = box.fresh(count)
    assert entries
    return box.acknowledge(entries)


@pytest.mark.parametrize("kept", [1, 2, 5])
def test_an_append_that_trims_is_noticed_with_the_next_entry(
    inbox: Inbox, redis: Redis, kept: int
) -> None:
    publish(redis, 10)
    redis.xadd(MINE, {"e": "x"}, maxlen=kept, approximate=False)

    assert read(inbox) == 11 - kept


def test_an_append_that_deletes_even_itself_is_noticed_with_the_next_entry(
    inbox: Inbox, redis: Redis
) -> None:
    publish(redis, 2)
    redis.xadd(MINE, {"e": "x"}, maxlen=0, approximate=False)
    publish(redis, 1)

    assert read(inbox) == 3


def test_what_was_read_in_part_is_counted_once(inbox: Inbox, redis: Redis) -> None:
    publish(redis, 10)
    assert read(inbox, count=4) == 0
    redis.xadd(MINE, {"e": "x"}, maxlen=1, approximate=False)

    assert read(inbox) == 6
    publish(redis, 1)
    assert read(inbox) == 0


def test_an_ordinary_life_loses_nothing(inbox: Inbox, redis: Redis) -> None:
    found = []
    for _ in range(3):
        publish(redis, 10)
        found += [read(inbox, count=7), read(inbox)]
        inbox.trim(datetime.now(UTC) + RETENTION + timedelta(hours=1))
    publish(redis, 3)
    inbox.fresh(1000)
    found.append(inbox.acknowledge(inbox.pending(1000)))
    publish(redis, 3)

    assert [*found, read(inbox)] == [0] * 8
    assert read_by_another(redis) == 0


def read_by_another(redis: Redis) -> int:
    """A settler that has just begun."""
    publish(redis, 3)
    return read(Inbox(redis))


def test_a_group_or_a_stream_that_vanished_is_no_loss_of_this_kind(
    inbox: Inbox, redis: Redis
) -> None:
    redis.xgroup_destroy(MINE, GROUP)
    publish(redis, 3)
    first = read(inbox)
    redis.delete(MINE)
    publish(redis, 3)

    assert (first, read(inbox)) == (0, 0)


def test_of_a_reply_that_was_lost_nothing_is_said(inbox: Inbox, redis: Redis) -> None:
    publish(redis, 3)
    assert Inbox(redis).fresh(1000)  # delivered, and nobody heard of it
    inbox.read_counts = None  # as after a read that failed
    publish(redis, 3)

    assert read(inbox) == 0
