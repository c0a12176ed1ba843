"""`fixbill quarantine`: what could not be settled is shown, and settled once its cause is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.api.client import settle_inbox
from tests.builders import (
    HOUR,
    add_customer,
    entry,
    one_row,
    outcomes,
    publish_all,
    rows_of,
    settle_entries,
)
from tests.cli.running import Cli, fixed_now, hidden_in
from worker.clock import Clock
from worker.storage import tables

REPOSITORY = Path(__file__).parents[2]
EARLIER = Clock(timedelta(hours=-2))


def quarantined(cli: Cli) -> str:
    """The id of the one entry in quarantine."""
    return str(one_row(cli.engine, tables.quarantine, replayed_at=None)["quarantine_id"])


@pytest.fixture
def early(cli: Cli) -> Cli:
    """A fix that came when our clock was two hours behind: from the future, it seemed."""
    add_customer(cli.engine)
    publish_all(cli.redis, [fixed_now()])
    settle_inbox(cli.engine, cli.redis, EARLIER)
    assert outcomes(cli.engine) == {}
    return cli


def test_an_entry_is_listed_with_its_reason(early: Cli) -> None:
    shown, listed = early("quarantine", "list"), early("quarantine", "list", "--json")

    (row,) = listed.json
    assert (shown.code, listed.code) == (0, 0)
    assert (row["reason"], row["customer_id"], row["event_id"]) == (
        "future",
        "acme",
        "deployed-fix-1",
    )
    assert [
        word for word in (row["quarantine_id"], "future", "acme") if word not in shown.out
    ] == []


def test_an_empty_quarantine_is_listed_as_such(cli: Cli) -> None:
    assert cli("quarantine", "list").code == 0
    assert cli("quarantine", "list", "--json").json == []


def test_the_newest_are_listed_first_and_no_more_than_asked_for(cli: Cli) -> None:
    for number in range(3):
        at = datetime.now(UTC) + number * HOUR
        settle_entries(cli.engine, [entry(b"garbage %d" % number, at=at)], now=at)

    listed = cli("quarantine", "list", "--limit", "2", "--json")

    assert [row["body"] for row in listed.json] == ["garbage 2", "garbage 1"]


def test_an_entry_is_shown_with_its_bytes(early: Cli) -> None:
    shown = early("quarantine", "show", quarantined(early))
    answer = early("quarantine", "show", quarantined(early), "--json")

    assert (shown.code, answer.code) == (0, 0)
    assert json.loads(answer.json["body"])["id"] == "deployed-fix-1"
    assert "deployed-fix-1" in shown.out


def test_bytes_that_are_no_text_are_shown_without_what_a_terminal_would_act_upon(
    cli: Cli,
) -> None:
    settle_entries(cli.engine, [entry(b"\x1b[31m\x00\xff\xe2\x80\xaered\r\n")])

    answers = [
        cli("quarantine", *words)
        for words in (["list"], ["show", quarantined(cli)], ["show", quarantined(cli), "--json"])
    ]

    assert [each.code for each in answers] == [0, 0, 0]
    assert [hidden_in(each.out) for each in answers] == [set(), set(), set()]
    assert "red" in answers[1].out


def test_an_entry_is_settled_once_after_its_cause_is_gone(early: Cli) -> None:
    quarantine_id = quarantined(early)

    first = early("quarantine", "replay", quarantine_id)
    second = early("quarantine", "replay", quarantine_id)

    assert (first.code, first.out) == (0, "charged\n")
    assert second.code == 1
    assert second.sentence == f"{quarantine_id} is not in quarantine, or was replayed before"
    assert outcomes(early.engine) == {"fix-1": "charged"}
    assert len(rows_of(early.engine, tables.transfers)) == 1
    assert early("quarantine", "list", "--json").json == []


def test_a_replay_says_its_outcome_as_json(early: Cli) -> None:
    quarantine_id = quarantined(early)

    done = early("quarantine", "replay", quarantine_id, "--json")

    assert done.json == {"quarantine_id": quarantine_id, "outcome": "charged"}


def test_a_replay_whose_cause_is_still_there_goes_back_to_quarantine(cli: Cli) -> None:
    settle_entries(cli.engine, [entry(b"garbage")])
    first = quarantined(cli)

    done = cli("quarantine", "replay", first)

    assert done.code == 1
    assert quarantined(cli) != first
    assert rows_of(cli.engine, tables.transfers) == []


def test_a_replay_of_what_was_settled_meanwhile_bills_nothing(early: Cli) -> None:
    publish_all(early.redis, [fixed_now("another")])
    cli_event = one_row(early.engine, tables.quarantine)["body"]
    now = datetime.now(UTC)
    settle_entries(early.engine, [entry(cli_event, at=now)], now=now)
    settled = rows_of(early.engine, tables.transfers)

    done = early("quarantine", "replay", quarantined(early))

    assert (done.code, done.out) == (0, "duplicate\n")
    assert rows_of(early.engine, tables.transfers) == settled
    assert len(settled) == 1


def test_a_replay_tells_the_outcome_of_its_own_entry_when_others_settle_along_with_it(
    cli: Cli,
) -> None:
    now = datetime.now(UTC)
    settle_entries(cli.engine, [entry(fixed_now("waited"), at=now)], now=now)
    settle_entries(cli.engine, [entry(fixed_now("early"), at=now)], now=now - 2 * HOUR)
    add_customer(cli.engine, credits=1)

    done = cli("quarantine", "replay", quarantined(cli))

    assert outcomes(cli.engine) == {"waited": "credited", "early": "charged"}
    assert done.out == "charged\n"


def test_a_replay_that_cannot_be_settled_even_now_is_one_sentence_and_stays_in_quarantine(
    early: Cli,
) -> None:
    with early.engine.begin() as tx:
        tx.execute(update(tables.books).values(plan_version=date(1999, 1, 1)))
    quarantine_id = quarantined(early)

    ended = subprocess.run(
        [sys.executable, "-m", "worker.cli.main", "quarantine", "replay", quarantine_id],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert rows_of(early.engine, tables.quarantine, replayed_at=None)


@pytest.mark.parametrize("verb", ["show", "replay"])
def test_an_id_that_is_not_in_quarantine_is_one_sentence(cli: Cli, verb: str) -> None:
    done = cli("quarantine", verb, "qua_nothing")

    assert done.code == 1
    assert "qua_nothing" in done.sentence
