"""A charge is explained: its lines, how it was collected, what went back, and what stays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from schemas.explanations import ChargeExplanation
from schemas.money import Money
from tests.builders import NOW, fixes_of, numbers, settle_events
from tests.stack import Databases, connected
from tests.usage.explaining import assert_explained, charge_explained, costs, texts
from tests.usage.histories import (
    Collect,
    Decide,
    Deploy,
    Dispute,
    Fail,
    Pay,
    Return,
    ReturnFix,
    Revert,
    Stray,
    Withdraw,
    World,
    WriteOff,
    begin,
)
from worker.billing.answers import AnswerKind
from worker.storage.charges import ChargeKey
from worker.storage.engine import WORKER
from worker.storage.evidence import LINES_MAX, Share
from worker.usage.explain import explain_charge

PAID, DECLINED = Collect(AnswerKind.SUCCEEDED), Collect(AnswerKind.DECLINED)
STATUSES = ("open", "frozen", "declined", "action_required", "withdrawing", "paid", "void")


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[Engine]:
    """One database: every test has a customer of its own."""
    with databases.fresh() as one, connected(one.worker_url, WORKER) as engine:
        yield engine


@pytest.fixture
def world(shared: Engine) -> World:
    return begin(shared, f"customer-{next(numbers)}", 0)


def lived(world: World, *steps: Any) -> ChargeExplanation:
    """What is said of the first charge after all that; whatever it is, it adds up."""
    for step in steps:
        step.take(world)
    assert_explained(world.engine, world.customer_id)
    first = min(world.charges(*STATUSES), key=lambda row: str(row["charge_id"]))
    return charge_explained(world.engine, world.key(first))


def test_an_open_charge_says_what_is_owed(world: World) -> None:
    found = lived(world, Deploy(2, again=False))

    assert found.text == f"{found.charge_id} costs $58.00, of which $58.00 is not paid yet."
    assert [each.text for each in found.steps] == ["$58.00: 2 fixes on it"]
    assert [(each.fix_id, str(each.price)) for each in found.lines] == [
        ("fix-1", "$29.00"),
        ("fix-2", "$29.00"),
    ]
    assert "it is open and takes more fixes" in texts(found)


def test_a_paid_charge_says_by_what(world: World) -> None:
    found = lived(world, Stray(1000), Pay(2))

    assert found.text == f"{found.charge_id} costs $58.00, and nothing of it is owed."
    assert (str(found.collected.own_money), str(found.collected.asked)) == ("$10.00", "$48.00")
    assert found.story[1:5] == [
        "2 fixes went on it, $58.00 in all.",
        f"{found.charge_id} was fixed at $58.00 on {found.collected.frozen_at:%Y-%m-%d %H:%M:%S}Z.",
        "$10.00 of it the customer's own money with us paid.",
        "The card was asked for $48.00.",
    ]
    assert {"apply", "pay", "charge"} == {each.kind for each in found.transfers}


def test_what_left_it_before_it_was_paid_is_taken_off(world: World) -> None:
    found = lived(world, Deploy(3, again=False), Revert(0), PAID)

    assert [each.text for each in found.steps] == [
        "$87.00: 3 fixes on it",
        "-$29.00: 1 fix taken back unpaid",
    ]
    assert (found.all_lines.removed, costs(found)) == (1, (0, 5800))
    assert [each.removed_at is None for each in found.lines] == [True, True, False]


def test_what_was_paid_though_it_had_left_is_the_customers_own(world: World) -> None:
    found = lived(world, Deploy(2, again=False), DECLINED, Revert(0), Withdraw(paid=True))

    assert found.collected.status == "paid"
    assert (costs(found), str(found.collected.dropped)) == ((0, 2900), "$29.00")
    assert [each.kind for each in found.transfers if each.kind in ("pay", "unapplied_in")] == [
        "pay",
        "unapplied_in",
    ]


def test_a_withdrawn_charge_costs_nothing_and_says_that_its_fixes_moved_on(world: World) -> None:
    found = lived(world, Deploy(2, again=False), DECLINED, Revert(0), Withdraw(paid=False))

    assert (found.collected.status, costs(found)) == ("void", (0, 0))
    assert "taken back, or moved to the next charge" in texts(found)


@pytest.mark.parametrize(
    ("steps", "cents", "told"),
    [
        ((Return(0, 50),), 2900, "-$29.00: refunded (re_"),
        ((ReturnFix(0),), 2900, "-$29.00: refunded (re_"),
        ((Return(0, 50), Fail()), 5800, "$29.00: a refund that failed (re_"),
        ((Dispute(100),), 0, "-$58.00: taken back by a bank (du_"),
        ((Dispute(100), Decide("won")), 5800, "$58.00: given back by a bank (du_"),
        ((Dispute(100), Decide("lost")), 0, "the bank gave the money to the cardholder"),
        ((Dispute(100), Return(0, 1)), -58, "gave back $0.58 more than it took"),
    ],
)
def test_what_went_back_is_taken_off(
    world: World, steps: tuple[Any, ...], cents: int, told: str
) -> None:
    found = lived(world, Pay(2), *steps)

    assert costs(found) == (0, cents)
    assert told in texts(found)


def test_what_was_given_up_is_taken_off(world: World) -> None:
    found = lived(world, Deploy(1, again=False), WriteOff())

    assert (costs(found), str(found.collected.owed)) == ((0, 0), "$0.00")
    assert f"-$29.00: given up ({found.charge_id})" in texts(found)


def test_a_charge_of_very_many_lines_shows_some_and_sums_the_rest(world: World) -> None:
    settle_events(world.engine, *fixes_of(world.customer_id, LINES_MAX + 3), now=NOW)
    (row,) = world.charges("open")

    found = charge_explained(world.engine, world.key(row))

    assert (len(found.lines), found.all_lines.not_shown) == (LINES_MAX, 3)
    assert str(found.all_lines.not_shown_money) == "$87.00"
    assert costs(found) == (0, (LINES_MAX + 3) * 2900)
    assert found.chain == "ok"


def test_there_is_no_explanation_of_a_charge_that_is_not_there(world: World) -> None:
    with world.engine.begin() as tx:
        assert explain_charge(tx, ChargeKey(world.customer_id, "ch_nothing"), NOW) is None


@pytest.mark.parametrize("amount", [0, 1, 2, 99, 100, 2999, 3000, 3001, 999_999])
@pytest.mark.parametrize("weights", [[2900], [2900, 100], [1, 1, 1], [0, 2900, 0, 1500, 7], [0, 0]])
def test_shares_add_up_to_the_cent_and_none_is_more_than_its_line(
    amount: int, weights: list[int]
) -> None:
    whole = sum(weights)
    shares = [Share(whole, sum(weights[:n]), weights[n]).of(amount) for n in range(len(weights))]

    assert sum(shares) == min(amount, whole)
    assert all(0 <= share <= weight for share, weight in zip(shares, weights, strict=True))
    if whole and amount <= whole:
        split = Money(amount, "usd").split(weights)
        assert all(abs(a - b.amount) <= 1 for a, b in zip(shares, split, strict=True))
