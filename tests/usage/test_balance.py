"""The balance at a moment: the same whenever, and from wherever, it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.answers import BalanceAnswer
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    entry,
    reverted,
    rows_of,
    settle_entries,
    usd,
)
from tests.sweeping import broken, sweep_at
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.storage import tables
from worker.storage.books import open_books
from worker.storage.clock import move_clock_of
from worker.storage.post import post
from worker.usage.balance import InTheFuture, balance_at

ME = "initech"  # nothing has happened yet to this one
SECOND = timedelta(seconds=1)


def balance(
    engine: Engine, at: datetime | None, now: datetime, customer_id: str = ME
) -> BalanceAnswer:
    with engine.begin() as tx:
        found = balance_at(tx, customer_id, at, now)
    assert found is not None
    return found


def credits_at(engine: Engine, *moments: datetime, now: datetime) -> list[int]:
    return [balance(engine, at, now).credits for at in moments]


def given(
    engine: Engine, key: str, number: int, now: datetime, good_for: timedelta | None, rolls: int = 0
) -> None:
    with engine.begin() as tx:
        journal = Journal(open_books(tx, [ME]), Known(), now)
        expires_at = None if good_for is None else now + good_for
        give(journal, journal.books[ME], "operator", key, number, expires_at, rolls_max=rolls)
        post(tx, journal)


def fixes(engine: Engine, *ids: str, at: datetime, settled: datetime | None = None) -> None:
    """Accepted then; settled then, or later."""
    entries = [entry(deployed(each, ME, at=at - MINUTE), at=at) for each in ids]
    settle_entries(engine, entries, now=settled or at)


def reverts(engine: Engine, fix_id: str, at: datetime, settled: datetime | None = None) -> None:
    event = reverted(fix_id, ME, at=at - MINUTE)
    settle_entries(engine, [entry(event, at=at)], now=settled or at)


# What it is.


def test_nobody_has_no_balance(engine: Engine) -> None:
    with engine.begin() as tx:
        assert balance_at(tx, "stranger", None, NOW) is None


def test_it_counts_credits_by_grant_what_is_owed_and_the_customers_own_money(
    engine: Engine,
) -> None:
    """acme's and hooli's ledgers, in which everything has happened once."""
    later = NOW + HOUR
    acme, hooli = balance(engine, None, later, "acme"), balance(engine, None, later, "hooli")
    books = {row["customer_id"]: row for row in rows_of(engine, tables.books)}

    for answer in (acme, hooli):
        book = books[answer.customer_id]
        assert answer.credits == book["credits"]
        assert (answer.owed.amount, answer.own_money.amount) == (
            book["receivable"],
            -book["unapplied"],
        )
    left = {
        row["grant_id"]: row["remaining"]
        for row in rows_of(engine, tables.grants, customer_id="acme")
        if row["remaining"]
    }
    assert {each.grant_id: each.credits for each in acme.grants} == left
    assert acme.at == later


@pytest.mark.parametrize("customer_id", ["acme", "globex", "hooli", "umbrella"])
def test_it_is_a_running_sum_wherever_one_starts(engine: Engine, customer_id: str) -> None:
    """polar#5648: a balance that began at some row instead of the first differed by what it left.

    At each transfer's moment, asked forwards, backwards and in any order.
    """
    rows = rows_of(engine, tables.transfers, customer_id=customer_id)
    moments = sorted({row["recorded_at"] for row in rows})
    expected = {at: running_sum(rows, at) for at in moments}

    for order in (moments, moments[::-1], Random(7).sample(moments, len(moments))):
        for at in order:
            found = balance(engine, at, NOW + DAY, customer_id)
            assert (found.credits, found.owed.amount, found.own_money.amount) == expected[at]


def running_sum(rows: Sequence[dict[str, object]], at: datetime) -> tuple[int, int, int]:
    """The credits, the debt and the own money of everything that was booked by then."""
    total = {"credits": 0, "receivable": 0, "unapplied": 0}
    for row in rows:
        if row["recorded_at"] <= at:  # type: ignore[operator]
            for side, sign in (("from_account", -1), ("to_account", 1)):
                if row[side] in total:
                    total[str(row[side])] += sign * int(str(row["amount"]))
    return total["credits"], total["receivable"], -total["unapplied"]


def test_before_the_first_transfer_there_is_nothing(engine: Engine) -> None:
    add_customer(engine, ME)
    given(engine, "gift", 3, NOW, None)

    assert credits_at(engine, NOW - SECOND, NOW, now=NOW + HOUR) == [0, 3]
    first = balance(engine, NOW - 3000 * DAY, NOW)
    assert (first.grants, first.owed, first.own_money) == ([], usd(0), usd(0))


@pytest.mark.parametrize("seed", range(6))
def test_the_answer_of_a_moment_is_the_answer_for_ever(
    engine: Engine, redis: Redis, seed: int
) -> None:
    """Whatever happens afterwards, and whether the sweep had come by or not."""
    random = Random(seed)
    add_customer(engine, ME)
    now, told = NOW, list[BalanceAnswer]()
    for step in range(30):
        now += random.choice([MINUTE, HOUR, DAY, 4 * DAY])
        deed = random.choice(["fix", "fix", "revert", "give", "sweep", "nothing"])
        if deed == "fix":
            fixes(engine, f"fix-{step}", at=now)
        elif deed == "revert":
            reverts(engine, f"fix-{random.randrange(step + 1)}", at=now)
        elif deed == "give":
            good_for = random.choice([None, 2 * HOUR, 3 * DAY, 20 * DAY])
            given(engine, f"gift-{step}", random.randint(1, 3), now, good_for, random.randint(0, 2))
        elif deed == "sweep":
            sweep_at(now, engine, redis)
        told.append(balance(engine, None, now))

    assert [balance(engine, each.at, now + DAY) for each in told] == told
    sweep_at(now + DAY, engine, redis)
    assert [balance(engine, each.at, now + DAY) for each in told] == told
    assert all(each.credits >= 0 for each in told)
    assert broken(engine) == []


# Expiry.


def test_credits_are_gone_from_their_expiry_whenever_that_is_booked(
    engine: Engine, redis: Redis
) -> None:
    add_customer(engine, ME)
    given(engine, "gift", 3, NOW, DAY)
    gone, much_later = NOW + DAY, NOW + 10 * DAY
    moments = [gone - SECOND, gone, gone + HOUR]

    before = credits_at(engine, *moments, now=much_later)
    sweep_at(much_later, engine, redis)

    assert before == credits_at(engine, *moments, now=much_later) == [3, 0, 0]


def test_credits_that_roll_over_are_there_all_along(engine: Engine, redis: Redis) -> None:
    add_customer(engine, ME)
    given(engine, "month", 5, NOW, MARCH.end - NOW, rolls=2)
    moments = [MARCH.end - SECOND, MARCH.end, MARCH.end + HOUR]
    later = MARCH.end + DAY

    before = [balance(engine, at, later) for at in moments]
    sweep_at(later, engine, redis)

    assert [each.credits for each in before] == [5, 2, 2]
    assert [balance(engine, at, later) for at in moments] == before
    assert [[each.grant_id for each in one.grants] for one in before] == [
        ["month"],
        ["roll:month"],
        ["roll:month"],
    ]


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_credit_that_an_entry_used_in_time_is_not_left_over_when_it_is_settled_late(
    engine: Engine, taken_back: bool
) -> None:
    """The inbox took it a minute before the credits expired; we were away for two hours."""
    add_customer(engine, ME)
    given(engine, "gift", 3, NOW, DAY)
    gone, back = NOW + DAY, NOW + DAY + 2 * HOUR
    fixes(engine, "fix-1", at=gone - MINUTE, settled=back)
    if taken_back:
        reverts(engine, "fix-1", at=back, settled=back)
    settle_entries(engine, [entry(deployed("fix-2", ME, at=back), at=back)], now=back)

    assert credits_at(engine, gone - HOUR, gone, gone + HOUR, now=back) == [3, 0, 0]


def test_a_fix_that_waits_for_the_next_cycle_is_not_owed_before(
    engine: Engine, redis: Redis
) -> None:
    """The cap is reached; a month begins, and nothing has booked that yet."""
    add_customer(engine, ME, spending_cap=2900)
    fixes(engine, "fix-1", "fix-2", at=NOW)
    moments = [NOW, MARCH.end - SECOND, MARCH.end]
    later = MARCH.end + DAY

    before = [balance(engine, at, later).owed for at in moments]
    sweep_at(later, engine, redis)

    assert before == [balance(engine, at, later).owed for at in moments] == [usd(29)] * 3
    assert balance(engine, later + HOUR, later + DAY).owed == usd(58)


# When one may ask.


def test_now_is_the_last_moment_one_may_ask_about(engine: Engine) -> None:
    add_customer(engine, ME)

    assert balance(engine, NOW, NOW).at == NOW
    with pytest.raises(InTheFuture, match=r"at: 2026-03-15 12:00:01Z lies ahead of"):
        balance(engine, NOW + SECOND, NOW)


def test_now_is_the_customers_own(engine: Engine) -> None:
    add_customer(engine, ME)
    given(engine, "gift", 3, NOW, 10 * DAY)
    with engine.begin() as tx:
        move_clock_of(tx, ME, 20 * DAY)

    found = balance(engine, None, NOW)

    assert (found.at, found.credits) == (NOW + 20 * DAY, 0)
    assert credits_at(engine, NOW + 9 * DAY, NOW + 10 * DAY, now=NOW) == [3, 0]
