"""Answers beside a settler: each is of one moment, and says truly of which."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from redis import Redis

from schemas.events import DEPLOYED
from schemas.inbox import partition_of, stream_of
from tests.api.client import Api
from tests.builders import NOW, add_customer, deployed, publish_all, reverted, rows_of
from worker.storage import tables

READS = 100
NONSENSE: Any = {"e": b"nonsense", "d": b"redis"}
REPORT = "/api/v1/customers/acme/usage/report?group_by=repository"


def publish_some(redis: Redis, number: int) -> None:
    """Another fix, and every third time the one before is taken back."""
    repository = f"acme/{number % 7}"
    events = [deployed(f"fix-{number}", repository=repository)]
    if number % 3 == 0:
        events.append(reverted(f"fix-{number - 1}", at=NOW))
    publish_all(redis, events)


def accepted_last(redis: Redis) -> datetime:
    newest: Any = redis.xrevrange(stream_of(partition_of("acme")), count=1)
    ((key, _),) = newest
    return datetime.fromtimestamp(int(key.split(b"-")[0]) / 1000, UTC)


def test_beside_a_settler_every_answer_is_of_one_moment_and_not_before_the_one_it_names(
    api: Api,
) -> None:
    add_customer(api.engine)
    usages, reports = [], []
    with api.settling():
        for number in range(READS):
            publish_some(api.redis, number)
            usages.append(api.usage().json())
            if number % 5 == 0:
                reports.append(api.ask("GET", REPORT, api.signed()).json())

    for each in usages:
        assert_money_is_usage(each)
    for each in reports:
        assert each["total"]["charged"]["amount"] == charged_by(each["data"])
    known = accepted_first(api)
    for each in usages + reports:
        counts = each["fixes"] if "fixes" in each else each["total"]["fixes"]
        as_of = datetime.fromisoformat(each["as_of"])
        assert sum(counts.values()) >= sum(accepted_at < as_of for accepted_at in known)
    for name in ("as_of", "fixes", "money"):
        assert len({json.dumps(each[name]) for each in usages}) > READS / 10


def assert_money_is_usage(answer: dict[str, Any]) -> None:
    """Nothing is collected here, so what is charged is owed."""
    charged = charged_by(answer["repositories"])
    assert charged == 2900 * answer["fixes"]["charged"]
    assert charged == answer["money"]["charged"]["amount"] == answer["money"]["open"]["amount"]
    assert charged == answer["limits"]["spent"]["amount"]


def charged_by(groups: list[dict[str, Any]]) -> int:
    return sum(each["charged"]["amount"] for each in groups)


def accepted_first(api: Api) -> list[datetime]:
    """When the event was accepted that made each fix known."""
    rows = rows_of(api.engine, tables.events, type=DEPLOYED)
    assert len(rows) == READS
    return [row["accepted_at"] for row in rows]


def test_after_an_entry_that_cannot_be_read_time_moves_on(api: Api) -> None:
    add_customer(api.engine)
    publish_some(api.redis, 1)
    api.redis.xadd(stream_of(partition_of("acme")), NONSENSE)
    bad = accepted_last(api.redis)
    waiting = as_of(api)
    api.settled()

    first, second = as_of(api), as_of(api)

    assert waiting <= bad < first < second
    assert [row["reason"] for row in rows_of(api.engine, tables.quarantine)] != []


def test_without_the_inbox_an_answer_is_of_the_last_settled_entry_not_of_a_quarantined_one(
    api: Api, redis_away: Redis
) -> None:
    add_customer(api.engine)
    publish_some(api.redis, 1)
    good = accepted_last(api.redis)
    api.redis.xadd(stream_of(partition_of("acme")), NONSENSE)
    api.settled()

    assert as_of(api.behind(redis=redis_away)) == good


def as_of(api: Api) -> datetime:
    usage = datetime.fromisoformat(api.usage().json()["as_of"])
    report = datetime.fromisoformat(api.ask("GET", REPORT, api.signed()).json()["as_of"])
    assert usage <= report
    return usage
