"""What history would have cost, read from Postgres: nothing is written, and nothing is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, insert, text, update
from sqlalchemy.exc import InternalError

from schemas.money import Money
from schemas.plans import BadPlans, Catalogue, load_plans
from tests.billing.pasts import BEGINS, IN_USE, Past, changed, pasts
from tests.builders import DAY, MINUTE, fixes_of, settle_events
from tests.builders import usd as dollars
from worker.billing.ledger import Transfer
from worker.billing.orders import OrderStatus
from worker.clock import Clock
from worker.customers import add_payment_method, create_customer
from worker.storage import bulk, tables
from worker.storage.orders import add_order
from worker.storage.subscriptions import save_invoice, save_subscription
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.usage.repricing import (
    TOGETHER,
    Catalogues,
    Repriced,
    Window,
    reprice,
    snapshot,
    steps_of,
)

UNGUARDED = text("SET LOCAL session_replication_role = replica")  # by triggers and keys
AT_ONCE = timedelta(0)
EVER = Window(BEGINS - DAY, datetime(2100, 1, 1, tzinfo=UTC))


def keep(tx: Connection, past: Past, customer_id: str = "acme") -> None:
    """In the tables, as if it had happened there; what guards them is told to look away."""

    memory = past.memory
    tx.execute(UNGUARDED)
    tx.execute(
        insert(tables.customers).values(customer_id=customer_id, livemode=False, created_at=BEGINS)
    )
    for table, rows in (
        (tables.books, memory.books),
        (tables.grants, memory.grants),
        (tables.cycles, memory.cycles),
        (tables.fixes, memory.fixes),
        (tables.charge_lines, memory.lines),
    ):
        bulk.append(tx, table, owned(rows.values(), customer_id))
    bulk.append(tx, tables.transfers, owned(memory.transfers, customer_id))
    for order in owned(past.orders, customer_id):
        add_order(tx, order)
    for subscription in past.subscriptions:
        save_subscription(tx, customer_id, subscription, past.now)
    for invoice in past.invoices:
        save_invoice(tx, customer_id, invoice, past.now)


def owned(rows: Iterable[Any], customer_id: str) -> list[Any]:
    """The same, of another customer."""
    return [
        each._replace(customer_id=customer_id)
        if isinstance(each, Transfer)
        else replace(each, customer_id=customer_id)
        for each in rows
    ]


def empty(tx: Connection) -> None:
    tx.execute(UNGUARDED)
    tx.execute(text("TRUNCATE customers, transfers, fixes, charge_lines CASCADE"))


def billed(past: Past) -> int:
    """Minor units, straight from the ledger."""
    signs = {"charge": 1, "invoice": 1, "uncharge": -1}
    return sum(signs.get(each.kind, 0) * each.amount for each in past.memory.transfers)


def repriced(
    engine: Engine,
    candidate: Catalogue = IN_USE,
    window: Window = EVER,
    customer_id: str | None = None,
    in_use: Catalogue = IN_USE,
) -> list[Repriced]:
    return list(reprice(engine, Catalogues(in_use, candidate), window, customer_id))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(pasts(), min_size=1, max_size=3))
def test_the_catalogue_in_use_gives_what_was_billed_to_the_cent(
    owner: Engine, engine: Engine, found: list[Past]
) -> None:
    with owner.begin() as tx:
        empty(tx)
        for number, past in enumerate(found):
            keep(tx, past, f"acme-{number}")

    answer = repriced(engine)

    assert [each.problem for each in answer] == [None] * len(found)
    assert [each.billed.amount for each in answer] == [billed(each) for each in found]
    assert [each.candidate for each in answer] == [each.billed for each in answer]
    with snapshot(engine) as tx:
        read = [step for _, step in steps_of(tx, [each.customer_id for each in answer])]
    assert read == [step for each in found for step in each.steps()]


def test_so_it_does_where_money_went_every_way_it_can(engine: Engine) -> None:
    shipped = load_plans()

    found = repriced(engine, shipped, in_use=shipped)

    assert {each.customer_id: each.billed for each in found} == {
        "acme": dollars(4 * 29),
        "globex": dollars(15),
        "hooli": dollars(2 * 29),
        "umbrella": dollars(0),
    }
    assert [(each.candidate, each.problem) for each in found] == [
        (each.billed, None) for each in found
    ]


def past_of(fixes: int = 6) -> Past:
    """On pay as you go, with 5 credits; one more fix a month later."""
    past = Past()
    past.add_card()
    past.now += DAY
    past.deploy(fixes, MINUTE, AT_ONCE)
    past.now += 33 * DAY
    past.deploy(1, MINUTE, AT_ONCE)
    return past


@pytest.fixture
def kept(owner: Engine) -> Past:
    """Its customer is the only one."""
    past = past_of()
    with owner.begin() as tx:
        empty(tx)
        keep(tx, past)
    return past


def test_only_what_settled_in_the_window_is_compared(kept: Past, engine: Engine) -> None:
    first, second = BEGINS + DAY, kept.now
    dearer = changed("payg", IN_USE, lambda _: {"price": Money(5000, "usd")})

    def seen(start: datetime, end: datetime) -> tuple[int, Money, Money, Money]:
        (one,) = repriced(engine, dearer, Window(start, end))
        return one.fixes, one.billed, one.candidate, one.difference

    assert seen(first, second) == (6, dollars(29), dollars(50), dollars(21))
    assert seen(first, second + MINUTE) == (7, dollars(58), dollars(100), dollars(42))
    assert seen(second, second + MINUTE) == (1, dollars(29), dollars(50), dollars(21))
    assert seen(second + MINUTE, EVER.end) == (0, dollars(0), dollars(0), dollars(0))


def test_fixes_that_would_be_held_are_counted_where_they_settled(
    kept: Past, engine: Engine
) -> None:
    priceless = changed("payg", IN_USE, lambda _: {"price": None})

    held = [
        repriced(engine, priceless, Window(*each))[0].held
        for each in ((BEGINS, kept.now), (BEGINS, EVER.end), (kept.now, EVER.end))
    ]

    assert held == [1, 2, 1]


@pytest.mark.parametrize(
    ("in_use", "problem"),
    [
        (
            changed("payg", IN_USE, lambda _: {"price": Money(3000, "usd")}),
            "transfer 8 (charge fix-5) cost $29.00; the catalogue in use says $30.00",
        ),
        (
            Catalogue({"trial": IN_USE.plan("trial")}),
            "there is no plan 'payg'; there are trial",
        ),
    ],
)
def test_a_ledger_that_cannot_be_reproduced_is_named(
    kept: Past, engine: Engine, in_use: Catalogue, problem: str
) -> None:
    (one,) = repriced(engine, IN_USE, in_use=in_use)

    assert one.problem == problem


def test_of_an_expiry_that_was_edited_the_first_transfer_that_differs_is_named(
    owner: Engine, engine: Engine
) -> None:
    edited = changed("trial", IN_USE, lambda _: {"credits_expire_days": 90})
    with owner.begin() as tx:
        empty(tx)
        keep(tx, past_of(fixes=4))

    (one,) = repriced(engine, IN_USE, in_use=edited)

    said = r"transfer \d+ \(charge fix-4\) cost \$29.00; the catalogue in use says \$0.00"
    assert re.fullmatch(said, one.problem or "")


def test_a_subscription_is_repriced_by_the_order_that_began_it(
    engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    create_customer("initech", "payg", engine, clock)
    add_payment_method("initech", "pm_card_visa", engine, stripe, clock)
    order = set_plan("initech", "pro", engine, stripe, clock)
    settle_events(engine, *fixes_of("initech", 11), now=clock.now())
    shipped = load_plans()
    other = {"subscription": Money(40000, "usd"), "included_credits": 9}

    found = repriced(
        engine, changed("pro", shipped, lambda _: other), EVER, "initech", in_use=shipped
    )

    assert order is not None
    assert order.status is OrderStatus.DONE
    assert found == [Repriced("initech", dollars(599 + 15), dollars(400 + 2 * 15), 11, 0)]


def test_one_customer_is_asked_for_or_nobody(kept: Past, owner: Engine, engine: Engine) -> None:
    with owner.begin() as tx:
        keep(tx, kept, "globex")

    assert [each.customer_id for each in repriced(engine)] == ["acme", "globex"]
    assert [each.customer_id for each in repriced(engine, customer_id="globex")] == ["globex"]
    assert repriced(engine, customer_id="stranger") == []


def test_customers_come_in_pages(kept: Past, owner: Engine, engine: Engine) -> None:
    with owner.begin() as tx:
        for number in range(TOGETHER + 1):
            keep(tx, kept, f"customer-{number:03}")

    found = repriced(engine)

    assert [each.customer_id for each in found] == sorted(each.customer_id for each in found)
    assert {(each.billed, each.candidate, each.problem) for each in found} == {
        (dollars(58), dollars(58), None)
    }
    assert len(found) == TOGETHER + 2


def test_it_can_only_read(kept: Past, engine: Engine) -> None:
    with snapshot(engine) as tx, pytest.raises(InternalError, match="read-only transaction"):
        tx.execute(update(tables.books).values(spent=1))


def test_a_candidate_without_a_plan_is_refused(kept: Past, engine: Engine) -> None:
    with pytest.raises(BadPlans, match="there is no plan 'payg'; there are trial"):
        repriced(engine, Catalogue({"trial": IN_USE.plan("trial")}))
