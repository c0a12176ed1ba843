"""Bought credits, from the purchase to the last of them: through plans, months and money back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.answers import BalanceAnswer
from tests.builders import DAY, HOUR, rows_of
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.travelling import World, world_of
from worker.storage import tables
from worker.subscribe import set_plan
from worker.usage.balance import balance_at

PRICE = 2900
BOUGHT = "top_up:key-1"


@pytest.fixture(scope="module")
def own_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One whose clock no other test moves."""
    with running_sandbox(tmp_path_factory.mktemp("bought")) as one:
        yield one


@pytest.fixture
def world(engine: Engine, redis: Redis, own_sandbox: RunningSandbox) -> World:
    return world_of(engine, redis, own_sandbox)


def left(world: World) -> dict[str, int]:
    """The credits that are left, by where they came from."""
    found: dict[str, int] = {}
    for row in world.rows(tables.grants, "acme"):
        if row["remaining"]:
            found[row["source"]] = found.get(row["source"], 0) + row["remaining"]
    return found


def told(world: World) -> BalanceAnswer:
    """The balance, as it is answered now."""
    with world.tools.engine.begin() as tx:
        answer = balance_at(tx, "acme", None, world.tools.clock.now())
    assert answer is not None
    return answer


def told_again(world: World, before: BalanceAnswer) -> BalanceAnswer:
    with world.tools.engine.begin() as tx:
        answer = balance_at(tx, "acme", before.at, world.tools.clock.now())
    assert answer is not None
    return answer


def go(world: World, plan: str) -> None:
    tools = world.tools
    set_plan("acme", plan, tools.engine, tools.stripe, tools.clock)


def return_money(world: World, amount: int) -> None:
    """Somebody does it at Stripe; we hear of it when time passes."""
    paid = next(row for row in world.rows(tables.top_ups, "acme"))
    wanted: Any = {"payment_intent": paid["payment_intent"], "amount": amount}
    world.sandbox.client().v1.refunds.create(wanted)
    world.waits(HOUR, "acme")


def test_bought_credits_outlast_every_plan_and_are_used_last(world: World) -> None:
    """polar#5648 on the way: what was answered at any moment is answered ever after."""
    answers = []

    def then(expected: dict[str, int]) -> None:
        assert left(world) == expected
        answers.append(told(world))
        assert answers[-1].credits == sum(expected.values())

    acme = world.joins("acme")
    world.buys(acme, 5)
    then({"top_up": 5})
    world.fixes(acme, 1)
    then({"top_up": 4})
    go(world, "pro")
    world.fixes(acme, 3)
    then({"top_up": 4, "included": 7})
    world.waits_until(world.book(acme)["cycle_end"] + 2 * HOUR, acme)
    then({"top_up": 4, "included": 10, "rolled": 7})
    world.fixes(acme, 8)
    then({"top_up": 4, "included": 9})
    go(world, "payg")
    world.waits_until(world.book(acme)["cycle_end"], acme)
    then({"top_up": 4, "rolled": 9})
    world.waits(70 * DAY, acme)
    then({"top_up": 4})
    return_money(world, 2 * PRICE)
    then({"top_up": 2})
    world.fixes(acme, 3)
    then({})

    assert answers[-1].owed.amount == PRICE
    assert [told_again(world, each) for each in answers] == answers
    assert world.broken() == []


def test_every_credit_leads_back_to_what_it_came_from(world: World) -> None:
    """Rolled credits to a month's, these to a paid invoice; bought ones to a payment."""
    acme = world.joins("acme")
    world.buys(acme, 5)
    go(world, "pro")

    world.waits(70 * DAY, acme)

    grants = {row["grant_id"]: row for row in world.rows(tables.grants, acme)}
    invoices = {row["invoice_id"] for row in world.rows(tables.invoices, acme)}
    payments = {row["payment_intent"] for row in world.rows(tables.top_ups, acme)}
    assert {row["source"] for row in grants.values()} == {"top_up", "included", "rolled"}
    for row in grants.values():
        known = {"top_up": payments, "included": invoices, "rolled": grants.keys()}
        assert row["origin"] in known[row["source"]]
    assert BOUGHT in grants
    assert grants[BOUGHT]["remaining"] == 5
    assert not any(row["origin"] == BOUGHT for row in grants.values())


def test_the_months_statements_say_what_was_bought_and_returned(world: World) -> None:
    acme = world.joins("acme")
    world.buys(acme, 5)
    return_money(world, 2 * PRICE)
    end = world.book(acme)["cycle_end"]

    world.waits_until(end + 2 * HOUR, acme)

    rows = rows_of(world.tools.engine, tables.statements, customer_id=acme)
    money = [row["body"]["money"] for row in rows]
    assert sum(each["top_ups"]["amount"] for each in money) == 5 * PRICE
    assert sum(each["paid"]["amount"] for each in money) == 5 * PRICE
    assert all(each["closing"]["amount"] == 0 for each in money)
    assert world.broken() == []
