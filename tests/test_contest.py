"""The life of a contest: decided once, and what accepting takes back is taken back once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, event

from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    one_row,
    outcomes,
    publish_all,
    reverted,
    rows_of,
    settle_events,
)
from tests.usage.histories import CLOCK, NOBODY, Pay, World
from worker.billing.contests import DOOR, SOURCE, Contest
from worker.clock import Clock
from worker.contest import ContestProblem, accept_contest, open_contest, reject_contest
from worker.due import Tools
from worker.gauges import GAUGES
from worker.inbox import Inbox
from worker.storage import tables
from worker.usage.verify import verify

LATER = Clock(CLOCK.ahead + 3 * DAY)


@pytest.fixture
def inbox(redis: Redis) -> Inbox:
    found = Inbox(redis)
    found.create_groups()
    return found


def contested(engine: Engine, fix_id: str = "fix-1", clock: Clock = CLOCK) -> str:
    """The id of a new contest."""
    with engine.begin() as tx:
        opened = open_contest(tx, "acme", fix_id, "It broke the build.", None, clock)
    assert opened.new
    return opened.contest.contest_id


def accept(engine: Engine, contest_id: str, inbox: Inbox, clock: Clock = CLOCK) -> Contest:
    return accept_contest(contest_id, "you are right", engine, inbox, clock)


def kinds(engine: Engine) -> list[str]:
    """The transfers about the fix, in their order."""
    rows = rows_of(engine, tables.transfers, customer_id="acme")
    return [row["kind"] for row in rows if row["fix_id"] or row["grant_id"] == "revert:fix-1"]


def assert_sound(engine: Engine) -> None:
    assert [each for each in verify(engine, None) if not each.ok] == []


# Accepting.


def test_a_credit_returns_to_its_grant(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine, credits=1)
    settle_events(engine, deployed())

    decided = accept(engine, contested(engine), inbox)

    assert (decided.decision, decided.decided_why) == ("accepted", "you are right")
    assert kinds(engine) == ["consume", "give_back"]
    assert outcomes(engine) == {"fix-1": "reverted"}
    assert_sound(engine)


def test_what_is_owed_is_owed_no_more(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed())

    accept(engine, contested(engine), inbox)

    assert kinds(engine) == ["charge", "uncharge"]
    assert one_row(engine, tables.books)["receivable"] == 0
    assert_sound(engine)


def test_what_was_paid_earns_a_credit(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    Pay(1).take(World(engine, "acme"))

    accept(engine, contested(engine), inbox)

    assert kinds(engine) == ["charge", "grant"]
    assert one_row(engine, tables.grants)["grant_id"] == "revert:fix-1"
    assert_sound(engine)


def test_what_is_held_waits_no_more(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine, card=False)
    settle_events(engine, deployed())

    accept(engine, contested(engine), inbox)

    assert (outcomes(engine), one_row(engine, tables.books)["held"]) == ({"fix-1": "reverted"}, 0)
    assert_sound(engine)


def test_it_is_recorded_as_an_event_of_when_it_was_contested(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    contest_id = contested(engine)

    accept(engine, contest_id, inbox, LATER)

    told = one_row(engine, tables.events, source=SOURCE)
    opened = one_row(engine, tables.contests)["opened_at"]
    assert (told["event_id"], told["verdict"], told["door"]) == (contest_id, "reverted", DOOR)
    assert told["happened_at"] == opened


def test_the_30_days_end_where_it_was_contested(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed(at=NOW - 30 * DAY + HOUR))

    accept(engine, contested(engine), inbox, LATER)

    assert outcomes(engine) == {"fix-1": "reverted"}


def test_a_credit_that_had_expired_by_then_is_good_again(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    give_credits(engine, credits=2, expires_at=NOW + DAY)
    settle_events(engine, deployed())

    accept(engine, contested(engine), inbox, LATER)

    given = one_row(engine, tables.grants)
    assert given["remaining"] == 1
    assert given["expires_at"] > NOW + 30 * DAY
    assert_sound(engine)


def test_the_customers_own_clock_says_when_it_was_contested(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine, clock_offset=5 * DAY)
    settle_events(engine, deployed(at=NOW + 5 * DAY - MINUTE))

    accept(engine, contested(engine), inbox)

    opened_at: datetime = one_row(engine, tables.contests)["opened_at"]
    assert timedelta(0) <= opened_at - NOW - 5 * DAY < HOUR
    assert outcomes(engine) == {"fix-1": "reverted"}


def test_what_was_accepted_before_still_finds_its_credit(engine: Engine, redis: Redis) -> None:
    """The inbox was not settled for a while; in it lies a fix that an old credit is to pay for."""
    now = Clock()
    inbox = Inbox(redis)
    inbox.create_groups()
    moment = now.now()
    add_customer(engine, cycle_start=moment - DAY, cycle_end=moment + 20 * DAY)
    settle_events(engine, deployed(at=moment - HOUR), now=moment)
    give_credits(engine, credits=1, expires_at=moment + 2 * DAY, now=moment)
    publish_all(redis, [deployed("fix-2", at=moment - MINUTE)])
    in_three_days = Clock(3 * DAY)

    accept(engine, contested(engine, clock=now), inbox, in_three_days)

    assert one_row(engine, tables.grants)["remaining"] == 1


# Once.


def test_whoever_accepts_again_changes_nothing(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    contest_id = contested(engine)

    first, again = (accept(engine, contest_id, inbox) for _ in range(2))

    assert first == again
    assert kinds(engine) == ["charge", "uncharge"]


def test_of_two_operators_at_once_one_decides(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    contest_id = contested(engine)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: accept(engine, contest_id, inbox), range(4)))

    assert len(set(found)) == 1
    assert kinds(engine) == ["charge", "uncharge"]
    assert_sound(engine)


def test_what_was_rejected_is_not_accepted_and_the_reverse(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed(), deployed("fix-2"))
    right, wrong = contested(engine), contested(engine, "fix-2")
    accept(engine, right, inbox)
    reject_contest(wrong, "it is in use", engine, CLOCK)

    with pytest.raises(ContestProblem, match="was accepted already"):
        reject_contest(right, "no", engine, CLOCK)
    with pytest.raises(ContestProblem, match="was rejected already"):
        accept(engine, wrong, inbox)

    assert outcomes(engine) == {"fix-1": "reverted", "fix-2": "charged"}
    assert reject_contest(wrong, "other words", engine, CLOCK).decided_why == "it is in use"


def test_a_fix_that_was_taken_back_meanwhile_is_taken_back_once(
    engine: Engine, inbox: Inbox
) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    contest_id = contested(engine)
    settle_events(engine, reverted())

    assert accept(engine, contest_id, inbox).decision == "accepted"

    assert kinds(engine) == ["charge", "uncharge"]
    settle_events(engine, reverted(id="a-late-one"))
    assert kinds(engine) == ["charge", "uncharge"]


def test_a_decision_that_dies_before_its_commit_was_never_made(
    engine: Engine, inbox: Inbox
) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    contest_id = contested(engine)

    dies_at = iter([False, True])  # it is looked for, then decided

    def die(_: Any) -> None:
        if next(dies_at):
            raise ConnectionError

    event.listen(engine, "commit", die)
    with pytest.raises(ConnectionError):
        accept(engine, contest_id, inbox)
    event.remove(engine, "commit", die)

    assert one_row(engine, tables.contests)["decided_at"] is None
    assert kinds(engine) == ["charge"]
    accept(engine, contest_id, inbox)
    assert kinds(engine) == ["charge", "uncharge"]


def test_what_cannot_be_taken_back_is_not_decided(engine: Engine, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed(), deployed("fix-2"))
    contest_id = contested(engine)
    settle_events(engine, reverted("fix-2", id=contest_id, source=SOURCE))  # somebody guessed it

    with pytest.raises(ContestProblem, match="cannot be taken back: this event id was used"):
        accept(engine, contest_id, inbox)

    assert one_row(engine, tables.contests)["decided_at"] is None
    assert outcomes(engine)["fix-1"] == "charged"


def test_what_is_not_there_cannot_be_decided(engine: Engine, inbox: Inbox) -> None:
    with pytest.raises(ContestProblem, match="there is no contest con_1"):
        accept(engine, "con_1", inbox)


def test_contests_that_wait_are_counted(engine: Engine, redis: Redis, inbox: Inbox) -> None:
    add_customer(engine)
    settle_events(engine, deployed(), deployed("fix-2"))
    first = contested(engine)
    contested(engine, "fix-2")
    (gauge,) = (each for each in GAUGES if each.name == "fixbill.contests.open")
    tools = Tools(engine, redis, NOBODY, CLOCK)
    before = gauge.read(tools)

    reject_contest(first, "no", engine, CLOCK)

    assert (before, gauge.read(tools)) == (2, 1)
