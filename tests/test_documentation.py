"""The tables of the documentation say what is so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pytest

from schemas.plans import load_plans
from worker.billing import charges, refunds
from worker.billing.disputes import BY_STRIPE_STATUS, Funds
from worker.billing.drift import SAFE, DriftKind
from worker.billing.hints import BY_TYPE
from worker.billing.ledger import ACCOUNTS, CREDIT, CREDIT_ACCOUNTS, MOVEMENTS
from worker.billing.policy import DEFAULT_BREAKER, policy_of
from worker.cli.main import fixbill
from worker.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without the titles of its columns."""
    section = (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[2:]]


def named(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_movement_of_the_ledger_is_listed() -> None:
    listed = [(kind, (source, to), unit) for kind, source, to, unit, _, _ in movements()]

    assert listed == [
        (f"`{kind}`", way, CREDIT if way[0] in CREDIT_ACCOUNTS else "currency")
        for kind, way in MOVEMENTS.items()
    ]


def test_every_movement_says_what_causes_it_and_when() -> None:
    assert all(source_key and when for *_, source_key, when in movements())


def movements() -> list[list[str]]:
    return rows("docs/ledger.md", "Movements")


def test_every_account_is_listed() -> None:
    assert [account for account, _, _ in rows("docs/ledger.md", "Accounts")] == list(ACCOUNTS)


@pytest.mark.parametrize(
    ("heading", "transitions"),
    [("States", charges.TRANSITIONS), ("Refunds", refunds.TRANSITIONS)],
)
def test_every_state_is_listed_with_where_it_leads(
    heading: str, transitions: Mapping[str, Sequence[str]]
) -> None:
    listed = {state: named(after) for state, _, after in rows("docs/charges.md", heading)}

    assert listed == {f"`{state}`": list(after) for state, after in transitions.items()}


def test_every_plan_with_a_price_is_listed_with_its_policy() -> None:
    newest = {code: plan.versions[-1] for code, plan in load_plans().plans.items()}

    assert rows("docs/charges.md", "Collecting") == [
        [
            f"`{code}`",
            policy_of(version).collect.replace("_", " "),
            ", ".join(map(str, policy_of(version).retry_days)),
        ]
        for code, version in newest.items()
        if version.price is not None
    ]


def test_every_reason_of_an_attempt_is_listed() -> None:
    assert [why.strip("`") for why, _ in rows("docs/charges.md", "Dunning")] == list(charges.Why)


def test_every_bound_of_the_breaker_is_listed() -> None:
    customer, everyone = DEFAULT_BREAKER
    listed = [int(row[2]) for row in rows("docs/charges.md", "What stops collecting")]

    assert listed == [customer.amount, customer.attempts, everyone.amount, everyone.attempts]


def test_every_status_of_a_dispute_that_moves_money_is_listed() -> None:
    listed = {funds: named(words) for funds, words, _ in rows("docs/charges.md", "Disputes")}

    assert listed == {
        f"`{funds}`": [word for word, means in BY_STRIPE_STATUS.items() if means is funds]
        for funds in Funds
    }


def test_every_event_that_is_followed_is_listed() -> None:
    listed = rows("docs/charges.md", "Webhooks are hints")

    assert listed == [[f"`{prefix}`", subject] for prefix, (subject, _) in BY_TYPE.items()]


def test_every_difference_is_listed_as_repaired_or_parked() -> None:
    listed = {kind: fate for kind, _, fate in rows("docs/charges.md", "Reconciling")}

    assert listed == {f"`{kind}`": "repaired" if kind in SAFE else "parked" for kind in DriftKind}


@pytest.mark.parametrize("heading", ["The lives", "Stripe"])
def test_every_file_of_the_architecture_is_there(heading: str) -> None:
    listed = [name for row in rows("docs/architecture.md", heading) for name in named(row[0])]

    assert listed
    assert not [name for name in listed if not (ROOT / "worker" / f"{name}.py").exists()]


def test_every_setting_of_the_readme_is_read() -> None:
    listed = [name.lower() for row in rows("README.md", "Settings") for name in named(row[0])]

    assert listed
    assert not {*listed} - Settings.model_fields.keys()


@pytest.mark.parametrize(
    "words",
    sorted({words for row in rows("README.md", "For operators") for words in named(row[0])}),
)
def test_every_command_of_the_readme_is_there(words: str) -> None:
    command: click.Command = fixbill
    for word in words.removeprefix("fixbill ").split():
        if not isinstance(command, click.Group) or word.isupper():
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, word
        command = found

    assert not isinstance(command, click.Group)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())

    assert not [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
