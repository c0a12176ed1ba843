"""`fixbill collecting`: the big red switch."""

from __future__ import annotations

import click

from worker.cli.show import print_json
from worker.process import open_tools
from worker.storage.collecting import switch, why_stopped


@click.group()
def command() -> None:
    """Stop charging cards, start again, or see which it is. Fixes settle all the same."""


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@command.command()
@click.option("--why", default="stopped by an operator", show_default=True)
@as_json
def stop(why: str, as_json: bool) -> None:
    """From now on no card is charged. What is under way is only asked about."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        switch(tx, stopped_at=tools.clock.wall(), why=why)
    tell(as_json)


@command.command()
@as_json
def start(as_json: bool) -> None:
    """Charge what is due; the circuit breaker counts from this moment."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        switch(tx, started_at=tools.clock.wall())
    tell(as_json)


@command.command()
@as_json
def show(as_json: bool) -> None:
    """Whether cards are charged, and if not, why."""
    tell(as_json)


def tell(as_json: bool) -> None:
    with open_tools().engine.begin() as tx:
        why = why_stopped(tx)
    if as_json:
        print_json({"collecting": why is None, "stopped_why": why})
    else:
        click.echo("collecting" if why is None else f"not collecting: {why}")
