"""Fixes over HTTP: which there are, and what happened to one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import update

from tests.api.client import Api
from tests.api.listing import listed, told
from tests.builders import (
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    reverted,
    rows_of,
    settle_events,
)
from tests.usage.conftest import ask_card, fill
from worker.billing.answers import Answer, AnswerKind
from worker.collect import record
from worker.storage import tables

ME = "initech"


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    fill(shared_api.engine)
    return shared_api


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [each["fix_id"] for each in found]


# Which there are.


def test_fixes_are_listed_by_deployment_and_then_by_id(site: Api) -> None:
    rows = rows_of(site.engine, tables.fixes, customer_id="acme")
    rows.sort(key=lambda row: (row["deployed_at"], row["fix_id"]), reverse=True)

    found = listed(site, "fixes")

    assert ids(found) == [row["fix_id"] for row in rows]
    assert [datetime.fromisoformat(each["deployed_at"]) for each in found] == [
        row["deployed_at"] for row in rows
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("outcome=credited", {"held-2", "new"}),
        ("outcome=charged", {"paid-1", "paid-2", "owed-1", "owed-2"}),
        ("outcome=reverted", {"unseen", "held-1"}),
        ("outcome=held", set()),
        ("repository=acme/api", {"owed-2"}),
        ("repository=acme/none", set()),
        ("repository=acme/api&outcome=credited", set()),
        ("to=2026-03-15T11:00:00Z", {"paid-1", "paid-2", "new"}),
        ("to=2026-03-15T10:00:00Z", set()),
        ("from=2026-03-15T10:00:00Z&to=2026-03-15T10:00:01Z", {"paid-1", "paid-2", "new"}),
        ("from=2026-03-15T12:00:00%2B02:00&to=2026-03-15T11:00:00Z&outcome=credited", {"new"}),
        ("from=2026-03-15T13:00:00Z", set()),
        ("from=2026-03-15T13:00:00Z&to=2026-03-15T10:00:00Z", set()),
    ],
)
def test_a_list_can_be_narrowed(site: Api, query: str, found: set[str]) -> None:
    assert set(ids(listed(site, f"fixes?{query}"))) == found


def test_what_waits_is_found_at_once_and_says_for_what(site: Api) -> None:
    (held,) = told(site, "fixes?outcome=held", "umbrella")["data"]

    assert held["fix_id"] == "u-1"
    assert held["held_why"] == "no payment method"
    assert (held["price"], held["settled_at"], held["charge_id"]) == (None, None, None)


# What happened to one.


@pytest.fixture(scope="module")
def mine(shared_api: Api) -> Api:
    """A fix that was held twice over, charged, declined and taken back, and others beside it."""
    engine = shared_api.engine
    add_customer(engine, ME, card=False)
    long = [deployed("long", ME, id=each, at=NOW - 2 * HOUR) for each in ("first", "again")]
    settle_events(engine, long[0], now=NOW - HOUR)
    settle_events(engine, long[1], now=NOW - HOUR + MINUTE)
    with engine.begin() as tx:
        books, customers = tables.books, tables.customers
        able = {"has_payment_method": True, "spending_cap": 10_000}
        tx.execute(update(books).where(books.c.customer_id == ME).values(able))
        card = {"stripe_customer": "cus_1", "payment_method": "pm_1"}
        tx.execute(update(customers).where(customers.c.customer_id == ME).values(card))
    settle_events(engine, deployed("beside", ME), now=NOW - MINUTE)
    key = ask_card(engine, ME)
    declined = Answer(AnswerKind.DECLINED, "pi_1", code="lost_card", message="It was lost.")
    record(key, declined, engine, shared_api.doors.clock)
    settle_events(engine, reverted("long", ME, at=NOW), now=NOW)
    return shared_api


def test_a_fix_tells_every_event_about_it_and_what_it_did(mine: Api) -> None:
    found = told(mine, "fixes/long", ME)

    assert found["outcome"] == "reverted"
    assert [(each["event_id"], each["verdict"]) for each in found["events"]] == [
        ("first", "held"),
        ("again", "duplicate"),
        ("reverted-long", "reverted"),
    ]
    assert {each["door"] for each in found["events"]} == {"redis"}
    assert found["left_out"] == {}


def test_a_fix_tells_how_its_charge_was_collected(mine: Api) -> None:
    charge = told(mine, "fixes/long", ME)["charge"]

    (attempt,) = charge["attempts"]
    assert charge["status"] == "withdrawing"
    assert {name: attempt[name] for name in ("number", "why", "answer", "code", "message")} == {
        "number": 1,
        "why": "scheduled",
        "answer": "declined",
        "code": "lost_card",
        "message": "It was lost.",
    }
    assert (charge["refunds"], charge["disputes"], charge["left_out"]) == ([], [], {})


def test_a_fix_that_nothing_had_to_be_charged_for_has_no_charge(site: Api) -> None:
    assert told(site, "fixes/new")["charge"] is None
    assert told(site, "fixes/new")["grant_id"] == "gift"


def test_of_a_charge_a_fix_shows_the_refunds_of_its_own_and_of_the_whole(site: Api) -> None:
    one = told(site, "fixes/h-1", "hooli")
    refunds = tables.refunds
    with site.engine.begin() as tx:
        tx.execute(update(refunds).values(fix_id="h-2"))

    other, own = (told(site, f"fixes/{each}", "hooli")["charge"] for each in ("h-1", "h-2"))

    assert [each["stripe_refund"] for each in one["charge"]["refunds"]] == ["re_hooli"]
    assert [each["stripe_refund"] for each in own["refunds"]] == ["re_hooli"]
    assert other["refunds"] == []
    assert [each["funds"] for each in own["disputes"]] == ["lost"]


def test_a_fix_that_was_taken_back_before_it_came_is_there(site: Api) -> None:
    found = told(site, "fixes/unseen")

    assert (found["outcome"], found["price"]) == ("reverted", None)
    assert [each["verdict"] for each in found["events"]] == ["reverted_unseen"]


def test_a_fix_in_a_list_is_the_fix(site: Api) -> None:
    for each in listed(site, "fixes"):
        found = told(site, f"fixes/{each['fix_id']}")
        assert {name: found[name] for name in each} == each


def test_an_answer_changes_with_what_happens(api: Api) -> None:
    add_customer(api.engine, card=False)
    settle_events(api.engine, deployed())
    first = told(api, "fixes/fix-1")
    give_credits(api.engine, now=NOW)
    settle_events(api.engine, deployed("fix-2"))

    second = told(api, "fixes/fix-1")

    assert (first["outcome"], second["outcome"]) == ("held", "credited")
    assert second["settled_at"] is not None
