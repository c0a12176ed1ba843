from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from schemas.inbox import PARTITIONS, partition_of, stream_of
from tests.builders import deployed, publish_all
from worker import inbox as inbox_module
from worker.inbox import Inbox
from worker.usage.freshness import watermark

MINE = partition_of("acme")


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    created = Inbox(redis)
    created.create_groups()
    return created


def time_of_last(redis: Redis, partition: int = MINE) -> datetime:
    """When the newest entry was accepted."""
    newest: Any = redis.xrevrange(stream_of(partition), count=1)
    ((key, _),) = newest
    return datetime.fromtimestamp(int(key.split(b"-")[0]) / 1000, UTC)


def test_an_idle_inbox_is_settled_until_now(inbox: Inbox) -> None:
    before = datetime.now(UTC)

    found = watermark(inbox, "acme")

    assert found is not None
    # Entries are stamped in whole milliseconds, so "now" began up to one of them ago.
    assert (before - found).total_seconds() < 0.002
    assert found <= datetime.now(UTC)


def test_a_watermark_is_no_finer_than_the_stamps_of_entries(inbox: Inbox) -> None:
    found = [watermark(inbox, "acme") for _ in range(5)]

    fractions = {each.microsecond % 1000 for each in found if each}

    assert fractions == {0}


@pytest.mark.parametrize("delivered", [False, True], ids=["unread", "in hand"])
def test_an_entry_that_is_not_settled_holds_the_watermark(
    inbox: Inbox, redis: Redis, delivered: bool
) -> None:
    publish_all(redis, [deployed("a")])
    accepted_at = time_of_last(redis)
    if delivered:
        inbox.fresh(10)
    publish_all(redis, [deployed("b")])

    found = watermark(inbox, "acme")

    assert found == accepted_at


def test_the_watermark_moves_on_when_an_entry_is_settled(inbox: Inbox, redis: Redis) -> None:
    publish_all(redis, [deployed("a")])
    accepted_at = time_of_last(redis)

    inbox.acknowledge(inbox.fresh(10))
    found = watermark(inbox, "acme")

    assert found is not None
    assert found >= accepted_at


def test_other_partitions_do_not_hold_the_watermark(inbox: Inbox, redis: Redis) -> None:
    other = next(
        name
        for name in (f"customer-{number}" for number in range(PARTITIONS * 10))
        if partition_of(name) != MINE
    )
    publish_all(redis, [deployed("a", other)])
    held_at = time_of_last(redis, partition_of(other))

    found = watermark(inbox, other)
    mine = watermark(inbox, "acme")

    assert found == held_at
    assert mine is not None
    assert mine >= held_at


def test_before_there_is_a_group_everything_is_unsettled(redis: Redis) -> None:
    publish_all(redis, [deployed("a")])
    accepted_at = time_of_last(redis)

    found = watermark(Inbox(redis), "acme")

    assert found == accepted_at


def test_an_inbox_that_is_away_says_nothing() -> None:
    with inbox_module.connect("redis://127.0.0.1:9") as nobody:
        found = watermark(Inbox(nobody), "acme")

    assert found is None
