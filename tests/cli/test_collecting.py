"""`fixbill collecting`: the big red switch, and what it leaves alone."""

from __future__ import annotations

import pytest

from tests.builders import add_customer_with_card, one_row, owe, rows_of
from tests.cli.running import Cli, somebody
from tests.sandbox.sandbox_process import RunningSandbox
from worker.due import sweep
from worker.process import open_tools
from worker.storage import tables


def test_cards_are_charged_unless_somebody_has_stopped_it(cli: Cli) -> None:
    text, answer = cli("collecting", "show"), cli("collecting", "show", "--json")

    assert (text.code, text.out) == (0, "collecting\n")
    assert answer.json == {"collecting": True, "stopped_why": None}


def test_stopping_says_why_and_stays_until_it_is_started(cli: Cli) -> None:
    stopped = cli("collecting", "stop", "--why", "a wrong price")
    shown = cli("collecting", "show", "--json")
    started = cli("collecting", "start")

    assert (stopped.code, stopped.out) == (0, "not collecting: a wrong price\n")
    assert shown.json == {"collecting": False, "stopped_why": "a wrong price"}
    assert (started.code, started.out) == (0, "collecting\n")
    assert cli("collecting", "show").out == "collecting\n"


@pytest.mark.parametrize("word", ["stop", "start"])
def test_the_second_time_changes_nothing(cli: Cli, word: str) -> None:
    first, second = (cli("collecting", word, "--json") for _ in range(2))

    assert (first.code, second.code) == (0, 0)
    assert first.json == second.json
    assert len(rows_of(cli.engine, tables.collecting)) == 1


def test_without_a_reason_an_operator_is_the_reason(cli: Cli) -> None:
    answer = cli("collecting", "stop", "--json")

    assert answer.json == {"collecting": False, "stopped_why": "stopped by an operator"}


def test_what_is_due_waits_while_it_is_stopped_and_is_collected_afterwards(
    cli: Cli, sandbox: RunningSandbox
) -> None:
    customer_id = somebody()
    stripe_customer = add_customer_with_card(cli.engine, sandbox, customer_id)
    owe(cli.engine, customer_id)
    cli("collecting", "stop")

    swept = [sweep("charge", open_tools())]
    cli("collecting", "start")
    swept += [sweep("charge", open_tools()) for _ in range(2)]

    assert swept == [0, 1, 0]
    assert one_row(cli.engine, tables.charges)["status"] == "paid"
    paid = sandbox.payments(customer=stripe_customer, status="succeeded")
    assert [each["amount"] for each in paid] == [2900]


def test_a_word_it_does_not_know_is_wrong_usage(cli: Cli) -> None:
    assert cli("collecting", "pause").code == 2
