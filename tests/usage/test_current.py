from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from schemas.answers import (
    Caution,
    CycleAnswer,
    FixCounts,
    Limits,
    MoneyAnswer,
    RepositoryUsage,
    Usage,
)
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PLAN_DATE,
    add_customer,
    deployed,
    entry,
    fixes_of,
    give_credits,
    one_row,
    settle_events,
    usd,
)
from worker.storage import tables
from worker.storage.parked import park
from worker.usage.current import current_usage

MARCH, APRIL = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


def usage(
    engine: Engine,
    customer_id: str = "acme",
    now: datetime = NOW,
    as_of: datetime | None = None,
) -> Usage:
    with engine.begin() as tx:
        found = current_usage(tx, customer_id, now, as_of)
    assert found is not None
    return found


def cautions(found: Usage) -> dict[str, str]:
    return {each.code: each.message for each in found.warnings}


def test_a_customer_nobody_knows_has_no_usage(engine: Engine) -> None:
    with engine.begin() as tx:
        found = current_usage(tx, "stranger", NOW, None)

    assert found is None


def test_usage_counts_every_fix_of_the_cycle_once(engine: Engine) -> None:
    found = usage(engine)

    assert found.cycle == CycleAnswer(number=1, start=MARCH, end=APRIL)
    assert found.fixes == FixCounts(credited=2, charged=4, held=0, reverted=2)
    assert found.repositories == [
        RepositoryUsage(repository="acme/api", fixes=FixCounts(charged=1), charged=usd(29)),
        RepositoryUsage(
            repository="acme/shop",
            fixes=FixCounts(credited=2, charged=3, reverted=2),
            charged=usd(3 * 29),
        ),
    ]
    assert found.held_now == 0


def test_usage_says_what_is_charged_paid_and_open(engine: Engine) -> None:
    found = usage(engine)

    assert found.money == MoneyAnswer(
        charged=usd(4 * 29), paid=usd(2 * 29), subscription=usd(0), open=usd(2 * 29)
    )
    assert found.limits == Limits(spending_cap=usd(4 * 29), spent=usd(4 * 29))


def test_usage_shows_the_plan_as_it_is_pinned(engine: Engine) -> None:
    payg, pro = usage(engine, "acme").plan, usage(engine, "globex").plan

    assert (payg.code, payg.title, payg.version) == ("payg", "Pay as you go", PLAN_DATE)
    assert (payg.price_per_fix, payg.subscription_price) == (usd(29), None)
    assert (payg.subscription_status, payg.standing) == (None, "good")
    assert (pro.code, pro.price_per_fix) == ("pro", usd(15))
    assert (pro.subscription_price, pro.subscription_status) == (usd(599), None)


def test_usage_shows_the_last_ten_transactions_newest_first(engine: Engine) -> None:
    settle_events(engine, *fixes_of("globex", 12))

    found = usage(engine, "globex").transactions

    assert [each.seq for each in found] == list(range(15, 5, -1))
    assert {each.kind for each in found} == {"charge"}
    assert {each.money for each in found} == {usd(15)}


def test_a_transaction_is_credits_or_money_never_both(engine: Engine) -> None:
    found = usage(engine).transactions

    kinds = {each.kind: (each.credits, each.money) for each in found}

    assert kinds["consume"] == (1, None)
    assert kinds["grant"] == (3, None)
    assert kinds["pay"] == (None, usd(58))
    assert kinds["charge"] == (None, usd(29))


def test_usage_shows_where_a_subscription_stands(engine: Engine) -> None:
    add_customer(
        engine,
        "initech",
        plan="pro",
        subscription_id="sub_1",
        subscription_status="past_due",
        anchor=MARCH,
        paid_until=MARCH,
        ends_with_period=True,
    )

    plan = usage(engine, "initech").plan

    assert (plan.subscription_status, plan.standing) == ("past_due", "past_due")
    assert (plan.paid_until, plan.ends_at) == (MARCH, APRIL)


def test_a_cycle_that_nobody_has_rolled_over_is_over_all_the_same(engine: Engine) -> None:
    add_customer(engine, "initech", credits=1)
    give_credits(engine, "initech", 2, "short", expires_at=APRIL)

    found = usage(engine, "initech", now=APRIL + 31 * DAY)

    assert (found.cycle.number, found.cycle.start) == (3, APRIL + 30 * DAY)
    assert found.credits.balance == 1
    assert one_row(engine, tables.books, customer_id="initech")["cycle"] == 1


def test_the_next_cycle_begins_with_nothing_but_what_is_open(engine: Engine) -> None:
    found = usage(engine, now=APRIL)

    assert found.cycle.start == APRIL
    assert found.fixes == FixCounts()
    assert found.money == MoneyAnswer(
        charged=usd(0), paid=usd(0), subscription=usd(0), open=usd(58)
    )
    assert found.limits.spent == usd(0)


def test_a_fix_of_the_closing_cycle_counts_there(engine: Engine) -> None:
    add_customer(engine, "initech")
    just_before = APRIL - MINUTE

    settle_events(engine, deployed("late", "initech", at=just_before), now=APRIL + 30 * MINUTE)

    assert one_row(engine, tables.fixes, customer_id="initech")["cycle_start"] == MARCH
    assert one_row(engine, tables.usage, customer_id="initech")["cycle_start"] == MARCH
    assert usage(engine, "initech", now=APRIL + HOUR).fixes.charged == 0


def test_a_customers_own_clock_decides_the_cycle(engine: Engine) -> None:
    add_customer(engine, "initech", clock_offset=20 * DAY)

    found = usage(engine, "initech")

    assert found.cycle.start == APRIL


@pytest.mark.parametrize(
    ("expires_at", "balance"),
    [(None, 3), (NOW + MINUTE, 3), (NOW, 0), (NOW - DAY, 0)],
    ids=["never", "soon", "now", "long ago"],
)
def test_only_credits_that_can_be_used_count(
    engine: Engine, expires_at: datetime | None, balance: int
) -> None:
    add_customer(engine, "initech")
    give_credits(engine, "initech", 3, expires_at=expires_at, now=NOW - 9 * DAY)

    found = usage(engine, "initech").credits

    assert found.balance == balance
    assert [each.remaining for each in found.grants] == ([3] if balance else [])


def test_grants_are_shown_in_their_order_of_use(engine: Engine) -> None:
    add_customer(engine, "initech")
    for key, source, expires_at in (
        ("last", "operator", None),
        ("third", "operator", NOW + 2 * DAY),
        ("second", "operator", NOW + DAY),
        ("first", "signup", None),
    ):
        give_credits(engine, "initech", 1, key, source=source, expires_at=expires_at)

    found = usage(engine, "initech").credits.grants

    assert [each.grant_id for each in found] == ["first", "second", "third", "last"]


# How fresh it is.


def test_usage_is_as_fresh_as_the_inbox_says(engine: Engine) -> None:
    watermark = NOW + HOUR

    found = usage(engine, as_of=watermark)

    assert found.as_of == watermark


def test_without_the_inbox_it_is_as_fresh_as_what_was_settled_last(engine: Engine) -> None:
    settle_events(engine, deployed("fresh", "globex"), now=NOW + HOUR)

    found = usage(engine, "globex")

    assert found.as_of == NOW + HOUR


def test_before_anything_was_settled_it_is_as_fresh_as_its_cycle(engine: Engine) -> None:
    add_customer(engine, "initech")

    found = usage(engine, "initech")

    assert found.as_of == MARCH


def test_what_is_parked_is_not_settled_and_holds_freshness_back(engine: Engine) -> None:
    with engine.begin() as tx:
        park(tx, "acme", entry(deployed("parked"), at=NOW - MINUTE))

    found = usage(engine, as_of=NOW + HOUR)
    others = usage(engine, "globex", as_of=NOW + HOUR)

    assert (found.as_of, others.as_of) == (NOW - MINUTE, NOW + HOUR)


# Warnings.

CHARGED_BEFORE = {"revenue": -2900, "cash": 2900}
NEVER_CHARGED: dict[str, Any] = {"revenue": 0, "cash": 0}
STANDINGS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing to worry about": ({"credits": 3}, {}),
    "few credits": (
        {"credits": 2},
        {"low_credit": "2 credits are left; after that each fix costs $29.00."},
    ),
    "one credit": (
        {"credits": 1},
        {"low_credit": "1 credit is left; after that each fix costs $29.00."},
    ),
    "no credits on pro": (
        {"plan": "pro"},
        {"low_credit": "No credit is left; each fix costs $15.00."},
    ),
    "no credits on trial": (
        {"plan": "trial"},
        {"low_credit": "No credit is left; new fixes are held."},
    ),
    "one credit, and past due": (
        {"credits": 1, "past_due": True},
        {
            "past_due": "A payment failed; new fixes are held.",
            "low_credit": "1 credit is left; after that new fixes are held.",
        },
    ),
    "never charged, and no credit is left": (
        NEVER_CHARGED,
        {
            "first_charge": "No credit is left: the next fix is the first that costs money, $29.00;"
            " no spending cap is set."
        },
    ),
    "never charged, with a cap": (
        NEVER_CHARGED | {"spending_cap": 5800},
        {
            "first_charge": "No credit is left: the next fix is the first that costs money, $29.00;"
            " the spending cap is $58.00."
        },
    ),
    "never charged, with a credit left": (
        NEVER_CHARGED | {"credits": 1},
        {"low_credit": "1 credit is left; after that each fix costs $29.00."},
    ),
    "never charged, without a price": (
        NEVER_CHARGED | {"plan": "trial"},
        {"low_credit": "No credit is left; new fixes are held."},
    ),
    "the period is not paid": (
        {"credits": 3, "plan": "pro", "subscription_id": "sub_1", "anchor": MARCH},
        {
            "unpaid_period": "The subscription's invoice is not paid yet; what credits don't cover"
            " is held."
        },
    ),
    "one credit, and the period is not paid": (
        {"credits": 1, "plan": "pro", "subscription_id": "sub_1", "anchor": MARCH},
        {
            "unpaid_period": "The subscription's invoice is not paid yet; what credits don't cover"
            " is held.",
            "low_credit": "1 credit is left; after that new fixes are held.",
        },
    ),
    "the period is paid": (
        {
            "credits": 3,
            "plan": "pro",
            "subscription_id": "sub_1",
            "anchor": MARCH,
            "paid_until": APRIL,
        },
        {},
    ),
    "parked": (
        {"credits": 3, "parked_at": NOW, "parked_why": "the customer cancelled"},
        {"parked": "Nothing is collected at present: the customer cancelled."},
    ),
    "past due": (
        {"credits": 3, "past_due": True},
        {"past_due": "A payment failed; new fixes are held."},
    ),
    "no card": (
        {"credits": 3, "card": False},
        {
            "no_payment_method": "Without a payment method, fixes are held once the credits are"
            " used up."
        },
    ),
    "far from the cap": ({"credits": 3, "spending_cap": 1000, "spent": 799}, {}),
    "near the cap": (
        {"credits": 3, "spending_cap": 1000, "spent": 800},
        {"near_cap": "$8.00 of the $10.00 spending cap is used; what would exceed it is held."},
    ),
    "at the cap": (
        {"credits": 3, "spending_cap": 1000, "spent": 1000},
        {"near_cap": "$10.00 of the $10.00 spending cap is used; what would exceed it is held."},
    ),
    "at the cap last month": (
        {
            "credits": 3,
            "spending_cap": 1000,
            "spent": 1000,
            "cycle_start": datetime(2026, 2, 1, tzinfo=UTC),
            "cycle_end": MARCH,
        },
        {},
    ),
    "held fixes": (
        {"credits": 3, "held": 2},
        {"held_fixes": "2 fixes wait for a credit or a payment."},
    ),
    "a held fix": (
        {"credits": 3, "held": 1},
        {"held_fixes": "1 fix waits for a credit or a payment."},
    ),
}


@pytest.mark.parametrize(("standing", "expected"), STANDINGS.values(), ids=STANDINGS)
def test_a_customer_is_warned_before_it_costs_or_stops_something(
    engine: Engine, standing: dict[str, Any], expected: dict[str, str]
) -> None:
    add_customer(engine, "initech", **(CHARGED_BEFORE | standing))

    found = usage(engine, "initech")

    assert cautions(found) == expected


def test_several_warnings_come_together(engine: Engine) -> None:
    add_customer(engine, "initech", plan="trial", card=False, past_due=True, held=1)

    found = usage(engine, "initech")

    assert list(cautions(found)) == ["past_due", "no_payment_method", "low_credit", "held_fixes"]
    assert isinstance(found.warnings[0], Caution)
    assert found.plan.standing == "past_due"


@pytest.mark.parametrize("past_due", [True, False])
def test_a_customer_of_whom_nothing_is_collected_says_so_before_all_else(
    engine: Engine, past_due: bool
) -> None:
    add_customer(
        engine, "initech", credits=3, past_due=past_due, parked_at=NOW, parked_why="cancelled"
    )

    found = usage(engine, "initech")

    assert found.plan.standing == "parked"
    assert next(iter(cautions(found))) == "parked"


# As the API asks.


def test_the_api_role_reads_the_usage_of_the_customer_it_has_named(api_engine: Engine) -> None:
    with api_engine.begin() as tx:
        tx.execute(text("SELECT set_config('fixbill.customer_id', 'acme', true)"))

        own = current_usage(tx, "acme", NOW, None)
        others = current_usage(tx, "globex", NOW, None)

    assert own is not None
    assert own.fixes.charged == 4
    assert others is None


def test_usage_can_be_written_as_json_and_read_back(engine: Engine) -> None:
    found = usage(engine)

    read = Usage.model_validate_json(found.model_dump_json())

    assert read == found
