"""The balance at a moment over HTTP; `tests/usage/test_balance.py` has the rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.api.client import Api, problem_in
from tests.api.listing import ask, told
from tests.builders import DAY, HOUR, NOW, one_row
from tests.usage.conftest import fill
from worker.clock import Clock
from worker.storage import tables
from worker.storage.clock import move_clock_of


@pytest.fixture(scope="module")
def site(shared_api: Api) -> Api:
    """An hour after everything has happened."""
    fill(shared_api.engine)
    return shared_api.behind(clock=Clock(NOW + HOUR - datetime.now(UTC)))


def test_without_a_moment_it_is_the_balance_of_now(site: Api) -> None:
    book = one_row(site.engine, tables.books, customer_id="acme")

    found = told(site, "balance")

    assert found["customer_id"] == "acme"
    assert (found["credits"], found["owed"]["amount"]) == (book["credits"], book["receivable"])
    assert found["own_money"] == {"amount": -book["unapplied"], "currency": "usd"}
    assert sum(each["credits"] for each in found["grants"]) == found["credits"]


@pytest.mark.parametrize(
    ("at", "credits", "owed"),
    [
        ("2026-03-15T11:30:00Z", 0, 5800),
        ("2026-03-15T12:30:00%2B01:00", 0, 5800),
        ("2026-03-15T10:59:59.999999Z", 0, 0),
        ("1970-01-01T00:00:00Z", 0, 0),
        ("0001-01-01T00:00:00Z", 0, 0),
    ],
)
def test_of_a_moment_that_is_past_it_is_what_the_ledger_knew(
    site: Api, at: str, credits: int, owed: int
) -> None:
    found = told(site, f"balance?at={at}")

    assert (found["credits"], found["owed"]["amount"]) == (credits, owed)


@pytest.mark.parametrize("at", ["2026-03-15T14:00:00Z", "9999-12-31T23:59:59Z"])
def test_nobody_knows_what_it_will_be(site: Api, at: str) -> None:
    got = problem_in(ask(site, f"balance?at={at}"), 422)

    assert got["field"] == "at"
    assert "lies ahead" in got["detail"]


def test_a_customer_with_a_clock_of_their_own_asks_by_that(site: Api) -> None:
    with site.engine.begin() as tx:
        move_clock_of(tx, "umbrella", 20 * DAY)
    ahead = f"{NOW + 20 * DAY - HOUR:%Y-%m-%dT%H:%M:%SZ}"

    assert ask(site, f"balance?at={ahead}", "umbrella").status_code == 200
    assert told(site, "balance?at=0001-01-01T00:00:00Z", "umbrella")["credits"] == 0
    problem_in(ask(site, f"balance?at={ahead}"), 422)
