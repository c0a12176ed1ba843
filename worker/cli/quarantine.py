"""`fixbill quarantine`: what could not be settled, until a person decides."""

from __future__ import annotations

from typing import Any

import click

from worker.cli.show import print_json, print_pairs, print_table, visible
from worker.process import open_tools
from worker.settings import settings
from worker.settle import StillUnsettleable, replay
from worker.signatures import Trust
from worker.storage.quarantine import Quarantined, find_quarantined, list_quarantine

EXPECTED = (StillUnsettleable,)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """List, show and replay what could not be settled."""


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_all(limit: int, as_json: bool) -> None:
    """The newest entries that wait for a decision."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        found = list_quarantine(tx, limit)
    if as_json:
        print_json([answer_of(each) for each in found])
        return
    print_table(
        ("id", "reason", "detail", "customer", "accepted"),
        [(q.quarantine_id, q.reason, q.detail, q.customer_id, q.accepted_at) for q in found],
    )


@command.command()
@click.argument("quarantine_id")
@as_json
def show(quarantine_id: str, as_json: bool) -> int:
    """One entry with its bytes."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        found = find_quarantined(tx, quarantine_id)
    if found is None:
        click.echo(visible(f"there is no {quarantine_id} in quarantine"), err=True)
        return 1
    if as_json:
        print_json(answer_of(found))
    else:
        print_pairs((name, value) for name, value in answer_of(found).items())
    return 0


@command.command("replay")
@click.argument("quarantine_id")
@click.option("--trust", is_flag=True, help="You vouch for it, whoever signed it, or nobody.")
@as_json
def replay_one(quarantine_id: str, trust: bool, as_json: bool) -> int:
    """Settle an entry again, after its cause was put right; safe to repeat.

    Its signature is checked again: a key that was registered meanwhile is enough.
    """
    tools = open_tools()
    proof = None if trust else Trust(tools.clock.wall(), unsigned=settings().trust_redis)
    outcome = replay(quarantine_id, tools.engine, tools.clock.now(), proof)
    if outcome is None:
        why = f"{quarantine_id} is not in quarantine, or was replayed before"
        click.echo(visible(why), err=True)
        return 1
    if as_json:
        print_json({"quarantine_id": quarantine_id, "outcome": outcome})
    else:
        click.echo(outcome)
    return 0 if outcome != "quarantined" else 1


def answer_of(entry: Quarantined) -> dict[str, Any]:
    body = visible(entry.body.decode("utf-8", "backslashreplace"))
    return entry._asdict() | {"body": body}
