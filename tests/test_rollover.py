"""Time passes for everyone, whoever notices it and however late; nobody's time runs ahead."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from redis import Redis
from sqlalchemy import Engine, event, func, select, update

from schemas.events import Event
from schemas.inbox import partition_of, stream_of
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    entry,
    give_credits,
    one_row,
    outcomes,
    reverted,
    rows_of,
)
from tests.stack import Databases, connected
from tests.sweeping import (
    CLOSED,
    ENDED,
    UNTOUCHED,
    broken,
    clock_at,
    cycles_of,
    settle_at,
    sweep_at,
)
from worker.billing.cycles import SWEPT_WITHIN, month_of, spread
from worker.inbox import Inbox
from worker.rollover import TOGETHER, roll_over_due
from worker.settle import settle_parked
from worker.storage import tables
from worker.storage.engine import WORKER
from worker.storage.parked import park

MIDNIGHT = MARCH.end
APRIL = month_of(MIDNIGHT)
SECOND = timedelta(seconds=1)


def accept(redis: Redis, what: Event, at: datetime) -> None:
    """In the inbox, as if it had come at that time; no later than what comes after it."""
    key = f"{int(at.timestamp() * 1000)}-*"
    redis.xadd(stream_of(partition_of(what.customer_id)), {b"e": what.to_bytes()}, id=key)


def add_crowd(engine: Engine, how_many: int) -> list[str]:
    """So many customers whose first cycle ends at the same midnight."""
    names = [f"c-{number:04}" for number in range(1, how_many + 1)]
    for each in names:
        add_customer(engine, each)
    return names


# The sweep.


def test_a_cycle_ends_takes_its_last_fixes_for_an_hour_and_is_closed(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine)

    seen = []
    for moment in (MIDNIGHT - SECOND, MIDNIGHT, MIDNIGHT + HOUR - MINUTE, MIDNIGHT + HOUR):
        sweep_at(moment, engine, redis)
        seen.append(cycles_of(engine))

    assert seen == [UNTOUCHED, ENDED, ENDED, CLOSED]
    assert broken(engine) == []


def test_a_second_sweep_changes_nothing(engine: Engine, redis: Redis) -> None:
    add_customer(engine)

    changed = [sweep_at(MIDNIGHT + HOUR, engine, redis) for _ in range(3)]

    assert changed == [1, 0, 0]
    assert cycles_of(engine) == CLOSED


def test_half_a_year_without_a_sweep_ends_every_month_in_order(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine)

    sweep_at(datetime(2026, 10, 1, 1, tzinfo=UTC), engine, redis)

    found = rows_of(engine, tables.cycles)
    assert [row["starts_at"].date() for row in found] == [
        date(2026, month, 1) for month in range(3, 11)
    ]
    assert [row["status"] for row in found] == ["closed"] * 7 + ["open"]
    assert broken(engine) == []


def test_credits_expire_at_their_own_moment_though_the_sweep_is_late(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine)
    give_credits(engine, credits=3, expires_at=NOW + DAY)

    sweep_at(NOW + 3 * DAY, engine, redis)

    (lapse,) = rows_of(engine, tables.transfers, kind="expire")
    assert (lapse["amount"], lapse["happened_at"]) == (3, NOW + DAY)
    assert one_row(engine, tables.books)["expired"] == 3
    assert broken(engine) == []


def test_pages_are_bounded_and_each_is_committed_by_itself(engine: Engine, redis: Redis) -> None:
    names = add_crowd(engine, 2 * TOGETHER + 50)
    ended: list[int] = []

    @event.listens_for(engine, "commit")
    def count(_: object) -> None:
        with engine.connect() as other:
            query = select(func.count()).where(tables.cycles.c.status == "closing")
            ended.append(other.execute(query).scalar_one())

    changed = sweep_at(MIDNIGHT, engine, redis)
    event.remove(engine, "commit", count)

    assert changed == len(names)
    assert max(after - before for before, after in pairwise(ended)) <= TOGETHER


def test_a_sweep_whose_time_is_up_leaves_the_rest_to_the_next(engine: Engine, redis: Redis) -> None:
    names = add_crowd(engine, 3)
    box, clock = Inbox(redis), clock_at(MIDNIGHT)

    first = roll_over_due(engine, box, clock, seconds=0)
    second = roll_over_due(engine, box, clock)

    assert (first, second) == (0, len(names))


@pytest.mark.parametrize("place", [0, 60, TOGETHER + 1], ids=["first", "in a page", "later"])
def test_one_customer_whose_plan_is_unknown_holds_up_no_other(
    engine: Engine, redis: Redis, place: int
) -> None:
    names = add_crowd(engine, TOGETHER + 20)
    bad = names[place]
    with engine.begin() as tx:
        tx.execute(
            update(tables.books)
            .where(tables.books.c.customer_id == bad)
            .values(plan_version=date(2020, 1, 1))
        )

    changed = sweep_at(MIDNIGHT, engine, redis)

    assert changed == len(names) - 1
    assert cycles_of(engine, bad) == UNTOUCHED
    assert all(cycles_of(engine, each) == ENDED for each in names if each != bad)


def test_two_sweeps_at_once_end_each_cycle_once(engine: Engine, redis: Redis) -> None:
    names = add_crowd(engine, 2 * TOGETHER)
    for each in names[::10]:
        give_credits(engine, each, 2, expires_at=MIDNIGHT)
    changed: list[int] = []
    barrier = threading.Barrier(2)

    def sweep() -> None:
        barrier.wait(10)
        changed.append(sweep_at(MIDNIGHT + HOUR, engine, redis))

    sweeps = [threading.Thread(target=sweep) for _ in range(2)]
    for one in sweeps:
        one.start()
    for one in sweeps:
        one.join(60)

    assert sum(changed) == len(names)
    assert all(cycles_of(engine, each) == CLOSED for each in names)
    assert len(rows_of(engine, tables.transfers, kind="expire")) == len(names[::10])
    assert broken(engine) == []


# Not past what is not settled.


def test_nobody_is_rolled_past_an_entry_that_waits(engine: Engine, redis: Redis) -> None:
    add_customer(engine, credits=0)
    give_credits(engine, credits=1, expires_at=MIDNIGHT)
    other = next(name for name in ("b", "c", "d") if partition_of(name) != partition_of("acme"))
    add_customer(engine, other)
    accept(redis, deployed(at=MIDNIGHT - 2 * MINUTE), MIDNIGHT - MINUTE)

    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)
    before = cycles_of(engine), cycles_of(engine, other)
    settle_at(MIDNIGHT + 2 * HOUR, engine, redis)
    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)

    assert before == (UNTOUCHED, CLOSED)
    assert cycles_of(engine) == CLOSED
    assert outcomes(engine) == {"fix-1": "credited"}
    assert rows_of(engine, tables.transfers, kind="expire") == []
    assert broken(engine) == []


def test_an_entry_that_was_read_and_not_acknowledged_holds_it_back_too(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine)
    box = Inbox(redis)
    box.create_groups()
    accept(redis, deployed(at=MIDNIGHT - 2 * MINUTE), MIDNIGHT - MINUTE)
    assert len(box.fresh(100)) == 1

    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)
    before = cycles_of(engine)
    settle_at(MIDNIGHT + 2 * HOUR, engine, redis)
    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)

    assert (before, cycles_of(engine)) == (UNTOUCHED, CLOSED)


def test_what_the_http_door_has_parked_holds_back_its_customer_and_no_other(
    engine: Engine, redis: Redis
) -> None:
    for name in ("acme", "globex"):
        add_customer(engine, name)
    parked = entry(deployed(at=MIDNIGHT - 2 * MINUTE), at=MIDNIGHT - MINUTE, key="http/1")
    with engine.begin() as tx:
        park(tx, "acme", parked)

    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)
    before = cycles_of(engine), cycles_of(engine, "globex")
    settle_parked(parked, engine, clock_at(MIDNIGHT + 2 * HOUR).now())
    sweep_at(MIDNIGHT + 2 * HOUR, engine, redis)

    assert before == (UNTOUCHED, CLOSED)
    assert cycles_of(engine) == CLOSED
    (settled,) = rows_of(engine, tables.fixes)
    assert (settled["cycle_start"], settled["late"]) == (MARCH.start, False)


# When it is noticed.


@pytest.mark.parametrize("name", ["acme", "globex", "initech"])
def test_each_customer_has_a_place_within_ten_minutes(
    engine: Engine, redis: Redis, name: str
) -> None:
    add_customer(engine, name)
    give_credits(engine, name, 1, expires_at=MIDNIGHT)  # from here on the book says when
    place = spread(name, SWEPT_WITHIN)

    seen = []
    for moment in (MIDNIGHT, MIDNIGHT + place - SECOND, MIDNIGHT + place + SECOND):
        sweep_at(moment, engine, redis, all_now=False)
        seen.append(cycles_of(engine, name))

    assert timedelta(0) <= place < timedelta(minutes=10)
    assert seen == [UNTOUCHED, UNTOUCHED, ENDED]


def test_an_event_ends_the_cycle_at_once(engine: Engine, redis: Redis) -> None:
    add_customer(engine)
    accept(redis, deployed(at=MIDNIGHT), MIDNIGHT)

    settle_at(MIDNIGHT + SECOND, engine, redis)

    assert cycles_of(engine) == ENDED
    (settled,) = rows_of(engine, tables.fixes)
    assert (settled["cycle_start"], settled["late"]) == (MIDNIGHT, False)


def test_all_now_takes_those_whose_turn_is_to_come_but_none_before_its_time(
    engine: Engine, redis: Redis
) -> None:
    names = add_crowd(engine, 20)
    for each in names:
        give_credits(engine, each, 1, expires_at=MIDNIGHT)

    early = sweep_at(MIDNIGHT - SECOND, engine, redis)
    assert {*map(tuple, (cycles_of(engine, each) for each in names))} == {tuple(UNTOUCHED)}
    on_time = sweep_at(MIDNIGHT, engine, redis)

    assert (early, on_time) == (0, len(names))


# In which cycle a fix counts.

PLACES = {
    "deployed and accepted before the end": (-2 * MINUTE, -MINUTE, 1, False),
    "deployed before the end, accepted at the end": (-SECOND, timedelta(0), 1, False),
    "deployed before the end, accepted within the hour": (-SECOND, HOUR - SECOND, 1, False),
    "deployed before the end, accepted after the hour": (-SECOND, HOUR, 2, True),
    "deployed at the end": (timedelta(0), timedelta(0), 2, False),
    "deployed at the end, accepted after the hour": (timedelta(0), 2 * HOUR, 2, False),
    "deployed a week ago, to the second": (-7 * DAY, timedelta(0), 1, False),
    "deployed more than a week ago": (-7 * DAY - SECOND, timedelta(0), 1, True),
}


@pytest.mark.parametrize("sweeps", [True, False], ids=["swept before", "not swept"])
@pytest.mark.parametrize(("happened", "came", "cycle", "late"), PLACES.values(), ids=PLACES)
def test_a_fix_counts_where_it_belongs_whoever_noticed_the_end(
    engine: Engine,
    redis: Redis,
    happened: timedelta,
    came: timedelta,
    cycle: int,
    late: bool,
    sweeps: bool,
) -> None:
    add_customer(engine)
    if sweeps:
        sweep_at(MIDNIGHT + came, engine, redis)
    accept(redis, deployed(at=MIDNIGHT + happened), MIDNIGHT + came)

    settle_at(MIDNIGHT + 5 * DAY, engine, redis)
    sweep_at(MIDNIGHT + 5 * DAY, engine, redis)

    (settled,) = rows_of(engine, tables.fixes)
    (charged,) = rows_of(engine, tables.transfers)
    assert (charged["cycle"], settled["late"]) == (cycle, late)
    assert settled["cycle_start"] == (MARCH.start if cycle == 1 else MIDNIGHT)
    assert cycles_of(engine) == CLOSED
    assert broken(engine) == []


# However often it is looked.


class Accepted(NamedTuple):
    """An event, and when the inbox took it."""

    event: Event
    at: datetime


def history() -> list[Accepted]:
    """Two months and a half of three customers, with something at every edge."""
    edges = [
        MARCH.end - 9 * DAY,
        MARCH.end - HOUR,
        MARCH.end - timedelta(milliseconds=1),
        MARCH.end,
        MARCH.end + HOUR / 2,
        MARCH.end + HOUR,
        MARCH.end + HOUR + timedelta(milliseconds=1),
        MARCH.end + 5 * DAY,
        APRIL.start + 14 * DAY + HOUR * 12,  # the subscription's period ends
        APRIL.start + 15 * DAY,
        APRIL.end - SECOND,
        APRIL.end + HOUR / 3,
        APRIL.end + 9 * DAY,
    ]
    accepted = []
    for number, edge in enumerate(edges):
        for customer in ("acme", "trialist", "subscriber"):
            for late in (0, 1, 45, 8 * 24 * 60):
                name = f"fix-{number:02}-{late}"
                fix = deployed(name, customer, at=edge - late * MINUTE)
                accepted.append(Accepted(fix, edge))
            if number % 3 == 2:
                taken = f"fix-{number - 2:02}-1"
                accepted.append(Accepted(reverted(taken, customer, at=edge), edge))
    return accepted


BEGIN, END = MARCH.end - 10 * DAY, APRIL.end + 12 * DAY
NEVER: list[datetime] = []


def every(hours: int, but: tuple[datetime, datetime] | None = None) -> list[datetime]:
    """Moments at which everything that is due is done; none of them between those two."""
    count = (END - BEGIN) // timedelta(hours=hours)
    found = [BEGIN + number * timedelta(hours=hours, minutes=7) for number in range(1, count)]
    return [each for each in found if but is None or not but[0] < each < but[1]]


BEATS = {
    "once a day": every(24),
    "three times a day": every(8),
    "stopped for a week over the end of the month": every(
        8, (MARCH.end - 2 * DAY, MARCH.end + 5 * DAY)
    ),
    "stopped for a week in the middle": every(24, (APRIL.start + 10 * DAY, APRIL.start + 18 * DAY)),
}


def lived(databases: Databases, redis: Redis, beats: list[datetime]) -> dict[str, Any]:
    """The history, settled and swept at these moments and at the end; what is in the tables then.

    The inbox takes an entry when it comes, whoever is stopped.
    """
    redis.flushall()
    with databases.fresh() as database, connected(database.worker_url, WORKER) as engine:
        add_history_makers(engine)
        waiting = history()
        for moment in [*beats, END]:
            while waiting and waiting[0].at <= moment:
                accept(redis, *waiting.pop(0))
            settle_at(moment, engine, redis)
            sweep_at(moment, engine, redis)
        assert waiting == []
        assert broken(engine) == []
        return everything(engine)


def add_history_makers(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "trialist", plan="trial", card=False)
    add_customer(
        engine,
        "subscriber",
        plan="pro",
        subscription_id="sub_1",
        subscription_status="active",
        anchor=APRIL.start - 17 * DAY + HOUR * 12,
        paid_until=APRIL.end + 90 * DAY,
    )
    for name in ("acme", "trialist", "subscriber"):
        for number, edge in enumerate(
            (MARCH.end, MARCH.end + HOUR, APRIL.end, APRIL.end + 6 * DAY)
        ):
            many = 2 if name == "acme" else 20 if number == 3 else 5
            give_credits(engine, name, many, f"gift-{number}", expires_at=edge, now=BEGIN - DAY)
    with engine.begin() as tx:
        rolling = tables.grants.c.grant_id.in_(["gift-0", "gift-2"])
        tx.execute(update(tables.grants).where(rolling).values(rolls_max=2))


PASSING = {
    "books": {"head"},
    "grants": set(),
    "cycles": {"closed_at", "stated_at"},
    "fixes": {"recorded_at", "charge_id"},
    "transfers": {"recorded_at", "hash", "charge_id"},
    "charges": {"charge_id"},
    "usage": set(),
}


def everything(engine: Engine) -> dict[str, Any]:
    """All rows, but for when we got to know of them and ids that are made up."""
    return {
        name: [
            {column: value for column, value in row.items() if column not in passing}
            for row in rows_of(engine, tables.metadata.tables[name])
        ]
        for name, passing in PASSING.items()
    }


# What happens in that history.
MOVED = {"grant", "consume", "charge", "give_back", "uncharge", "expire", "roll_out", "roll_in"}


@pytest.mark.parametrize("beats", BEATS.values(), ids=BEATS)
def test_however_often_it_is_looked_the_books_come_out_equal(
    databases: Databases, redis: Redis, beats: list[datetime]
) -> None:
    settled_at_the_end = lived(databases, redis, NEVER)
    assert {each["kind"] for each in settled_at_the_end["transfers"]} >= MOVED

    looked_often = lived(databases, redis, beats)

    for name in PASSING:
        assert looked_often[name] == settled_at_the_end[name], name
