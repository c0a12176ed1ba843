"""`fixbill plans`: the plan catalogue, checked, shown and compared before it is put in use."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from schemas.plan_diff import Difference, diff
from schemas.plans import DEFAULT_FILE, BadPlans, Catalogue, Plan, PlanVersion, Problem, load_plans
from worker.cli.show import as_text, print_json, print_table, visible
from worker.settings import settings

EXPECTED = (BadPlans,)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """Check, show and compare plan catalogues. Needs neither the database nor Redis."""


@command.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@as_json
def check(file: Path | None, as_json: bool) -> int:
    """Whether FILE, else the catalogue in use, can be billed by; exit code 1 if it cannot."""
    plans = Catalogue({})
    problems: tuple[Problem, ...] = ()
    try:
        plans = load_plans(file or file_in_use())
    except BadPlans as error:
        problems = error.args
    if as_json:
        found = [each._asdict() for each in problems]
        print_json({"ok": not problems, "problems": found, "versions": list(flat(plans))})
    for line in () if as_json else (*problems, *summaries(plans)):
        click.echo(visible(str(line)))
    return 1 if problems else 0


@command.command()
@click.argument("plan", required=False)
@click.option("--on", type=click.DateTime(["%Y-%m-%d"]), help="A day in UTC; else today.")
@as_json
def show(plan: str | None, on: datetime | None, as_json: bool) -> None:
    """The versions of PLAN, else of all plans, and which are in force."""
    day = on.date() if on else today()
    plans = load_plans(file_in_use())
    chosen = plans.plans if plan is None else {plan: plans.plan(plan)}
    if as_json:
        print_json({"on": day, "plans": [described(*each, day) for each in chosen.items()]})
        return
    for code, each in chosen.items():
        print_plan(code, each, day)


@command.command("diff")
@click.argument("file", type=click.Path(path_type=Path))
@as_json
def compare(file: Path, as_json: bool) -> int:
    """What putting FILE in use would change; exit code 1 if it would rewrite history."""
    found = diff(load_plans(file_in_use()), load_plans(file), today())
    refused = any(each.rewrites_history for each in found)
    if as_json:
        print_json({"ok": not refused, "differences": [each._asdict() for each in found]})
    else:
        print_differences(found)
    return 1 if refused else 0


def file_in_use() -> Path:
    return settings().plans_file or DEFAULT_FILE


def today() -> date:
    return datetime.now(UTC).date()


def flat(plans: Catalogue) -> Iterator[dict[str, Any]]:
    """One a version, with its plan."""
    for code, plan in plans.plans.items():
        for version in plan.versions:
            yield {"plan": code, **version.model_dump()}


def summaries(plans: Catalogue) -> Iterator[str]:
    for code, plan in plans.plans.items():
        for version in plan.versions:
            terms = ", ".join(
                f"{name} {in_words(value)}" for name, value in version.terms().items()
            )
            yield f"{code} {version.effective}: {terms or 'every fix is held'}"


def described(code: str, plan: Plan, day: date) -> dict[str, Any]:
    versions = [
        {**each.model_dump(), "in_force": each == plan.in_force(day)} for each in plan.versions
    ]
    return {"plan": code, "title": plan.title, "versions": versions}


def print_plan(code: str, plan: Plan, day: date) -> None:
    """A column a version, with the fields that any of them sets."""
    said = {name for each in plan.versions for name in each.terms()}
    rows = [
        (name, *(in_words(getattr(each, name)) for each in plan.versions))
        for name in PlanVersion.model_fields
        if name in said
    ]
    now = plan.in_force(day)
    dates = [f"{each.effective}{' (in force)' * (each == now)}" for each in plan.versions]
    click.echo(f"{code}: {visible(plan.title)}")
    print_table(("", *dates), rows)


def print_differences(found: list[Difference]) -> None:
    if not found:
        click.echo("no differences")
        return
    columns = ("plan", "version", "field", "", "in use", "in the file", "")
    rows = [
        (
            each.plan,
            each.version,
            each.field,
            each.change,
            in_words(each.before),
            in_words(each.after),
            "rewrites history" if each.rewrites_history else "allowed",
        )
        for each in found
    ]
    print_table(columns, rows)
    if any(each.rewrites_history for each in found):
        click.echo("Refused: what has been in force stays. Add a version with a date after today.")


def in_words(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "never"
    return as_text(value)
