"""`fixbill rollover`: end the cycles that are over, now and not in their turn."""

from __future__ import annotations

import click

from worker.cli.show import print_json
from worker.inbox import Inbox
from worker.process import open_tools
from worker.rollover import roll_over_due
from worker.statement import write_statements


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(as_json: bool) -> None:
    """Expire credits, end and close cycles, and write statements, as far as all that is due.

    The sweep does the same by itself; run it as often as you like.
    """
    tools = open_tools()
    changed = roll_over_due(tools.engine, Inbox(tools.redis), tools.clock, all_now=True)
    written = write_statements(tools.engine, tools.clock)
    if as_json:
        print_json({"customers": changed, "statements": written})
    else:
        customers = "customer was" if changed == 1 else "customers were"
        statements = "statement" if written == 1 else "statements"
        click.echo(f"{changed:,} {customers} brought up to now; {written:,} {statements} written")
