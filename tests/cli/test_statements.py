"""`fixbill statements`: what closed cycles came to, the open one so far, a month's export."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest

from schemas.answers import Statement
from tests.builders import MARCH, NOW, add_customer, deployed, settle_events
from tests.cli.running import Cli
from tests.stating import APRIL_CLOSED, MARCH_CLOSED, pass_time, stated, write_statements
from worker.links import Links
from worker.usage.month_end import COLUMNS

PUBLIC, SECRET = "https://billing.example", "what signs the links of these tests"


@pytest.fixture
def told(cli: Cli) -> Cli:
    """acme has statements of March and April, and is in May."""
    add_customer(cli.engine, credits=1)
    settle_events(cli.engine, *(deployed(f"fix-{number}") for number in range(3)))
    pass_time(cli.engine, APRIL_CLOSED)
    write_statements(cli.engine)
    return cli


def test_statements_are_listed_newest_first(told: Cli) -> None:
    text, answer = told("statements", "list", "acme"), told("statements", "list", "acme", "--json")

    assert (text.code, answer.code) == (0, 0)
    assert [each["number"] for each in answer.json] == [2, 1]
    assert answer.json[1]["fixes"] == {"credited": 1, "charged": 2, "reverted": 0}
    assert "$58.00" in text.out


def test_a_list_has_the_length_that_is_wished(told: Cli) -> None:
    done = told("statements", "list", "acme", "--limit", "1", "--json")

    assert [each["number"] for each in done.json] == [2]


def test_a_statement_is_shown_as_it_was_written(told: Cli) -> None:
    text, answer = (
        told("statements", "show", "acme", "1"),
        told("statements", "show", "acme", "1", "--json"),
    )

    assert Statement.model_validate_json(answer.out) == stated(told.engine)
    for line in ("final", "acme/shop", "$58.00", "payg 2026-01-01"):
        assert line in text.out


def test_a_statement_is_written_as_a_page(told: Cli, tmp_path: Path) -> None:
    page = tmp_path / "statement.html"

    done = told("statements", "show", "acme", "1", "--html", str(page))

    assert (done.code, done.out) == (0, "")
    assert "<h1>Statement 1</h1>" in page.read_text()


def test_a_page_and_json_can_be_had_at_once(told: Cli, tmp_path: Path) -> None:
    page = tmp_path / "statement.html"

    done = told("statements", "preview", "acme", "--html", str(page), "--json")

    assert done.json["status"] == "open"
    assert "Preview." in page.read_text()


@pytest.mark.parametrize("number", ["3", "99"])
def test_who_asks_for_a_missing_one_learns_which_there_are(told: Cli, number: str) -> None:
    done = told("statements", "show", "acme", number)

    says = "1 to 2 are written, and 3 is expected at 2026-06-01 01:00Z"
    assert done.code == 1
    assert done.sentence == f"fixbill: there is no statement {number} of acme: {says}"


@pytest.mark.parametrize(
    "words",
    [
        ("list", "nobody"),
        ("show", "nobody", "1"),
        ("preview", "nobody"),
        ("link", "nobody", "1"),
    ],
)
def test_a_stranger_is_told_apart_from_a_missing_statement(
    told: Cli, words: tuple[str, ...]
) -> None:
    told.set(PUBLIC_URL=PUBLIC, LINK_SECRET=SECRET)

    done = told("statements", *words)

    assert done.code == 1
    assert "there is no customer nobody" in done.sentence


def test_a_preview_is_of_the_open_cycle_and_says_so(told: Cli) -> None:
    text, answer = (
        told("statements", "preview", "acme"),
        told("statements", "preview", "acme", "--json"),
    )

    assert (answer.json["number"], answer.json["status"]) == (3, "open")
    assert answer.json["balances_before"] == stated(told.engine, number=2).balances
    assert "preview, so far" in text.out


def test_a_closing_cycle_has_a_preview_until_it_is_closed(cli: Cli) -> None:
    add_customer(cli.engine)
    settle_events(cli.engine, deployed())
    pass_time(cli.engine, MARCH.end)
    closing = cli("statements", "preview", "acme", "--number", "1", "--json")
    pass_time(cli.engine, MARCH_CLOSED)
    write_statements(cli.engine)

    closed = cli("statements", "preview", "acme", "--number", "1")

    assert (closing.json["status"], closing.json["fixes"]["charged"]) == ("closing", 1)
    assert closed.sentence == "fixbill: cycle 1 has no preview: 2 may still change"


def test_a_link_leads_to_the_statement(told: Cli) -> None:
    told.set(PUBLIC_URL=PUBLIC, LINK_SECRET=SECRET)

    text, answer = (
        told("statements", "link", "acme", "1"),
        told("statements", "link", "acme", "1", "--json"),
    )

    url = text.out.strip()
    assert url.startswith(f"{PUBLIC}/statement/")
    token = url.rsplit("/", 1)[1]
    assert Links(PUBLIC, SECRET).statement_of(token) == ("acme", 1)
    assert answer.json["number"] == 1


def test_no_link_is_made_to_what_is_not_there(told: Cli) -> None:
    told.set(PUBLIC_URL=PUBLIC, LINK_SECRET=SECRET)

    assert "no statement 3" in told("statements", "link", "acme", "3").sentence


def test_where_links_lead_nowhere_none_is_made(told: Cli) -> None:
    done = told("statements", "link", "acme", "1")

    assert done.code == 1
    assert "PUBLIC_URL" in done.sentence


def test_a_month_is_exported_to_stdout_or_a_file(told: Cli, tmp_path: Path) -> None:
    file = tmp_path / "march.csv"

    out = told("statements", "export", "--month", "2026-03")
    kept = told("statements", "export", "--month", "2026-03", "--out", str(file))

    rows = list(csv.reader(StringIO(out.out)))
    assert (out.code, kept.code, kept.out, out.err) == (0, 0, "", "")
    assert rows[0] == [*COLUMNS]
    assert [row[1] for row in rows[1:]] == ["acme", "TOTAL"]
    assert list(csv.reader(StringIO(file.read_text()))) == rows


def test_a_month_that_is_not_over_is_said_to_be_so(told: Cli) -> None:
    month = f"{datetime.now(UTC):%Y-%m}"

    done = told("statements", "export", "--month", month)

    assert done.code == 0
    assert f"{month} is not over" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("show", "acme", "0"),
        ("show", "acme", "one"),
        ("show", "acme", "2147483648"),
        ("export",),
        ("export", "--month", "October"),
        ("export", "--month", f"{NOW:%Y-%m-%d}"),
    ],
)
def test_wrong_words_are_wrong_usage(told: Cli, words: tuple[str, ...]) -> None:
    assert told("statements", *words).code == 2
