"""Histories of months on Postgres and at Stripe, through the lives as they run: as in the rules."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from schemas.plans import DEFAULT_FILE, install_plans
from tests.billing.checks import check_chains
from tests.billing.lives import TERMS
from tests.billing.model import HOUR, Model, Terms
from tests.billing.steps import Card, Subscribe, changes, faults, fixes, histories, waits
from tests.billing.two_years import Life
from tests.billing.two_years_checks import Watched, check_statements
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.sandbox.subscribers import advance_to
from tests.stack import Databases, connected
from tests.stories.on_postgres import begin, time_at_stripe
from tests.usage.explaining import assert_explained
from worker.storage.engine import WORKER


def terms_from(first: date) -> dict[str, dict[date, Terms]]:
    """The same versions, nearer to each other, beginning in the cycle that runs on this day."""
    begun, closer = min(TERMS["pro"]), 4
    first = first.replace(day=1)
    return {
        code: {first + (day - begun) / closer: terms for day, terms in versions.items()}
        for code, versions in TERMS.items()
    }


def toml_of(plans: dict[str, dict[date, Terms]]) -> str:
    lines: list[str] = []
    for code, versions in plans.items():
        lines += [f"[{code}]", f'title = "{code}"']
        for effective, terms in versions.items():
            after = "after_cancel_plan" if terms.subscription else "billing_added_plan"
            fields = {
                "effective": effective,
                "price": money_of(terms.price),
                "subscription": money_of(terms.subscription),
                "included_credits": terms.included,
                "rollover_credits_max": terms.rolls,
                "signup_credits": terms.signup,
                "billing_added_credits": terms.card_added,
                "credits_expire_days": terms.days,
                after: terms.after and f'"{terms.after}"',
            }
            lines.append(f"[[{code}.versions]]")
            lines += [f"{name} = {value}" for name, value in fields.items() if value]
    return "\n".join(lines)


def money_of(cents: int | None) -> str | None:
    return None if cents is None else f'{{ amount = {cents}, currency = "usd" }}'


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own: each history begins where the last one ended."""
    with running_sandbox(tmp_path_factory.mktemp("two-years")) as one:
        yield one


@pytest.fixture
def plans_file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "plans.toml"
    install_plans(DEFAULT_FILE)


STEPS = histories(
    waits,
    waits,
    fixes,
    fixes,
    changes.filter(lambda step: not hasattr(step, "by")),
    faults,
    steps=30,
)


@settings(
    max_examples=5,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_months_on_real_servers_are_as_the_rules_in_words_say(
    databases: Databases, sandbox: RunningSandbox, plans_file: Path, steps: list[Any]
) -> None:
    start = time_at_stripe(sandbox)
    terms = terms_from(start.date())
    plans_file.write_text(toml_of(terms))
    install_plans(plans_file)
    with databases.fresh() as database, connected(database.worker_url, WORKER) as engine:
        books = begin(engine, sandbox, start)
        life, watched = Life(books, Model(terms, "trial", start), start), Watched()
        for step in [Card(True), Subscribe(HOUR), *steps]:
            step.take(life)
            watched.check(books.memory, life.model)
        check_chains(books.memory)
        assert_explained(engine, "acme")
        check_statements(books.memory)
        if life.subscription and not life.subscription.ended:
            life.subscription.cancel(life.now)
        advance_to(sandbox, int(life.now.timestamp()))
