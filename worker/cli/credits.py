"""`fixbill credits`: give, buy and count them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from schemas.ids import new_id
from schemas.money import Money
from worker.billing.top_ups import TopUpProblem, TopUpStatus
from worker.cli.show import print_json, print_pairs
from worker.cli.usage import usage_of
from worker.customers import CustomerProblem, grant_credits, unknown
from worker.process import open_tools
from worker.stripe_calls import StripeRefused
from worker.top_up import buy_credits
from worker.usage.balance import InTheFuture, balance_at

EXPECTED = (CustomerProblem, InTheFuture, StripeRefused, TopUpProblem)


@click.group()
def command() -> None:
    """Give credits to customers, sell them, and say how many were left when."""


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
    expires_in = None if expires_in_days is None else timedelta(days=expires_in_days)
    given = grant_credits(customer_id, credits, key, expires_in, tools.engine, tools.clock)
    balance = usage_of(customer_id).credits.balance
    answer = {"customer_id": customer_id, "key": key, "granted": given, "balance": balance}
    if as_json:
        print_json(answer)
    elif not given:
        click.echo(f"the grant {key} was given before; {balance} credits are left")
    else:
        print_pairs(answer.items())


@command.command()
@click.argument("customer_id")
@click.argument("credits", type=click.IntRange(1, 1_000_000))
@click.option("--key", required=True, help="Makes the purchase idempotent: sent twice, paid once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def buy(customer_id: str, credits: int, key: str, as_json: bool) -> int:
    """Charge the customer's card for CREDITS, each at the price of a fix; they do not expire."""
    tools = open_tools()
    bought = buy_credits(customer_id, credits, key, tools.engine, tools.stripe, tools.clock)
    answer = {
        "customer_id": customer_id,
        "key": key,
        "status": bought.status,
        "credits": bought.credits,
        "amount": Money(bought.amount, bought.currency),
        "payment_intent": bought.payment_intent,
        "why": bought.message,
    }
    if as_json:
        print_json(answer)
    else:
        print_pairs(answer.items())
    return 0 if bought.status is TopUpStatus.PAID else 1


@command.command()
@click.argument("customer_id")
@click.option("--at", help="A time such as 2026-10-31T23:59:59Z; without it: now.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def balance(customer_id: str, at: str | None, as_json: bool) -> None:
    """The credits of CUSTOMER_ID, and what was owed, at any moment."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        answer = balance_at(tx, customer_id, moment_in(at), tools.clock.now())
    if answer is None:
        raise unknown(customer_id)
    if as_json:
        print_json(answer)
        return
    print_pairs(
        [
            ("customer", answer.customer_id),
            ("at", answer.at),
            ("credits", answer.credits),
            *((f"  {grant.grant_id}", grant.credits) for grant in answer.grants),
            ("owed", answer.owed),
            ("own money", answer.own_money),
        ]
    )


def moment_in(text: str | None) -> datetime | None:
    """A time with its zone; without one it is UTC. Exit code 2 if it is none."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(f"{text!r} is no time such as 2026-10-31T23:59:59Z") from error
