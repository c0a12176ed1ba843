"""`fixbill contests`: what waits is listed, and decided once."""

from __future__ import annotations

import pytest

from tests.builders import add_customer, outcomes
from tests.cli.running import Cli, fixed_now
from worker.clock import Clock
from worker.contest import open_contest


@pytest.fixture
def contested(cli: Cli) -> str:
    """acme says that one of two fixes was wrong; the contest's id."""
    add_customer(cli.engine)
    cli.settle(fixed_now("fix-1"), fixed_now("fix-2"))
    with cli.engine.begin() as tx:
        opened = open_contest(tx, "acme", "fix-1", "It broke \u202e the build.", None, Clock())
    return opened.contest.contest_id


def test_what_waits_is_listed_and_shown(cli: Cli, contested: str) -> None:
    (row,) = cli("contests", "list", "--json").json
    shown = cli("contests", "show", contested)

    assert (row["contest_id"], row["fix_id"], row["status"]) == (contested, "fix-1", "open")
    assert contested in cli("contests", "list").out
    assert (shown.code, "It broke ? the build." in shown.out) == (0, True)
    assert cli("contests", "show", contested, "--json").json == row


def test_accepting_takes_the_fix_back_once(cli: Cli, contested: str) -> None:
    done = cli("contests", "accept", contested, "--why", "sorry", "--json")
    again = cli("contests", "accept", contested, "--json")

    assert (done.code, done.json["status"], done.json["decided_why"]) == (0, "accepted", "sorry")
    assert (again.code, again.json) == (0, done.json)
    assert outcomes(cli.engine) == {"fix-1": "reverted", "fix-2": "charged"}
    assert cli("contests", "list", "--json").json == []
    assert [row["status"] for row in cli("contests", "list", "--all", "--json").json] == [
        "accepted"
    ]


def test_rejecting_says_why(cli: Cli, contested: str) -> None:
    assert cli("contests", "reject", contested).code == 2
    done = cli("contests", "reject", contested, "--why", "it is in use")
    late = cli("contests", "accept", contested)

    assert (done.code, "it is in use" in done.out) == (0, True)
    assert (late.code, late.sentence) == (1, f"fixbill: {contested} was rejected already")
    assert outcomes(cli.engine)["fix-1"] == "charged"


@pytest.mark.parametrize("why", ["", " ", "a\nb", "\x1b[31m", "x" * 2001])
def test_what_the_customer_is_told_is_a_line_of_text(cli: Cli, contested: str, why: str) -> None:
    done = cli("contests", "reject", contested, "--why", why)

    assert (done.code, done.sentence[:14]) == (1, "fixbill: why: ")
    assert len(cli("contests", "list", "--json").json) == 1


@pytest.mark.parametrize("words", [["show"], ["accept"], ["reject", "--why", "no"]])
def test_what_is_not_there_is_said_in_a_sentence(cli: Cli, words: list[str]) -> None:
    done = cli("contests", words[0], "con_1", *words[1:])

    assert (done.code, done.sentence) == (1, "fixbill: there is no contest con_1")
