"""`fixbill usage`: the current cycle, reports, and the usage rows built anew."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from schemas.answers import Usage
from schemas.usage_report import UsageReport
from tests.builders import NOW, add_customer, deployed, rows_of, settle_events
from tests.cli.running import Cli, fixed_now
from worker.storage import tables

WINDOW = ("--from", f"{NOW:%Y-%m-01}", "--to", f"{NOW:%Y-%m-31}")


@pytest.fixture
def told(cli: Cli) -> Cli:
    """acme used a credit and owes for two fixes of March."""
    add_customer(cli.engine, credits=1)
    repositories = ("acme/shop", "acme/shop", "acme/api")
    fixes = (deployed(f"fix-{n}", repository=each) for n, each in enumerate(repositories))
    settle_events(cli.engine, *fixes)
    return cli


def test_show_can_be_left_out(told: Cli) -> None:
    first, second, third = (
        told(*words) for words in (
            ("usage", "acme", "--json"),
            ("usage", "show", "acme", "--json"),
            ("usage", "--json", "acme"),
        )
    )  # fmt: skip

    answers = [Usage.model_validate_json(each.out) for each in (first, second, third)]
    assert {each.customer_id for each in answers} == {"acme"}


def test_a_customer_called_like_a_subcommand_is_shown_by_name(told: Cli) -> None:
    add_customer(told.engine, "report")

    assert told("usage", "show", "report", "--json").json["customer_id"] == "report"


def test_the_current_cycle_is_shown_for_people(told: Cli) -> None:
    told.settle(fixed_now("new"))

    shown = told("usage", "acme")

    assert shown.code == 0
    assert "charged in this cycle" in shown.out
    assert "acme/shop" in shown.out


def test_a_report_of_a_cycle_has_a_line_for_each_group_and_the_total(told: Cli) -> None:
    text = told("usage", "report", "acme", "--cycle", "1", "--by", "repository")
    answer = told("usage", "report", "acme", "--cycle", "1", "--by", "repository", "--json")

    found = UsageReport.model_validate_json(answer.out)
    assert [each["repository"] for each in answer.json["data"]] == ["acme/api", "acme/shop"]
    assert (found.total.fixes.credited, found.total.charged.amount) == (1, 5800)
    assert text.code == 0
    for line in ("2026-03-01 to 2026-04-01", "acme/shop", "total", "$58.00"):
        assert line in text.out


def test_a_report_of_a_window(told: Cli) -> None:
    text = told("usage", "report", "acme", *WINDOW)
    answer = told("usage", "report", "acme", *WINDOW, "--json")

    assert answer.json["window"] == {"start": "2026-03-01", "end": "2026-03-31"}
    assert [each["day"] for each in answer.json["data"]] == ["2026-03-15"]
    assert "2026-03-01 to 2026-03-31" in text.out


def test_without_a_word_the_report_is_of_the_current_cycle(told: Cli) -> None:
    told.settle(fixed_now("new"))

    answer = told("usage", "report", "acme", "--by", "outcome", "--json").json

    cycle = answer["cycle"]
    assert datetime.fromisoformat(cycle["start"]) <= datetime.now(UTC)
    assert datetime.now(UTC) < datetime.fromisoformat(cycle["end"])
    assert answer["total"]["fixes"]["charged"] == 1


def test_a_cycle_that_is_not_there_is_one_sentence(told: Cli) -> None:
    done = told("usage", "report", "acme", "--cycle", "100000")

    assert done.code == 1
    assert "acme has no cycle 100000" in done.sentence


@pytest.mark.parametrize("subcommand", ["show", "report", "rebuild"])
def test_a_stranger_is_one_sentence(told: Cli, subcommand: str) -> None:
    done = told("usage", subcommand, "nobody")

    assert done.code == 1
    assert "there is no customer nobody" in done.sentence


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--from", "2026-03-01"), "--to"),
        (("--to", "2026-03-01"), "--from"),
        (("--from", "2026-03-02", "--to", "2026-03-01"), "--to"),
        (("--from", "2025-01-01", "--to", "2026-03-01"), "400 days"),
        (("--from", "March", "--to", "2026-03-01"), "--from"),
        ((*WINDOW, "--cycle", "1"), "--cycle"),
        (("--cycle", "0"), "--cycle"),
        (("--by", "customer"), "--by"),
    ],
)
def test_wrong_words_are_wrong_usage_and_say_which(
    told: Cli, words: tuple[str, ...], names: str
) -> None:
    done = told("usage", "report", "acme", *words)

    assert (done.code, done.out) == (2, "")
    assert names in done.err


# The rows built anew.


def test_nothing_differs_is_the_normal_result(told: Cli) -> None:
    text, answer = told("usage", "rebuild"), told("usage", "rebuild", "--json")

    assert (text.code, text.out) == (0, "1 customer, 2 rows of usage: nothing differs\n")
    assert answer.json == {"customers": 1, "rows": 2, "differing": []}


def test_what_differed_is_told_and_is_no_failure(told: Cli, owner: Engine) -> None:
    right = rows_of(told.engine, tables.usage)
    with owner.begin() as tx:
        tx.exec_driver_sql("DELETE FROM usage")

    answer = told("usage", "rebuild", "--json")

    assert answer.code == 0
    assert answer.json["differing"] == [{"customer_id": "acme", "rows": 2, "changed": 2}]
    assert rows_of(told.engine, tables.usage) == right


def test_only_the_customers_that_are_named_are_rebuilt(told: Cli, owner: Engine) -> None:
    add_customer(told.engine, "globex")
    settle_events(told.engine, deployed("g", "globex"))
    with owner.begin() as tx:
        tx.exec_driver_sql("UPDATE usage SET held = 1")

    text = told("usage", "rebuild", "globex")

    assert text.code == 0
    assert "globex" in text.out
    assert "acme" not in text.out
    assert {row["held"] for row in rows_of(told.engine, tables.usage, customer_id="acme")} == {1}
