"""`fixbill credits buy` and `balance`: what they say, and how they end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from schemas.answers import BalanceAnswer
from tests.builders import DAY, HOUR, one_row, rows_of
from tests.buying import AUTHENTICATES, DECLINES, Buyer
from tests.cli.running import NOWHERE, Cli, fixed_now, somebody
from tests.sandbox.sandbox_process import RunningSandbox
from worker.clock import Clock
from worker.storage import tables
from worker.stripe_gateway import StripeGateway


@pytest.fixture
def joins(cli: Cli, sandbox: RunningSandbox, stripe: StripeGateway) -> Callable[..., Buyer]:
    """A customer, by the clock on the wall as every command sees it."""

    def with_card(card: str = "pm_card_visa", plan: str = "payg") -> Buyer:
        customer_id = somebody()
        cli("customers", "add", customer_id, "--plan", plan)
        cli("customers", "add-payment-method", customer_id, card)
        row = one_row(cli.engine, tables.customers, customer_id=customer_id)
        at_stripe = row["stripe_customer"]
        return Buyer(customer_id, at_stripe, cli.engine, sandbox, stripe, Clock())

    return with_card


@pytest.fixture
def buyer(joins: Callable[..., Buyer]) -> Buyer:
    return joins()


# Bought.


def test_credits_are_bought_and_said_to_be(cli: Cli, buyer: Buyer) -> None:
    done = cli("credits", "buy", buyer.customer_id, "3", "--key", "july", "--json")

    assert done.code == 0
    assert done.json == {
        "customer_id": buyer.customer_id,
        "key": "july",
        "status": "paid",
        "credits": 3,
        "amount": {"amount": 8700, "currency": "usd"},
        "payment_intent": buyer.top_up["payment_intent"],
        "why": None,
    }
    assert buyer.paid_at_stripe() == [8700]


def test_the_same_command_again_says_the_same_and_pays_nothing(cli: Cli, buyer: Buyer) -> None:
    words = ("credits", "buy", buyer.customer_id, "3", "--key", "july")
    first, second = cli(*words), cli(*words)

    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out
    assert {"paid", "$87.00", "july"} <= set(first.out.split())
    assert buyer.paid_at_stripe() == [8700]


def test_the_same_command_in_two_processes_at_once_is_paid_once(cli: Cli, buyer: Buyer) -> None:
    """lago-api#5870: the same top-up that is sent twice at once."""
    words = ["credits", "buy", buyer.customer_id, "3", "--key", "july", "--json"]
    command = [sys.executable, "-m", "worker.cli.main", *words]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [each.communicate(timeout=120)[1] for each in processes]

    assert [b"Traceback" in each for each in said] == [False] * 3
    buyer.sweep_until_quiet()
    assert (buyer.paid_at_stripe(), buyer.book["credits"]) == ([8700], 3)
    assert buyer.broken() == []


def test_another_number_under_the_same_key_is_one_sentence(cli: Cli, buyer: Buyer) -> None:
    cli("credits", "buy", buyer.customer_id, "3", "--key", "july")

    done = cli("credits", "buy", buyer.customer_id, "4", "--key", "july", "--json")

    assert (done.code, done.sentence) == (1, "fixbill: the key july has bought 3 credits")


@pytest.mark.parametrize(("card", "why"), [(DECLINES, "declined"), (AUTHENTICATES, "authenti")])
def test_a_card_that_says_no_owes_nothing_and_exits_with_1(
    cli: Cli, joins: Callable[..., Buyer], card: str, why: str
) -> None:
    buyer = joins(card)

    done = cli("credits", "buy", buyer.customer_id, "3", "--key", "july", "--json")
    text = cli("credits", "buy", buyer.customer_id, "3", "--key", "july")

    assert (done.code, done.json["status"], text.code) == (1, "declined", 1)
    assert why in done.json["why"]
    assert done.json["why"] in text.out
    assert (buyer.paid_at_stripe(), buyer.standing) == ([], {})
    assert buyer.intents() == ["canceled"]
    assert buyer.broken() == []


def test_while_stripe_is_away_it_is_written_down_and_paid_later(cli: Cli, buyer: Buyer) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("credits", "buy", buyer.customer_id, "3", "--key", "july", "--json")

    assert (done.code, done.json["status"], done.json["why"]) == (1, "requested", None)
    buyer.sweep_until_quiet()
    assert (buyer.paid_at_stripe(), buyer.book["credits"]) == ([8700], 3)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("0", "--key", "july"), 2),
        (("1000001", "--key", "july"), 2),
        (("-1", "--key", "july"), 2),
        (("three", "--key", "july"), 2),
        (("3",), 2),
        (("3", "--key", ""), 1),
        (("3", "--key", "in july"), 1),
        (("3", "--key", "x" * 300), 1),
    ],
)
def test_what_cannot_be_bought_is_refused(
    cli: Cli, buyer: Buyer, words: tuple[str, ...], code: int
) -> None:
    done = cli("credits", "buy", buyer.customer_id, *words)

    assert (done.code, done.out) == (code, "")
    assert "Traceback" not in done.err
    assert rows_of(cli.engine, tables.top_ups) == []
    assert buyer.intents() == []


def test_who_has_no_card_and_who_is_not_there_are_told_so(cli: Cli) -> None:
    cli("customers", "add", "acme", "--plan", "payg")

    without = cli("credits", "buy", "acme", "3", "--key", "july")
    nobody = cli("credits", "buy", "nobody", "3", "--key", "july")

    assert without.sentence.startswith("fixbill: acme has no card: `fixbill customers add-")
    assert nobody.sentence.startswith("fixbill: there is no customer nobody;")
    assert (without.code, nobody.code) == (1, 1)


def test_nothing_is_bought_while_collecting_is_stopped(cli: Cli, buyer: Buyer) -> None:
    cli("collecting", "stop", "--why", "a wrong price")

    done = cli("credits", "buy", buyer.customer_id, "3", "--key", "july")

    assert (done.code, done.sentence) == (1, "fixbill: collecting is stopped: a wrong price")


# The balance.


@pytest.fixture
def moment(cli: Cli, buyer: Buyer) -> datetime:
    """When there were three credits; now there are ten, and a fix that is owed."""
    now = datetime.now(UTC).replace(microsecond=0)
    cli("credits", "buy", buyer.customer_id, "3", "--key", "july")
    with cli.engine.begin() as tx:
        mine = tables.books.c.customer_id == buyer.customer_id
        tx.execute(update(tables.books).where(mine).values(clock_offset=2 * HOUR))
    cli("credits", "grant", buyer.customer_id, "7", "--key", "gift")
    return now + HOUR


def test_the_balance_now_and_then(cli: Cli, buyer: Buyer, moment: datetime) -> None:
    now = cli("credits", "balance", buyer.customer_id, "--json")
    then = cli("credits", "balance", buyer.customer_id, "--at", moment.isoformat(), "--json")

    assert (now.code, then.code) == (0, 0)
    assert [BalanceAnswer.model_validate(each.json).credits for each in (now, then)] == [10, 3]
    assert then.json["grants"] == [{"grant_id": "top_up:july", "credits": 3}]
    assert datetime.fromisoformat(then.json["at"]) == moment


def test_the_balance_as_text(cli: Cli, buyer: Buyer, moment: datetime) -> None:
    done = cli("credits", "balance", buyer.customer_id)

    words = [line.split() for line in done.out.splitlines()]
    assert ["credits", "10"] in words
    assert ["gift", "7"] in words
    assert ["top_up:july", "3"] in words
    assert ["owed", "$0.00"] in words
    assert done.code == 0


def test_what_was_owed_is_said_too(cli: Cli, buyer: Buyer) -> None:
    cli.settle(fixed_now("fix-1", buyer.customer_id))

    answer = cli("credits", "balance", buyer.customer_id, "--json").json

    assert answer["owed"] == {"amount": 2900, "currency": "usd"}
    assert (answer["credits"], answer["grants"]) == (0, [])


def test_a_time_without_a_zone_is_utc_and_any_zone_will_do(
    cli: Cli, buyer: Buyer, moment: datetime
) -> None:
    written = [
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        moment.strftime("%Y-%m-%dT%H:%M:%S"),
        moment.strftime("%Y-%m-%d %H:%M:%S"),
        (moment + 5 * HOUR + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%S+05:30"),
    ]

    answers: list[Any] = [
        cli("credits", "balance", buyer.customer_id, "--at", each, "--json").json
        for each in written
    ]

    assert answers == answers[:1] * 4
    assert answers[0]["credits"] == 3


@pytest.mark.parametrize("day", ["2020-01-01", "0001-01-01"])
def test_before_anything_happened_there_was_nothing(cli: Cli, buyer: Buyer, day: str) -> None:
    done = cli("credits", "balance", buyer.customer_id, "--at", day, "--json")

    assert (done.code, done.json["credits"]) == (0, 0)


@pytest.mark.parametrize(
    "at",
    ["soon", "", "2026-13-01", "2026-02-30T00:00:00Z", "12:00", "1e9", "0001-01-01T00:00:00+14:00"],
)
def test_what_is_no_time_is_wrong_usage(cli: Cli, buyer: Buyer, at: str) -> None:
    done = cli("credits", "balance", buyer.customer_id, "--at", at)

    assert (done.code, done.out) == (2, "")
    assert "is no time such as 2026-10-31T23:59:59Z" in done.err


def test_the_future_is_refused(cli: Cli, buyer: Buyer) -> None:
    tomorrow = (datetime.now(UTC) + DAY).strftime("%Y-%m-%d %H:%M:%SZ")
    in_another_zone = (datetime.now(UTC) + DAY - 8 * HOUR).strftime("%Y-%m-%dT%H:%M:%S-08:00")

    for at in (tomorrow, in_another_zone):
        done = cli("credits", "balance", buyer.customer_id, "--at", at, "--json")
        assert done.code == 1
        assert f"at: {tomorrow[:15]}" in done.sentence
        assert "lies ahead of" in done.sentence


def test_nobody_has_no_balance(cli: Cli) -> None:
    done = cli("credits", "balance", "nobody", "--json")

    assert done.code == 1
    assert done.sentence.startswith("fixbill: there is no customer nobody;")
