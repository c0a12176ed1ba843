"""`fixbill contests`: what customers say was wrong, and the operator's decision."""

from __future__ import annotations

import click

from worker.billing.contests import Contest
from worker.cli.show import print_json, print_pairs, print_table
from worker.contest import ContestProblem, accept_contest, contest_named, reject_contest
from worker.inbox import Inbox
from worker.process import open_tools
from worker.storage.contests import all_contests
from worker.usage.contests import contest_answer

EXPECTED = (ContestProblem,)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """List and show contested fixes; accept or reject."""


@command.command("list")
@click.option("--all", "decided", is_flag=True, help="Those that are decided, too; newest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_all(decided: bool, limit: int, as_json: bool) -> None:
    """The contests that wait for a decision, the oldest first."""
    with open_tools().engine.begin() as tx:
        found = [contest_answer(each) for each in all_contests(tx, limit, decided=decided)]
    if as_json:
        print_json(found)
        return
    print_table(
        ("contest", "customer", "fix", "status", "opened", "reason"),
        [(c.contest_id, c.customer_id, c.fix_id, c.status, c.opened_at, c.reason) for c in found],
    )


@command.command()
@click.argument("contest_id")
@as_json
def show(contest_id: str, as_json: bool) -> None:
    """One contest; `fixbill explain` with its id says all about the fix."""
    present(contest_named(contest_id, open_tools().engine), as_json)


@command.command()
@click.argument("contest_id")
@click.option("--why", help="For the customer.")
@as_json
def accept(contest_id: str, why: str | None, as_json: bool) -> None:
    """The customer is right: the fix is taken back. Safe to repeat."""
    tools = open_tools()
    decided = accept_contest(contest_id, why, tools.engine, Inbox(tools.redis), tools.clock)
    present(decided, as_json)


@command.command()
@click.argument("contest_id")
@click.option("--why", required=True, help="For the customer.")
@as_json
def reject(contest_id: str, why: str, as_json: bool) -> None:
    """The fix stays as it is. Safe to repeat."""
    tools = open_tools()
    present(reject_contest(contest_id, why, tools.engine, tools.clock), as_json)


def present(contest: Contest, as_json: bool) -> None:
    answer = contest_answer(contest)
    if as_json:
        print_json(answer)
    else:
        print_pairs(answer)
