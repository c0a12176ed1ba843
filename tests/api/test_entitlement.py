"""Whether the next fix would be paid: exactly what settling it then does."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, update

from tests.api.client import Api
from tests.api.listing import told
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    rows_of,
    settle_events,
)
from worker.storage import tables

numbers = iter(range(1, 10_000))


@pytest.fixture
def site(shared_api: Api) -> Api:
    """Every test has customers of its own in it."""
    return shared_api


def customer(api: Api, **more: Any) -> str:
    return add_customer(api.engine, f"customer-{next(numbers)}", **more)


def entitlement(api: Api, customer_id: str) -> dict[str, Any]:
    found: dict[str, Any] = told(api, "entitlement", customer_id)
    return {name: found[name] for name in found.keys() - {"as_of", "customer_id"}}


def usd_answer(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


def paid(by: str, **more: Any) -> dict[str, Any]:
    return {"pays_by": by, "price": None, "why_not": None, "credits_left": 0, "covered": 0} | more


def held(why: str, **more: Any) -> dict[str, Any]:
    return paid("nothing", why_not=why, **more)


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        ({"credits": 3, "card": False}, paid("credit", credits_left=3, covered=3)),
        ({"credits": 3}, paid("credit", credits_left=3, covered=None)),
        (
            {"credits": 3, "spending_cap": 6000},
            paid("credit", credits_left=3, covered=5),
        ),
        ({"credits": 1, "past_due": True}, paid("credit", credits_left=1, covered=1)),
        ({}, paid("money", price=usd_answer(2900), covered=None)),
        ({"plan": "pro"}, paid("money", price=usd_answer(1500), covered=None)),
        (
            {"spending_cap": 9000, "spent": 3000},
            paid("money", price=usd_answer(2900), covered=2),
        ),
        ({"spending_cap": 2899}, held("spending cap reached")),
        ({"card": False}, held("no payment method")),
        ({"past_due": True}, held("past due")),
        ({"plan": "trial"}, held("no credit left, and the plan has no price per fix")),
        (
            {"plan": "pro", "subscription_id": "sub_1", "anchor": MARCH.start},
            held("waits for the invoice of this period to be paid"),
        ),
    ],
)
def test_it_says_what_pays_and_for_how_many(
    site: Api, standing: dict[str, Any], told: dict[str, Any]
) -> None:
    assert entitlement(site, customer(site, **standing)) == told


def test_credits_that_came_go_to_what_waits_first(site: Api) -> None:
    """Nothing has settled those yet; the next fix will."""
    me = customer(site, card=False)
    settle_events(site.engine, deployed("one", me), deployed("two", me))

    give_credits(site.engine, me, 2, now=NOW)
    none_left = entitlement(site, me)
    give_credits(site.engine, me, 1, "more", now=NOW)

    assert none_left == held("no payment method")
    assert entitlement(site, me) == paid("credit", credits_left=1, covered=1)


def test_credits_that_are_over_pay_for_nothing_whatever_the_sweep_has_seen(site: Api) -> None:
    me = customer(site, card=False)
    give_credits(site.engine, me, 2, expires_at=NOW - HOUR)

    assert entitlement(site, me) == held("no payment method")


def test_it_counts_in_the_cycle_of_the_customers_own_clock(site: Api) -> None:
    """The cap was reached in March; by this customer's clock it is April."""
    spent = {"spending_cap": 3000, "spent": 2900}
    march, april = customer(site, **spent), customer(site, **spent, clock_offset=20 * DAY)

    assert entitlement(site, march)["why_not"] == "spending cap reached"
    assert entitlement(site, april)["covered"] == 1


def test_asking_changes_nothing(site: Api) -> None:
    me = customer(site, clock_offset=20 * DAY)
    give_credits(site.engine, me, 2, expires_at=NOW - HOUR)
    before = rows_of(site.engine, tables.books, customer_id=me)

    entitlement(site, me)

    assert rows_of(site.engine, tables.books, customer_id=me) == before


# The same, of any book.

PAYS = {"credited": "credit", "charged": "money", "held": "nothing"}
TRIED = 12  # fixes that are settled to see how many are covered


@pytest.mark.parametrize("seed", range(60))
def test_what_it_says_is_what_settling_the_next_fixes_does(site: Api, seed: int) -> None:
    random = Random(seed)
    me = any_customer(random, site)

    says = entitlement(site, me)
    next_ones = [deployed(f"next-{n:02}", me, at=in_turn(n)) for n in range(TRIED)]
    settle_events(site.engine, *next_ones)

    settled = {row["fix_id"]: row for row in rows_of(site.engine, tables.fixes, customer_id=me)}
    first = settled["next-00"]
    price = usd_answer(first["price"]) if first["outcome"] == "charged" else None
    assert says["pays_by"] == PAYS[first["outcome"]]
    assert (says["price"], says["why_not"]) == (price, first["held_why"])
    outcomes = [settled[each.fix_id]["outcome"] for each in next_ones]
    covered = TRIED if says["covered"] is None else min(says["covered"], TRIED)
    assert "held" not in outcomes[:covered]
    assert set(outcomes[covered:]) <= {"held"}


def in_turn(number: int) -> Any:
    return NOW - MINUTE + timedelta(seconds=number)


def any_customer(random: Random, api: Api) -> str:
    """With credits and without, some gone by now; with fixes that wait, and agreed to or not."""
    engine = api.engine
    me = customer(
        api,
        plan=random.choice(["trial", "payg", "payg", "pro"]),
        card=random.choice([True, False]),
        past_due=random.choice([True, False, False]),
        spending_cap=random.choice([None, None, 0, 3000, 12_000]),
        clock_offset=random.choice([timedelta(0), timedelta(0), 20 * DAY]),
        **random.choice([{}, {}, {"subscription_id": "sub_1", "anchor": MARCH.start}]),
    )
    give_some(random, engine, me, "first")
    earlier = [deployed(f"earlier-{n}", me, at=NOW - HOUR) for n in range(random.randrange(6))]
    settle_events(engine, *earlier, now=NOW - HOUR)
    give_some(random, engine, me, "then")
    change_book(engine, me, random.choice(CHANGES))
    return me


CHANGES: list[dict[str, Any]] = [
    {},
    {"has_payment_method": True, "past_due": False},
    {"has_payment_method": True, "accepted_held_until": NOW},
    {"spending_cap": 30_000},
    {"spending_cap": None},
]


def change_book(engine: Engine, customer_id: str, values: dict[str, Any]) -> None:
    if values:
        mine = tables.books.c.customer_id == customer_id
        with engine.begin() as tx:
            tx.execute(update(tables.books).where(mine).values(values))


def give_some(random: Random, engine: Engine, customer_id: str, key: str) -> None:
    expiries = [None, NOW - MINUTE, NOW + HOUR, NOW + 30 * DAY]
    for number in range(random.randrange(3)):
        give_credits(
            engine,
            customer_id,
            random.randint(1, 4),
            f"{key}-{number}",
            expires_at=random.choice(expiries),
            now=NOW - HOUR,
        )
