"""`fixbill usage`: a customer's current cycle."""

from __future__ import annotations

import click

from schemas.answers import Forecast, GrantAnswer, PlanAnswer, RepositoryUsage, Usage
from worker.cli.show import print_json, print_pairs, print_table
from worker.customers import CustomerProblem, unknown
from worker.inbox import Inbox
from worker.process import open_tools
from worker.usage.current import current_usage
from worker.usage.freshness import watermark

EXPECTED = (CustomerProblem,)


@click.command()
@click.argument("customer_id")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(customer_id: str, as_json: bool) -> None:
    """Fixes, credits and money of this cycle, and what to watch out for."""
    answer = usage_of(customer_id)
    if as_json:
        print_json(answer)
    else:
        print_usage(answer)


def usage_of(customer_id: str) -> Usage:
    """Raises CustomerProblem."""
    tools = open_tools()
    as_of = watermark(Inbox(tools.redis), customer_id)
    with tools.engine.begin() as tx:
        answer = current_usage(tx, customer_id, tools.clock.now(), as_of)
    if answer is None:
        raise unknown(customer_id)
    return answer


def plan_in_words(plan: PlanAnswer) -> str:
    words = [plan.title, plan.standing.replace("_", " ")]
    if plan.ends_at is not None:
        words.append(f"ends on {plan.ends_at:%Y-%m-%d}")
    elif plan.paid_until is not None:
        words.append(f"paid until {plan.paid_until:%Y-%m-%d}")
    return ", ".join(words)


def in_words(ahead: Forecast | None) -> str | None:
    """At the pace so far; None while it is too early to tell."""
    if ahead is None:
        return None
    held = f", {ahead.held_by_end} more held" if ahead.held_by_end else ""
    return (
        f"at this pace {ahead.fixes_by_end} fixes, {ahead.credits_by_end} of them by credits, "
        f"{ahead.money_by_end}{held}"
    )


def print_usage(usage: Usage) -> None:
    print_pairs(
        [
            ("customer", usage.customer_id),
            ("plan", plan_in_words(usage.plan)),
            ("a fix without credit", usage.plan.price_per_fix or "is held"),
            ("cycle", f"{usage.cycle.start:%Y-%m-%d} to {usage.cycle.end:%Y-%m-%d}"),
            ("credits", usage.credits.balance),
            ("charged in this cycle", usage.money.charged),
            ("paid in this cycle", usage.money.paid),
            ("paid for the subscription", usage.money.subscription),
            ("open", usage.money.open),
            ("spending cap", usage.limits.spending_cap),
            ("held", usage.held_now),
            ("by the cycle's end", in_words(usage.forecast)),
            ("as of", usage.as_of),
        ]
    )
    for caution in usage.warnings:
        click.echo(f"! {caution.message}")
    if usage.repositories:
        print_repositories(usage.repositories)
    if usage.credits.grants:
        print_grants(usage.credits.grants)


def print_repositories(repositories: list[RepositoryUsage]) -> None:
    print_table(
        ("repository", "credited", "charged", "held", "reverted", "amount"),
        [
            (
                each.repository,
                each.fixes.credited,
                each.fixes.charged,
                each.fixes.held,
                each.fixes.reverted,
                each.charged,
            )
            for each in repositories
        ],
    )


def print_grants(grants: list[GrantAnswer]) -> None:
    print_table(
        ("grant", "source", "left", "of", "expires"),
        [
            (each.grant_id, each.source, each.remaining, each.granted, each.expires_at)
            for each in grants
        ],
    )
