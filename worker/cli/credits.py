"""`fixbill credits`: give credits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from schemas.ids import new_id
from worker.cli.show import print_json, print_pairs
from worker.cli.usage import usage_of
from worker.customers import CustomerProblem, grant_credits
from worker.process import open_tools

EXPECTED = (CustomerProblem,)


@click.group()
def command() -> None:
    """Give credits to customers."""


@command.command()
@click.argument("customer_id")
@click.argument("credits", type=click.IntRange(1, 1_000_000))
@click.option("--key", help="Makes the grant idempotent: a key is used once per customer.")
@click.option("--expires-in-days", type=click.IntRange(1, 3650), help="Without it: never.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def grant(
    customer_id: str, credits: int, key: str | None, expires_in_days: int | None, as_json: bool
) -> None:
    """Grant CREDITS to CUSTOMER_ID; held fixes use them at once, oldest first."""
    tools = open_tools()
    key = key or new_id("grant")
    expires_at = (
        None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    )
    given = grant_credits(customer_id, credits, key, expires_at, tools.engine, tools.clock)
    balance = usage_of(customer_id).credits.balance
    answer = {"customer_id": customer_id, "key": key, "granted": given, "balance": balance}
    if as_json:
        print_json(answer)
    elif not given:
        click.echo(f"the grant {key} was given before; {balance} credits are left")
    else:
        print_pairs(answer.items())
