"""Who asks too often is told when to go on; nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import event

from schemas.problems import RATE_LIMITED, TOO_MANY_GUESSES
from tests.api.client import Api, problem_in
from tests.builders import add_customer, deployed
from worker.api.limits import (
    BATCH_MAX,
    GUESSES,
    Limits,
    Rate,
    address_of,
    limits_of,
)
from worker.inbox import Inbox
from worker.keys import PATTERN
from worker.storage.api_keys import revoke_key


@dataclass
class Stopwatch:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Stopwatch:
    return Stopwatch()


# The rule.


def test_so_many_may_be_taken_at_once_and_then_one_by_one(watch: Stopwatch) -> None:
    rate = Rate(2, burst=3, now=watch)

    at_once = [rate.take("a") for _ in range(4)]
    watch.seconds += 0.5
    later = [rate.take("a") for _ in range(2)]

    assert at_once == [0, 0, 0, 0.5]
    assert later == [0, 0.5]


def test_after_a_rest_the_burst_is_there_again_and_no_more(watch: Stopwatch) -> None:
    rate = Rate(2, burst=3, now=watch)
    for _ in range(3):
        rate.take("a")

    watch.seconds += 1000

    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_one_takes_nothing_from_another(watch: Stopwatch) -> None:
    rate = Rate(1, burst=1, now=watch)

    assert [rate.take("a"), rate.take("b"), rate.take("a")] == [0, 0, 1]


def test_what_is_refused_takes_nothing(watch: Stopwatch) -> None:
    rate = Rate(1, burst=5, now=watch)

    assert rate.take("a", 6) > 0
    assert rate.take("a", 5) == 0


@pytest.mark.parametrize(("taken", "wait"), [(0, 0), (2, 0), (3, 0.5)])
def test_whoever_only_looks_takes_nothing(watch: Stopwatch, taken: int, wait: float) -> None:
    rate = Rate(2, burst=3, now=watch)
    for _ in range(taken):
        rate.take("a")

    assert [rate.wait("a"), rate.wait("a")] == [wait, wait]


def test_a_million_names_take_no_more_room_than_ten_thousand() -> None:
    rate = Rate(1, burst=1)

    for number in range(1_000_000):
        rate.take(str(number))

    assert len(rate.full_at) == rate.room == 10_000
    assert rate.take("999999") > 0


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_whoever_has_one_ipv6_address_has_all_next_to_it(host: str | None, name: str) -> None:
    assert address_of(host) == name


def test_the_largest_batch_fits_whatever_the_rate() -> None:
    limits = limits_of(reads=0.1, events=0.1)

    assert limits.publishing.take("a", BATCH_MAX) == 0
    assert limits.reading.take("a") == 0
    assert limits.publishing.take("a") > 0


# Over HTTP.


@pytest.fixture
def limited(api: Api, watch: Stopwatch) -> Callable[[float, float], Api]:
    """The API with these bursts; its time stands still."""

    def build(reads: float, events: float) -> Api:
        guessing = Rate(GUESSES / 60, GUESSES, watch)
        limits = Limits(Rate(1, reads, watch), Rate(1, events, watch), guessing)
        return api.behind(limits=limits)

    return build


def test_a_key_that_reads_too_often_waits(
    limited: Callable[[float, float], Api], watch: Stopwatch
) -> None:
    api = limited(2, 1)
    add_customer(api.engine)

    answers = [api.usage() for _ in range(3)]
    watch.seconds += 0.9
    soon = api.usage()
    watch.seconds += 0.2

    assert [each.status_code for each in answers] == [200, 200, 429]
    assert problem_in(answers[2], 429)["type"] == RATE_LIMITED.uri
    assert answers[2].headers["Retry-After"] == "1"
    assert soon.headers["Retry-After"] == "1"  # rounded up
    assert api.usage().status_code == 200


def test_publishing_and_reading_are_counted_apart_and_by_key(
    limited: Callable[[float, float], Api],
) -> None:
    api = limited(1, 1)
    add_customer(api.engine)
    other = api.key()

    statuses = [api.usage(), api.post(deployed()), api.usage(), api.post(deployed())]
    others = [api.usage(key=other), api.post(deployed(), key=other)]

    assert [each.status_code for each in statuses] == [200, 202, 429, 429]
    assert [each.status_code for each in others] == [200, 202]


def test_a_batch_counts_as_its_events_and_is_taken_whole_or_not_at_all(
    limited: Callable[[float, float], Api],
) -> None:
    api = limited(1, 5)
    batch = [deployed(f"fix-{number}") for number in range(4)]

    answers = [api.post(batch), api.post(batch)]

    assert [each.status_code for each in answers] == [207, 429]
    assert answers[1].headers["Retry-After"] == "3"
    assert Inbox(api.redis).depth().entries == 4


# Guesses.


def guess(number: int) -> str:
    return f"fbk_{number:012x}_" + "x" * 43


def flood(api: Api) -> list[int]:
    return [api.usage(key=guess(number)).status_code for number in range(GUESSES)]


def test_f81_an_address_that_guesses_is_refused_without_asking_the_database(
    limited: Callable[[float, float], Api], watch: Stopwatch
) -> None:
    api = limited(100, 100)
    found = flood(api)
    asked = []
    event.listen(api.doors.engine, "checkout", lambda *each: asked.append(each))

    got = api.usage(key=guess(999))
    watch.seconds += 60 / GUESSES

    assert found == [401] * GUESSES
    assert problem_in(got, 429)["type"] == TOO_MANY_GUESSES.uri
    assert got.headers["Retry-After"] == str(60 // GUESSES)
    assert asked == []
    assert api.usage(key=guess(999)).status_code == 401
    assert asked != []


def test_from_that_address_a_key_that_was_good_goes_on_until_it_is_revoked(
    limited: Callable[[float, float], Api],
) -> None:
    api = limited(100, 100)
    add_customer(api.engine)
    good = api.key()
    before = api.usage(key=good).status_code
    flood(api)

    meanwhile = api.usage(key=good).status_code
    named = PATTERN.fullmatch(good)
    assert named is not None
    with api.engine.begin() as tx:
        revoke_key(tx, named[1], api.doors.clock.wall())
    after = [api.usage(key=good).status_code for _ in range(2)]

    assert (before, meanwhile) == (200, 200)
    assert after == [401, 429]


def test_what_is_no_key_at_all_is_no_guess(limited: Callable[[float, float], Api]) -> None:
    api = limited(100, 100)

    for _ in range(GUESSES + 1):
        problem_in(api.usage(key="fbk_guess"), 401)

    assert api.usage(key=guess(1)).status_code == 401


def test_keys_themselves_are_not_remembered(limited: Callable[[float, float], Api]) -> None:
    api = limited(100, 100)
    key = api.key()
    api.usage(key=key)

    kept = repr([api.doors.limits.good, api.doors.limits.reading.full_at])

    assert api.doors.limits.good
    assert key[17:] not in kept
