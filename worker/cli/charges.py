"""`fixbill charges`: what is owed and paid, and what an operator may do about it."""

from __future__ import annotations

import click

from worker.billing.charges import ChargeStatus
from worker.billing.refunds import RefundProblem
from worker.charges import ChargeProblem, charge_named, retry_charge, write_off_charge
from worker.cli.show import print_json, print_pairs, print_table
from worker.collect import collect
from worker.customers import CustomerProblem
from worker.process import open_links, open_tools
from worker.refund import refund, request_refund
from worker.storage.charges import ChargeKey
from worker.usage.history import charge_detail, list_charges
from worker.withdraw import withdraw

EXPECTED = (ChargeProblem, CustomerProblem, RefundProblem)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """List and show charges; retry, refund or write off one."""


@command.command("list")
@click.argument("customer_id", required=False)
@click.option("--status", type=click.Choice([*ChargeStatus]), help="Only charges that stand so.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_all(customer_id: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """The newest charges, of one customer or of all."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        found = list_charges(tx, customer_id, status=status, limit=limit)
    if as_json:
        print_json([each._asdict() for each in found])
        return
    print_table(
        ("charge", "customer", "status", "amount", "why", "payment"),
        [
            (c.charge_id, c.customer_id, c.status, c.amount, c.decline, c.payment_intent)
            for c in found
        ],
    )


@command.command()
@click.argument("charge_id")
@as_json
def show(charge_id: str, as_json: bool) -> None:
    """A charge with its lines, attempts, refunds and disputes."""
    show_charge(charge_named(charge_id, open_tools().engine), as_json)


@command.command()
@click.argument("charge_id")
@as_json
def retry(charge_id: str, as_json: bool) -> None:
    """Try the card now; this uses up none of the scheduled tries."""
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    retry_charge(key, tools.engine, tools.clock)
    collect(key, tools.engine, tools.stripe, tools.clock, tools.breaker)
    show_charge(key, as_json)


@command.command("write-off")
@click.argument("charge_id")
@as_json
def write_off(charge_id: str, as_json: bool) -> None:
    """Give up what is owed. Its intent is cancelled at Stripe first, so it cannot be paid later."""
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    if write_off_charge(key, tools.engine, tools.clock) is ChargeStatus.WITHDRAWING:
        withdraw(key, tools.engine, tools.stripe, tools.clock)
    show_charge(key, as_json)


@command.command("refund")
@click.argument("charge_id")
@click.option("--amount", type=click.IntRange(1), help="In minor units (cents); else all of it.")
@click.option("--fix", "fix_id", help="What this one fix cost.")
@click.option("--reason", help="Kept with the refund, for those who ask later.")
@as_json
def refund_charge(
    charge_id: str, amount: int | None, fix_id: str | None, reason: str | None, as_json: bool
) -> int:
    """Return money to the card: the whole charge, an amount, or one fix."""
    if amount is not None and fix_id is not None:
        raise click.UsageError("give --amount or --fix, not both")
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    wanted = request_refund(
        key, tools.engine, tools.clock, amount=amount, fix_id=fix_id, reason=reason
    )
    status = refund(wanted, tools.engine, tools.stripe, tools.clock)
    answer = {"refund_id": wanted.refund_id, "charge_id": charge_id, "status": status}
    if as_json:
        print_json(answer)
    else:
        print_pairs(answer.items())
    return 1 if status in ("refused", "failed", "parked") else 0


def show_charge(key: ChargeKey, as_json: bool) -> None:
    tools = open_tools()
    with tools.engine.begin() as tx:
        found = charge_detail(tx, key)
    links = open_links()
    link = None
    if found.status == ChargeStatus.ACTION_REQUIRED and links is not None:
        link = links.to_charge(*key)
    if as_json:
        print_json(found._asdict() | {"recovery_url": link})
        return
    print_pairs(
        [
            ("charge", found.charge_id),
            ("customer", found.customer_id),
            ("status", found.status),
            ("amount", found.amount),
            ("paid without a card", found.applied),
            ("returned", found.returned),
            ("due", found.due_at),
            ("payment", found.payment_intent),
            ("the customer can authenticate at", link),
        ]
    )
    for title, rows in (
        ("Lines", found.lines),
        ("Attempts", found.attempts),
        ("Refunds", found.refunds),
        ("Disputes", found.disputes),
    ):
        if rows:
            print_table(tuple(rows[0]), [tuple(row.values()) for row in rows], title=title)
