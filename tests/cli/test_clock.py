"""`fixbill clock`: what time it is, and letting it pass."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.builders import DAY, HOUR, one_row
from tests.cli.running import NOWHERE, Cli, fixed_now
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from worker.storage import tables


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """In place of the shared one: its clock is moved."""
    with running_sandbox(tmp_path_factory.mktemp("clock")) as one:
        yield one


@pytest.fixture(autouse=True)
def acme(cli: Cli) -> None:
    cli("customers", "add", "acme", "--plan", "payg")


def lead(cli: Cli, *words: str) -> timedelta:
    """How far business time is ahead, as the command shows it; to the hour."""
    shown = cli("clock", "show", *words, "--json").json
    ahead = datetime.fromisoformat(shown["business"]) - datetime.fromisoformat(shown["wall"])
    return timedelta(hours=round(ahead / HOUR))


def test_nothing_is_ahead_at_first(cli: Cli) -> None:
    text = cli("clock", "show")

    assert text.code == 0
    assert [line.split()[0] for line in text.out.splitlines()] == ["wall", "business"]
    assert lead(cli) == lead(cli, "--customer", "acme") == timedelta(0)


def test_time_passes_for_everyone(cli: Cli, sandbox: RunningSandbox) -> None:
    before = sandbox.now()

    done = cli("clock", "advance", "36h", "--json")

    assert done.code == 0
    assert done.json.keys() == {"wall", "business", "stops"}
    assert done.json["stops"] >= 1
    assert lead(cli) == lead(cli, "--customer", "acme") == 36 * HOUR
    assert round((sandbox.now() - before) / 3600) == 36


def test_time_passes_for_one_customer(cli: Cli, sandbox: RunningSandbox) -> None:
    cli("customers", "add", "globex", "--plan", "payg")
    before = sandbox.now()

    done = cli("clock", "advance", "40d", "--customer", "acme", "--json")

    assert (done.code, done.json["customer_id"]) == (0, "acme")
    assert lead(cli, "--customer", "acme") == 40 * DAY
    assert lead(cli) == lead(cli, "--customer", "globex") == timedelta(0)
    assert sandbox.now() - before < 3600
    assert cli("usage", "acme", "--json").json["cycle"]["number"] > 1
    assert cli("usage", "globex", "--json").json["cycle"]["number"] == 1


def test_a_step_is_told_as_text(cli: Cli) -> None:
    done = cli("clock", "advance", "1d", "--customer", "acme")

    words = [line.split()[0] for line in done.out.splitlines()]
    assert (done.code, words) == (0, ["wall", "business", "customer_id", "stops"])


def test_what_is_owed_is_collected_on_the_way(cli: Cli) -> None:
    cli("customers", "add-payment-method", "acme", "pm_card_visa")
    cli.settle(fixed_now())

    cli("clock", "advance", "1d")

    assert one_row(cli.engine, tables.charges)["status"] == "paid"
    assert cli("verify").code == 0


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("40d", 40 * DAY),
        ("36h", 36 * HOUR),
        ("1d12h", 36 * HOUR),
        ("12h1d", 36 * HOUR),
        ("2w", 14 * DAY),
        ("3600s", HOUR),
        ("120m", 2 * HOUR),
        ("0d3h", 3 * HOUR),
    ],
)
def test_a_length_of_time_is_written_with_its_units(cli: Cli, text: str, length: timedelta) -> None:
    assert cli("clock", "advance", text, "--customer", "acme").code == 0

    assert lead(cli, "--customer", "acme") == length


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "",
        "40",
        "d",
        "1.5d",
        "1d 12h",
        " 1d",
        "1d\n",
        "40 days",
        "1y",
        "40D",
        "0d",
        "0s",
        "4000d",
        "3661d",
        "999999999w",
        "999999999d999999999d",
        "1000000000000s",
    ],
)
def test_what_is_no_time_that_can_pass_is_wrong_usage(cli: Cli, text: str) -> None:
    done = cli("clock", "advance", text)

    assert (done.code, done.out) == (2, "")
    assert "such as 40d" in done.err or "time passes forward" in done.err
    assert lead(cli) == timedelta(0)


def test_time_does_not_pass_backwards(cli: Cli) -> None:
    for words in (("-1d",), ("--", "-1d")):
        done = cli("clock", "advance", *words)
        assert (done.code, done.out) == (2, "")


def test_beside_stripe_itself_time_cannot_be_moved(cli: Cli, sandbox: RunningSandbox) -> None:
    before = sandbox.now()
    for environment in (
        {"STRIPE_API_BASE": None},
        {"STRIPE_API_BASE": sandbox.url, "STRIPE_API_KEY": "sk_live_0123456789"},
        {"STRIPE_API_BASE": sandbox.url, "STRIPE_API_KEY": "rk_live_0123456789"},
    ):
        cli.set(**environment)
        for words in ((), ("--customer", "acme")):
            done = cli("clock", "advance", "1d", *words)
            assert (done.code, done.sentence) == (
                1,
                "fixbill: time cannot be moved beside Stripe itself, only beside the sandbox",
            )
    assert lead(cli) == timedelta(0)
    assert sandbox.now() - before < 3600


def test_beside_stripe_itself_the_time_is_shown(cli: Cli) -> None:
    cli.set(STRIPE_API_BASE=None)

    assert cli("clock", "show", "--customer", "acme").code == 0


@pytest.mark.parametrize("words", [("show",), ("advance", "1d")])
def test_the_clock_of_nobody_is_one_sentence(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli("clock", *words, "--customer", "nobody")

    assert done.code == 1
    assert done.sentence.startswith("fixbill: there is no customer nobody")


@pytest.mark.parametrize("words", [(), ("--customer", "acme")])
def test_a_sandbox_that_is_away_is_one_sentence(cli: Cli, words: tuple[str, ...]) -> None:
    cli.set(STRIPE_API_BASE=f"http://{NOWHERE}")

    done = cli("clock", "advance", "1d", *words)

    assert (done.code, done.out) == (1, "")
    assert done.sentence.startswith("fixbill: ")
    assert lead(cli) == timedelta(0)
