"""`fixbill verify`: whether the books hold what they promise, and where they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from tests.builders import add_customer, add_customer_with_card, deployed, owe, settle_events
from tests.cli.running import NOWHERE, Cli, Command
from tests.sandbox.sandbox_process import RunningSandbox
from worker.clock import Clock
from worker.collect import collect
from worker.stripe_gateway import StripeGateway


@pytest.fixture
def paid(cli: Cli, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock) -> Cli:
    """A customer with a credit used, money paid and money owed."""
    add_customer_with_card(cli.engine, sandbox, credits=1)
    settle_events(cli.engine, deployed("credited"))
    assert collect(owe(cli.engine, fix_id="paid"), cli.engine, stripe, clock) == "paid"
    settle_events(cli.engine, deployed("owed"))
    return cli


def test_sound_books_are_all_ok(paid: Cli) -> None:
    text, answer = paid("verify"), paid("verify", "--json")

    assert (text.code, answer.code) == (0, 0)
    assert "BROKEN" not in text.out
    assert answer.json["ok"]
    assert [check["offenders"] for check in answer.json["checks"]] == [[]] * 13
    assert {check["name"] for check in answer.json["checks"]} == {
        "balances_equal_transfers",
        "fixes_settled_once",
        "charges_equal_lines",
        "charges_equal_transfers",
        "receivable_equals_unpaid_charges",
        "credits_equal_grants",
        "held_equals_backlog",
        "nothing_stuck",
        "usage_equals_ledger",
        "cycles_whole",
        "statements_equal_ledger",
        "chain_whole",
        "money_equals_stripe",
    }


def test_empty_books_are_ok(cli: Cli) -> None:
    assert cli("verify").code == 0


HARM: list[tuple[str, str, str]] = [
    ("UPDATE transfers SET amount = amount + 1 WHERE seq = 3", "chain_whole", "acme at 3"),
    ("DELETE FROM transfers WHERE seq = 2", "chain_whole", "acme at 3"),
    ("DELETE FROM transfers WHERE seq = 5", "chain_whole", "acme at its head, after 4"),
    ("UPDATE transfers SET amount = 1", "balances_equal_transfers", "acme receivable"),
    ("UPDATE books SET receivable = 0, revenue = -2900", "balances_equal_transfers", "receivable"),
    ("DELETE FROM fixes WHERE fix_id = 'paid'", "fixes_settled_once", "acme paid"),
    ("UPDATE charge_lines SET price = 1", "charges_equal_lines", "ch_"),
    ("UPDATE books SET held = 1", "held_equals_backlog", "acme"),
    ("UPDATE usage SET charged = 7", "usage_equals_ledger", "acme/shop"),
    ("UPDATE grants SET remaining = granted", "credits_equal_grants", "acme"),
    (
        "UPDATE charges SET payment_intent = 'pi_0' WHERE paid_at IS NOT NULL",
        "charges_equal_transfers",
        "ch_",
    ),
    ("UPDATE transfers SET source_key = 'pi_0' WHERE kind = 'pay'", "stripe", "pi_0"),
]


@pytest.mark.parametrize(("harm", "name", "offender"), HARM, ids=[each[0] for each in HARM])
def test_whoever_changes_history_is_found_out(
    paid: Cli, owner: Engine, harm: str, name: str, offender: str
) -> None:
    with owner.begin() as tx:
        tx.execute(text("SET session_replication_role = replica"))  # triggers sleep
        tx.execute(text(harm))

    shown, answer = paid("verify"), paid("verify", "--json")

    assert (shown.code, answer.code) == (1, 1)
    assert "BROKEN" in shown.out
    assert not answer.json["ok"]
    broken = [check for check in answer.json["checks"] if not check["ok"]]
    found = [each for check in broken if name in check["name"] for each in check["offenders"]]
    assert [each for each in found if offender in each]


def test_the_comparison_with_stripe_can_be_left_out(paid: Cli) -> None:
    paid.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    without, with_stripe = paid("verify", "--without-stripe", "--json"), paid("verify")

    assert without.code == 0
    assert "money_equals_stripe" not in {check["name"] for check in without.json["checks"]}
    assert with_stripe.code == 1
    assert with_stripe.sentence.startswith("fixbill: ")


def test_payments_of_customers_who_are_not_ours_are_nobodys_offence(
    cli: Cli, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    add_customer(cli.engine)
    client = sandbox.client()
    stranger = client.v1.customers.create({}).id
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": stranger}).id
    made = client.v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "customer": stranger, "payment_method": card}
    )
    client.v1.payment_intents.confirm(made.id, {"payment_method": card})

    assert cli("verify").code == 0


@pytest.fixture
def exported(paid: Cli, tmp_path: Path) -> Path:
    file = tmp_path / "ledger.jsonl"
    assert paid("verify", "--export", str(file)).code == 0
    return file


def test_books_and_their_export_have_the_same_fingerprint(paid: Cli, tmp_path: Path) -> None:
    file = str(tmp_path / "ledger.jsonl")

    books = paid("verify", "--json")
    written, checked = (paid("verify", way, file, "--json") for way in ("--export", "--offline"))
    shown = [paid("verify"), paid("verify", "--offline", file)]

    assert [each.code for each in (books, written, checked, *shown)] == [0] * 5
    assert written.json == checked.json
    assert (checked.json["ok"], checked.json["transfers"], checked.json["customers"]) == (
        True,
        5,
        1,
    )
    assert checked.json["fingerprint"] == books.json["fingerprint"]
    assert all(books.json["fingerprint"] in each.out for each in shown)


def test_a_changed_export_is_named_by_line_customer_and_number(exported: Path, cli: Cli) -> None:
    exported.write_bytes(exported.read_bytes().replace(b"receivable", b"receivible", 1))

    shown, answer = (cli("verify", "--offline", str(exported), *more) for more in ([], ["--json"]))

    assert (shown.code, answer.code) == (1, 1)
    assert "BROKEN" in shown.out
    assert (answer.json["ok"], answer.json["fingerprint"]) == (False, None)
    first, last = answer.json["problems"]
    assert (first["line"], first["customer_id"], first["seq"]) == (4, "acme", 3)
    assert last["why"] == "the digest is not that of the lines before it"


def test_an_export_may_be_of_some_customers(paid: Cli, tmp_path: Path) -> None:
    for customer_id in ("globex", "hooli"):
        add_customer(paid.engine, customer_id)
    file = tmp_path / "some.jsonl"

    done = paid("verify", "--export", str(file), "--customer", "hooli", "--customer", "acme")

    assert done.code == 0
    told = [json.loads(line) for line in file.read_bytes().splitlines()]
    assert [each["customer_id"] for each in told if "head" in each] == ["acme", "hooli"]


def test_what_is_a_proof_is_not_written_over(exported: Path, cli: Cli) -> None:
    before = exported.read_bytes()

    again = cli("verify", "--export", str(exported))

    assert (again.code, exported.read_bytes()) == (1, before)
    assert "is there already" in again.sentence


@pytest.mark.parametrize(
    ("file", "more", "sentence"),
    [
        ("ledger.jsonl", ["--customer", "nobody"], "there is no customer nobody"),
        ("nowhere/ledger.jsonl", [], "No such file or directory"),
    ],
)
def test_an_export_that_cannot_be_written_leaves_nothing(
    cli: Cli, tmp_path: Path, file: str, more: list[str], sentence: str
) -> None:
    done = cli("verify", "--export", str(tmp_path / file), *more)

    assert done.code == 1
    assert sentence in done.sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["--offline", __file__, "--export", "ledger.jsonl"],
        ["--offline", __file__, "--without-stripe"],
        ["--offline", __file__, "--customer", "acme"],
        ["--customer", "acme"],
        ["--offline", "nowhere.jsonl"],
    ],
    ids=" ".join,
)
def test_ways_that_do_not_go_together_are_wrong_usage(command: Command, words: list[str]) -> None:
    done = command("verify", *words)

    assert (done.code, done.out) == (2, "")


OFFLINE = """
import socket, sys
from worker.cli.main import run

def refuse(*_): raise AssertionError("no network")

socket.socket.connect = refuse
code = run(["verify", "--offline", sys.argv[1]])
heavy = {"sqlalchemy", "psycopg", "stripe", "redis", "celery", "fastapi", "alembic"}
settings = sys.modules.get("worker.settings")
print(sorted(heavy & sys.modules.keys()), settings and settings.settings.cache_info().currsize)
sys.exit(code)
"""


def test_a_file_is_checked_without_database_settings_or_network(exported: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, str(exported)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] in ("[] None", "[] 0")
