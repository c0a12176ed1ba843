"""`fixbill reconcile`: whether our books and Stripe's lists say the same, and what was done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import HOUR, add_customer_with_card, one_row, owe, rows_of
from tests.cli.running import NOWHERE, Cli
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from worker.clock import Clock
from worker.collect import confirm, create, freeze
from worker.storage import tables
from worker.stripe_gateway import StripeGateway


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[RunningSandbox]:
    """One of its own, whose clock is the command's and which has no payments of other tests."""
    with running_sandbox(tmp_path / "sandbox") as one:
        yield one


@pytest.fixture
def missed(cli: Cli, sandbox: RunningSandbox, stripe: StripeGateway) -> str:
    """The intent of a payment whose collector died before it was recorded."""
    add_customer_with_card(cli.engine, sandbox)
    attempt = freeze(owe(cli.engine), cli.engine, stripe, Clock())
    assert attempt is not None
    return str(confirm(attempt, create(attempt, cli.engine, stripe), stripe).payment_intent)


@pytest.fixture
def strange(cli: Cli, sandbox: RunningSandbox) -> str:
    """The intent of a payment that names a charge of ours, by a customer we do not know."""
    client: Any = sandbox.client().v1
    stranger = client.customers.create({}).id
    card = client.payment_methods.attach("pm_card_visa", {"customer": stranger}).id
    wanted = {"amount": 2900, "currency": "usd", "customer": stranger, "payment_method": card}
    wanted |= {"confirm": True, "metadata": {"charge_id": "ch_of_ours"}}
    return str(client.payment_intents.create(wanted).id)


def test_equal_books_are_said_to_be_equal(cli: Cli) -> None:
    text, answer = cli("reconcile"), cli("reconcile", "--json")

    assert (text.code, text.out) == (0, "no difference\n")
    assert answer.code == 0
    assert (answer.json["repaired"], answer.json["parked"]) == ([], [])


def test_what_is_repaired_is_shown_and_the_second_time_there_is_no_difference(
    cli: Cli, missed: str
) -> None:
    first, second = cli("reconcile"), cli("reconcile")

    assert first.code == 0
    for word in ("repaired", "missed payment", missed, "acme", "stripe: $29.00"):
        assert word in first.out
    assert (second.code, second.out) == (0, "no difference\n")
    assert one_row(cli.engine, tables.charges)["status"] == "paid"


def test_what_is_repaired_is_told_as_json(cli: Cli, missed: str) -> None:
    charge = one_row(cli.engine, tables.charges)["charge_id"]

    answer = cli("reconcile", "--json")

    assert answer.code == 0
    assert answer.json["repaired"] == [
        {
            "kind": "missed_payment",
            "subject": missed,
            "customer_id": "acme",
            "evidence": {"stripe": "$29.00", "charge": charge},
        }
    ]


def test_what_waits_for_a_person_is_shown_every_time_and_fails_the_command(
    cli: Cli, strange: str
) -> None:
    for _ in range(2):
        text, answer = cli("reconcile"), cli("reconcile", "--json")

        assert (text.code, answer.code) == (1, 1)
        for word in ("parked", "stranger", strange, "charge: ch_of_ours"):
            assert word in text.out
        (parked,) = answer.json["parked"]
        assert (parked["kind"], parked["subject"]) == ("stranger", strange)
        assert (parked["customer_id"], parked["evidence"]["charge"]) == (None, "ch_of_ours")


def test_without_a_window_the_last_35_days_are_compared(cli: Cli) -> None:
    answer = cli("reconcile", "--json").json

    since, until = (datetime.fromisoformat(answer[name]) for name in ("since", "until"))
    assert until - since == timedelta(days=35)
    assert timedelta(0) <= datetime.now(UTC) - until + timedelta(seconds=1) < timedelta(minutes=1)


@pytest.mark.parametrize("words", [("--since", "{later}"), ("--until", "{earlier}")])
def test_only_the_window_is_compared(cli: Cli, missed: str, words: tuple[str, str]) -> None:
    now = datetime.now(UTC)
    moments = {"earlier": now - HOUR, "later": now + HOUR}
    texts = {name: f"{moment:%Y-%m-%dT%H:%M:%S}" for name, moment in moments.items()}
    option, moment = words

    done = cli("reconcile", option, moment.format(**texts))

    assert (done.code, done.out) == (0, "no difference\n")
    assert one_row(cli.engine, tables.charges)["status"] == "frozen"


def test_a_window_is_given_in_utc_as_days_or_moments(cli: Cli, missed: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    answer = cli("reconcile", "--since", "2026-01-01", "--until", f"{tomorrow:%Y-%m-%d}", "--json")

    assert answer.json["since"] == "2026-01-01T00:00:00Z"
    assert [drift["subject"] for drift in answer.json["repaired"]] == [missed]


def test_a_window_that_is_no_time_is_wrong_usage(cli: Cli) -> None:
    done = cli("reconcile", "--since", "yesterday")

    assert done.code == 2
    assert "yesterday" in done.err


def test_while_stripe_is_away_the_command_says_so_and_does_nothing(cli: Cli, missed: str) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("reconcile")

    assert done.code == 1
    assert "Stripe" in done.sentence
    assert one_row(cli.engine, tables.charges)["status"] == "frozen"
    assert rows_of(cli.engine, tables.drifts) == []
