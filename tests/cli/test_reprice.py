"""`fixbill reprice`: what was billed beside what other plans would have billed."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.plans import DEFAULT_FILE
from tests.builders import add_customer, deployed, fixes_of, settle_events
from tests.cli.running import NOWHERE, Cli, Command, Done

SHIPPED = DEFAULT_FILE.read_text()
DEARER = SHIPPED.replace("amount = 2900", "amount = 3900")
PRICELESS = SHIPPED.replace('price = { amount = 2900, currency = "usd" }', "")
IN_EUROS = SHIPPED.replace('"usd"', '"eur"')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "plans.toml"


@pytest.fixture
def billed(cli: Cli) -> Cli:
    """In March acme has used a credit and owes two fixes, globex one."""
    add_customer(cli.engine, "acme", credits=1)
    add_customer(cli.engine, "globex")
    settle_events(cli.engine, *fixes_of("acme", 3), deployed("fix-1", "globex"))
    return cli


def reprice(cli: Command, file: Path, text: str, *more: str) -> Done:
    file.write_text(text)
    return cli("reprice", "--plans", str(file), "--from", "2026-03-01", "--to", "2026-04-01", *more)


def money(dollars: int) -> dict[str, object]:
    return {"amount": dollars * 100, "currency": "usd"}


def test_each_customer_and_all_together_are_told(billed: Cli, file: Path) -> None:
    answer = reprice(billed, file, DEARER, "--json")

    assert answer.code == 0
    assert answer.json["customers"] == [
        {
            "customer_id": customer_id,
            "billed": money(29 * charged),
            "candidate": money(39 * charged),
            "difference": money(10 * charged),
            "fixes": fixes,
            "would_be_held": 0,
        }
        for customer_id, fixes, charged in (("acme", 3, 2), ("globex", 1, 1))
    ]
    assert answer.json["totals"] == [
        {"billed": money(87), "candidate": money(117), "difference": money(30)}
    ]
    assert answer.json["not_reproduced"] == []


def test_people_get_a_table_with_the_sum_below(billed: Cli, file: Path) -> None:
    done = reprice(billed, file, PRICELESS)

    rows = [line.split() for line in done.out.splitlines()]
    assert done.code == 0
    assert ["acme", "3", "$58.00", "$0.00", "-$58.00", "2"] in rows
    assert ["all", "in", "usd", "4", "$87.00", "$0.00", "-$87.00", "3"] in rows
    assert "still held are left out" in done.out


def test_one_customer_can_be_asked_for(billed: Cli, file: Path) -> None:
    answer = reprice(billed, file, DEARER, "--customer", "globex", "--json")

    assert [each["customer_id"] for each in answer.json["customers"]] == ["globex"]


def test_the_window_ends_before_its_last_day(billed: Cli, file: Path) -> None:
    file.write_text(DEARER)

    answer = billed(
        *("reprice", "--plans", str(file), "--from", "2026-03-01", "--to", "2026-03-15", "--json")
    )

    assert [each["fixes"] for each in answer.json["customers"]] == [0, 0]


def test_a_ledger_that_the_catalogue_in_use_does_not_give_is_told(
    billed: Cli, file: Path, tmp_path: Path
) -> None:
    edited = tmp_path / "edited.toml"
    edited.write_text(DEARER)
    billed.set(PLANS_FILE=str(edited))

    text, answer = (reprice(billed, file, SHIPPED, *more) for more in ((), ("--json",)))

    assert (text.code, answer.code) == (1, 1)
    assert [each["customer_id"] for each in answer.json["not_reproduced"]] == ["acme", "globex"]
    assert (answer.json["customers"], answer.json["totals"]) == ([], [])
    assert (
        "! globex cannot be reproduced: transfer 1 (charge fix-1) cost $29.00; "
        "the catalogue in use says $39.00\n"
    ) in text.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[trial\n", "plans.toml:1: "),
        ('[new]\ntitle = "New"\n[[new.versions]]\neffective = 2026-01-01\n', "there is no plan"),
        (IN_EUROS, "plan payg is in eur, the ledger of acme in usd"),
    ],
)
def test_a_catalogue_that_cannot_take_the_place_ends_with_a_sentence(
    billed: Cli, file: Path, text: str, says: str
) -> None:
    done = reprice(billed, file, text)

    assert done.code == 1
    assert says in done.sentence


def test_a_file_that_is_not_there_is_told(billed: Cli, tmp_path: Path) -> None:
    done = billed(
        *("reprice", "--plans", str(tmp_path / "none.toml"), "--from", "2026-03-01"),
        *("--to", "2026-04-01"),
    )

    assert (done.code, "cannot be read" in done.sentence) == (1, True)


def test_a_customer_nobody_knows_is_told(billed: Cli, file: Path) -> None:
    done = reprice(billed, file, SHIPPED, "--customer", "stranger")

    assert (done.code, "there is no customer stranger" in done.sentence) == (1, True)


def test_a_window_that_ends_before_it_begins_is_wrong_usage(command: Command, file: Path) -> None:
    file.write_text(SHIPPED)

    done = command("reprice", "--plans", str(file), "--from", "2026-03-01", "--to", "2026-03-01")

    assert (done.code, "--to must be later than --from" in done.err) == (2, True)


def test_without_a_database_it_says_so(command: Command, file: Path) -> None:
    command.set(DATABASE_URL=f"postgresql://nobody@{NOWHERE}/none")

    done = reprice(command, file, SHIPPED)

    assert (done.code, "the database cannot be reached" in done.sentence) == (1, True)
