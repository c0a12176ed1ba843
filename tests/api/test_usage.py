"""What a customer may ask of the current cycle, how fresh the answer is, and who gets none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text, update

from schemas.events import Event
from schemas.ids import new_id
from schemas.inbox import CONSUMER, GROUP, PARTITIONS, partition_of, stream_of
from tests.api.client import Api, problem_in
from tests.builders import (
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    add_customer_with_card,
    deployed,
    give_credits,
    owe,
    publish_all,
    reverted,
    rows_of,
    settle_events,
)
from tests.sandbox.sandbox_process import RunningSandbox
from worker.collect import collect
from worker.storage import tables
from worker.stripe_gateway import StripeGateway

MARCH, APRIL = "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"
MARCH_1 = datetime(2026, 3, 1, tzinfo=UTC)


def usd_answer(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


def set_book(api: Api, customer_id: str = "acme", **values: object) -> None:
    """As an operator would."""
    with api.engine.begin() as tx:
        books = tables.books
        tx.execute(update(books).where(books.c.customer_id == customer_id).values(values))


def time_in(answer: dict[str, Any], field: str = "as_of") -> datetime:
    return datetime.fromisoformat(answer[field])


@pytest.fixture
def busy(api: Api, sandbox: RunningSandbox, stripe: StripeGateway) -> Api:
    """A customer with all that can be: a credit used, money paid and owed, a revert, a held fix."""
    add_customer_with_card(api.engine, sandbox, "acme")
    give_credits(api.engine, credits=2, expires_at=NOW + timedelta(days=30))
    give_credits(api.engine, credits=1, key="never", source="signup")
    credited = [deployed(f"credited-{n}", repository="acme/api") for n in range(3)]
    settle_events(api.engine, *credited)
    paid = owe(api.engine, fix_id="paid")
    assert collect(paid, api.engine, stripe, api.doors.clock) == "paid"
    settle_events(api.engine, deployed("open"), deployed("taken-back"))
    settle_events(api.engine, reverted("taken-back", at=NOW))
    set_book(api, spending_cap=8000)
    settle_events(api.engine, deployed("over-the-cap", repository="acme/api"))
    give_credits(api.engine, key="late", expires_at=NOW - HOUR)
    return api


def test_usage_says_all_there_is_of_a_cycle(busy: Api) -> None:
    got = busy.usage()

    answer = got.json()
    assert got.status_code == 200
    assert time_in(answer) <= busy.doors.clock.wall()
    del answer["as_of"], answer["transactions"], answer["forecast"]
    assert answer == {
        "customer_id": "acme",
        "plan": {
            "code": "payg",
            "title": "Pay as you go",
            "version": "2026-01-01",
            "price_per_fix": usd_answer(2900),
            "subscription_price": None,
            "subscription_status": None,
            "paid_until": None,
            "ends_at": None,
            "standing": "good",
        },
        "cycle": {"number": 1, "start": MARCH, "end": APRIL},
        "fixes": {"credited": 3, "charged": 2, "held": 1, "reverted": 1},
        "held_now": 1,
        "repositories": [
            {
                "repository": "acme/api",
                "fixes": {"credited": 3, "charged": 0, "held": 1, "reverted": 0},
                "charged": usd_answer(0),
            },
            {
                "repository": "acme/shop",
                "fixes": {"credited": 0, "charged": 2, "held": 0, "reverted": 1},
                "charged": usd_answer(5800),
            },
        ],
        "credits": {"balance": 0, "grants": []},
        "money": {
            "charged": usd_answer(5800),
            "paid": usd_answer(2900),
            "subscription": usd_answer(0),
            "open": usd_answer(2900),
        },
        "limits": {"spending_cap": usd_answer(8000), "spent": usd_answer(5800)},
        "warnings": [
            {
                "code": "low_credit",
                "message": "No credit is left; each fix costs $29.00.",
            },
            {
                "code": "held_fixes",
                "message": "1 fix waits for a credit or a payment.",
            },
        ],
    }


def test_transactions_are_the_newest_ten_and_say_what_they_moved(busy: Api) -> None:
    transactions = busy.usage().json()["transactions"]

    assert [each["kind"] for each in transactions] == [
        "grant",
        "uncharge",
        "charge",
        "charge",
        "pay",
        "charge",
        "consume",
        "consume",
        "consume",
        "grant",
    ]
    assert [each["seq"] for each in transactions] == list(range(11, 1, -1))
    paid = next(each for each in transactions if each["kind"] == "pay")
    assert paid["money"] == usd_answer(2900)
    assert paid["credits"] is None
    used = next(each for each in transactions if each["kind"] == "consume")
    assert (used["credits"], used["money"], used["fix_id"]) == (1, None, "credited-2")


def test_credits_are_listed_in_the_order_of_their_use_without_those_that_expired(
    api: Api,
) -> None:
    add_customer(api.engine)
    soon, later = NOW + HOUR, NOW + timedelta(days=90)
    give_credits(api.engine, credits=3, key="later", expires_at=later)
    give_credits(api.engine, credits=2, key="soon", expires_at=soon)
    give_credits(api.engine, credits=7, key="gone", expires_at=NOW - MINUTE)
    give_credits(api.engine, credits=5, key="signup", source="signup")

    answer = api.usage().json()["credits"]

    assert answer["balance"] == 10
    assert [(each["grant_id"], each["remaining"]) for each in answer["grants"]] == [
        ("signup", 5),
        ("soon", 2),
        ("later", 3),
    ]
    assert datetime.fromisoformat(answer["grants"][1]["expires_at"]) == soon


def test_a_customer_without_a_fix_has_an_empty_cycle(api: Api) -> None:
    add_customer(api.engine, "newborn", plan="trial", card=False)

    answer = api.usage("newborn").json()

    assert answer["fixes"] == {"credited": 0, "charged": 0, "held": 0, "reverted": 0}
    assert answer["repositories"] == answer["transactions"] == []
    assert answer["money"] == dict.fromkeys(
        ("charged", "paid", "subscription", "open"), usd_answer(0)
    )
    assert answer["plan"]["price_per_fix"] is None


LAST_CYCLE = {"cycle_start": datetime(2026, 2, 1, tzinfo=UTC), "cycle_end": MARCH_1}
CREDITS = {"credits": 9}
WARNINGS: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (CREDITS, {}, "", ""),
    (CREDITS, {"past_due": True}, "past_due", "A payment failed; new fixes are held."),
    (
        CREDITS | {"card": False},
        {},
        "no_payment_method",
        "Without a payment method, fixes are held once the credits are used up.",
    ),
    (
        {"credits": 2},
        {},
        "low_credit",
        "2 credits are left; after that each fix costs $29.00.",
    ),
    ({"credits": 1}, {}, "low_credit", "1 credit is left; after that each fix costs $29.00."),
    ({"plan": "trial"}, {}, "low_credit", "No credit is left; new fixes are held."),
    (
        {},
        {},
        "first_charge",
        "No credit is left: the next fix is the first that costs money, $29.00;"
        " no spending cap is set.",
    ),
    (
        {},
        {"spending_cap": 10_000},
        "first_charge",
        "No credit is left: the next fix is the first that costs money, $29.00;"
        " the spending cap is $100.00.",
    ),
    (
        {},
        {"revenue": -2900, "cash": 2900},
        "low_credit",
        "No credit is left; each fix costs $29.00.",
    ),
    (CREDITS, {"held": 1}, "held_fixes", "1 fix waits for a credit or a payment."),
    (CREDITS, {"held": 3}, "held_fixes", "3 fixes wait for a credit or a payment."),
    (
        CREDITS,
        {"parked_at": NOW, "parked_why": "cancelled"},
        "parked",
        "Nothing is collected at present: cancelled.",
    ),
    (
        CREDITS,
        {"spending_cap": 10_000, "spent": 8000},
        "near_cap",
        "$80.00 of the $100.00 spending cap is used; what would exceed it is held.",
    ),
    (
        CREDITS,
        {"spending_cap": 10_000, "spent": 7999},
        "",
        "",
    ),
    (
        CREDITS,
        {"spending_cap": 10_000, "spent": 10_000} | LAST_CYCLE,
        "",
        "",
    ),
]


@pytest.mark.parametrize(
    ("customer", "book", "code", "message"),
    WARNINGS,
    ids=[
        "nothing to say",
        "past due",
        "without a card",
        "few credits",
        "one credit",
        "a trial without credits",
        "before the first charge",
        "before the first charge, with a cap",
        "not before the first charge",
        "one held fix",
        "held fixes",
        "parked",
        "near the cap",
        "below the cap",
        "the cap of another cycle",
    ],
)
def test_a_warning_says_what_costs_or_stops_something(
    shared_api: Api, customer: dict[str, Any], book: dict[str, Any], code: str, message: str
) -> None:
    customer_id = add_customer(shared_api.engine, new_id("warned"), **customer)
    if book:
        set_book(shared_api, customer_id, **book)

    warnings = shared_api.usage(customer_id).json()["warnings"]

    assert warnings == ([{"code": code, "message": message}] if code else [])


def test_standing_says_that_a_payment_failed_or_nothing_is_collected(shared_api: Api) -> None:
    states: dict[str, dict[str, Any]] = {
        "past_due": {"past_due": True},
        "parked": {"parked_at": NOW, "parked_why": "cancelled"},
    }
    for standing, book in states.items():
        customer_id = add_customer(shared_api.engine, new_id("standing"), **book)

        assert shared_api.usage(customer_id).json()["plan"]["standing"] == standing


def test_while_nothing_waits_an_answer_is_as_fresh_as_the_moment_it_is_given(api: Api) -> None:
    add_customer(api.engine)
    api.wait_for(deployed(), seconds=0)
    api.settled()
    asked = api.doors.clock.wall()

    first, second = (time_in(api.usage().json()) for _ in range(2))

    assert abs(first - asked) < timedelta(seconds=30)
    assert second > first


def unread(api: Api, event: Event) -> datetime:
    publish_all(api.redis, [event])
    return entry_time(api, event)


def in_hand(api: Api, event: Event) -> datetime:
    """Delivered to a settler that has not settled it yet."""
    stream = stream_of(partition_of(event.customer_id))
    api.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
    publish_all(api.redis, [event])
    api.redis.xreadgroup(GROUP, CONSUMER, {stream: ">"})
    return entry_time(api, event)


def entry_time(api: Api, event: Event) -> datetime:
    found: Any = api.redis.xrevrange(stream_of(partition_of(event.customer_id)), count=1)
    milliseconds = int(found[0][0].split(b"-")[0])
    return datetime.fromtimestamp(milliseconds / 1000, api.doors.clock.wall().tzinfo)


@pytest.mark.parametrize("waits", [unread, in_hand], ids=["unread", "in hand"])
def test_while_an_event_waits_the_answer_is_as_fresh_as_that_event(api: Api, waits: Any) -> None:
    add_customer(api.engine)
    accepted_at = waits(api, deployed())
    publish_all(api.redis, [deployed("fix-2")])

    waiting = time_in(api.usage().json())
    api.settled()
    settled = time_in(api.usage().json())

    assert waiting == accepted_at
    assert settled > accepted_at


def test_what_waits_in_another_partition_makes_no_answer_older(api: Api) -> None:
    add_customer(api.engine)
    others = (f"other-{n}" for n in range(PARTITIONS * 2))
    other = next(each for each in others if partition_of(each) != partition_of("acme"))
    publish_all(api.redis, [deployed(customer_id=other)])
    asked = api.doors.clock.wall()

    as_of = time_in(api.usage().json())

    assert as_of >= asked


def test_with_redis_away_the_answer_is_as_fresh_as_the_last_settled_entry(
    api: Api, redis_away: Redis
) -> None:
    add_customer(api.engine)
    accepted_at = unread(api, deployed())
    api.settled()

    got = api.behind(redis=redis_away).usage()

    assert got.status_code == 200
    assert time_in(got.json()) == accepted_at
    assert got.json()["fixes"]["charged"] == 1


def test_with_redis_away_and_nothing_settled_the_answer_is_as_old_as_its_cycle(
    api: Api, redis_away: Redis
) -> None:
    add_customer(api.engine)

    got = api.behind(redis=redis_away).usage()

    assert got.json()["as_of"] == MARCH


def test_nothing_of_another_customer_is_ever_in_an_answer(api: Api) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(api.engine, customer_id, credits=1)
    same = {"repository": "shared/repository"}
    settle_events(
        api.engine,
        deployed("fix-1", "acme", **same),
        deployed("secret-1", "globex", **same),
        deployed("secret-2", "globex", repository="globex/secret"),
    )

    answer = api.usage("acme")

    assert "globex" not in answer.text
    assert "secret" not in answer.text
    assert answer.json()["fixes"] == {"credited": 1, "charged": 0, "held": 0, "reverted": 0}
    assert len(rows_of(api.engine, tables.transfers, customer_id="globex")) == 3


def test_the_login_of_the_api_sees_no_row_of_a_customer_it_has_not_named(
    api: Api, api_engine: Engine
) -> None:
    add_customer(api.engine, credits=1)
    settle_events(api.engine, deployed())

    with api_engine.begin() as tx:
        unnamed = [
            tx.scalar(text(f"SELECT count(*) FROM {table}"))
            for table in ("customers", "books", "fixes", "transfers", "grants", "events", "usage")
        ]

    assert unnamed == [0] * 7
    assert api.usage().json()["fixes"]["credited"] == 1


def test_while_the_rows_are_locked_one_is_told_to_come_again(api: Api, api_engine: Engine) -> None:
    add_customer(api.engine)
    # On the connection that the pool hands out again.
    with api_engine.connect() as connection:
        connection.exec_driver_sql("SET lock_timeout = '50ms'")
        connection.commit()

    with api.engine.begin() as tx:
        tx.execute(text("LOCK TABLE books IN ACCESS EXCLUSIVE MODE"))
        refused = api.usage()

    assert problem_in(refused, 503)["type"].endswith("database-away")
    assert api.usage().status_code == 200


def test_a_customer_of_others_is_as_unknown_as_one_that_does_not_exist(api: Api) -> None:
    add_customer(api.engine, "acme")
    key = api.key("read", customers=["acme"])

    before = api.usage("globex", key)
    add_customer(api.engine, "globex")
    after = api.usage("globex", key)

    assert problem_in(before, 404) == problem_in(after, 404)
    assert before.content == after.content
    assert api.usage("acme", key).status_code == 200
    assert problem_in(api.usage("globex2"), 404) | {"detail": ""} == after.json() | {"detail": ""}


@pytest.mark.parametrize(
    "path",
    [
        "a b",
        "%00",
        "%0a",
        "acme%0a",
        "%2e%2e%2fglobex",
        "acme%2f..",
        "acme'--",
        "acme%27%20OR%201=1",
        "%ff",
        "%ed%a0%80",
        "%F0%9F%92%B8",
        "x" * 129,
        "x" * 60_000,
        "{customer_id}",
        "%25s",
    ],
)
def test_a_hostile_id_is_no_customer_and_no_error_of_ours(shared_api: Api, path: str) -> None:
    got = shared_api.usage(path)

    assert got.status_code in {404, 422, 431}
    assert problem_in(got, got.status_code)["detail"].isprintable()
