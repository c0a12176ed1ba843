"""`fixbill charges`: what is owed and paid, and what an operator may do about it."""

from __future__ import annotations

from collections.abc import Sequence

import click
from sqlalchemy import Engine

from schemas.answers import Answer
from schemas.listings import ChargeDetail
from worker.billing.charges import ChargeStatus
from worker.billing.refunds import RefundProblem
from worker.charges import ChargeProblem, charge_named, retry_charge, write_off_charge
from worker.cli.show import amount_in, print_json, print_pairs, print_table
from worker.collect import collect
from worker.customers import CustomerProblem
from worker.due import Tools
from worker.process import open_links, open_tools
from worker.refund import refund, request_refund
from worker.storage.charges import ChargeKey, read_charge
from worker.storage.collecting import why_stopped
from worker.storage.customers import find_customer, why_parked
from worker.usage.charges import charge_detail, list_charges
from worker.usage.lists import Window
from worker.withdraw import withdraw

GIVEN_UP = (ChargeStatus.VOID, ChargeStatus.WITHDRAWING)
EXPECTED = (ChargeProblem, CustomerProblem, RefundProblem)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


@click.group()
def command() -> None:
    """List and show charges; retry, refund or write off one."""


@command.command("list")
@click.argument("customer_id", required=False)
@click.option(
    "--status",
    type=click.Choice([each.value for each in ChargeStatus]),
    help="Only charges that stand so.",
)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_all(customer_id: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """The newest charges, of one customer or of all."""
    tools = open_tools()
    with tools.engine.begin() as tx:
        found = list_charges(tx, customer_id, status=status, window=Window(limit)).items
    if as_json:
        print_json(found)
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
def retry(charge_id: str, as_json: bool) -> int:
    """Try the card now; this uses up none of the scheduled tries. Exit code 1 unless it pays."""
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    refuse_while_stopped(key, tools.engine)
    retry_charge(key, tools.engine, tools.clock)
    collect(key, tools.engine, tools.stripe, tools.clock, tools.breaker)
    return 0 if show_charge(key, as_json) == ChargeStatus.PAID else 1


def refuse_while_stopped(key: ChargeKey, engine: Engine) -> None:
    """What keeps the card from being charged is to be ended by a command of its own."""
    with engine.begin() as tx:
        stopped, parked = why_stopped(tx), why_parked(tx, key.customer_id)
        customer = find_customer(tx, key.customer_id)
    if stopped is not None:
        raise ChargeProblem(f"no card is charged ({stopped}); see `fixbill collecting start`")
    if parked is not None:
        release = f"`fixbill customers release {key.customer_id}`"
        raise ChargeProblem(f"nothing is collected from the customer ({parked}); see {release}")
    if customer is None or customer.payment_method is None:
        raise ChargeProblem("no card is on file; see `fixbill customers add-payment-method`")


@command.command("write-off")
@click.argument("charge_id")
@as_json
def write_off(charge_id: str, as_json: bool) -> int:
    """Give up what is owed. Its intent is cancelled at Stripe first, so it cannot be paid later.

    While Stripe gives no answer it stays withdrawing, and is given up later by itself.
    """
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    if write_off_charge(key, tools.engine, tools.clock) is ChargeStatus.WITHDRAWING:
        withdraw(key, tools.engine, tools.stripe, tools.clock)
    return 0 if show_charge(key, as_json) in GIVEN_UP else 1


@command.command("refund")
@click.argument("charge_id")
@click.option("--amount", help="Such as 29.00; else all that is left of it.")
@click.option("--fix", "fix_id", help="What this one fix cost.")
@click.option("--reason", help="Kept with the refund, for those who ask later.")
@as_json
def refund_charge(
    charge_id: str, amount: str | None, fix_id: str | None, reason: str | None, as_json: bool
) -> int:
    """Return money to the card: the whole charge, an amount, or one fix."""
    if amount is not None and fix_id is not None:
        raise click.UsageError("give --amount or --fix, not both")
    tools = open_tools()
    key = charge_named(charge_id, tools.engine)
    wanted = request_refund(
        key,
        tools.engine,
        tools.clock,
        amount=None if amount is None else amount_in(amount, currency_of(key, tools)).amount,
        fix_id=fix_id,
        reason=reason,
    )
    status = refund(wanted, tools.engine, tools.stripe, tools.clock)
    answer = {"refund_id": wanted.refund_id, "charge_id": charge_id, "status": status}
    if as_json:
        print_json(answer)
    else:
        print_pairs(answer.items())
    return 1 if status in ("refused", "failed") else 0


def currency_of(key: ChargeKey, tools: Tools) -> str:
    with tools.engine.begin() as tx:
        return read_charge(tx, key).currency


def show_charge(key: ChargeKey, as_json: bool) -> str:
    """Its status, after all there is to know of it."""
    with open_tools().engine.begin() as tx:
        found = charge_detail(tx, key)
    assert found is not None  # noqa: S101 - charges are never removed
    links = open_links()
    link = None
    if found.status == ChargeStatus.ACTION_REQUIRED.value and links is not None:
        link = links.to_charge(*key)
    if as_json:
        print_json(dict(found) | {"recovery_url": link})
    else:
        print_charge(found, link)
    return found.status


def print_charge(found: ChargeDetail, link: str | None) -> None:
    pairs: list[tuple[str, object]] = [
        ("charge", found.charge_id),
        ("customer", found.customer_id),
        ("status", found.status.replace("_", " ")),
        ("amount", found.amount),
        ("paid without a card", found.applied),
        ("returned", found.returned),
        ("due", found.due_at),
        ("payment", found.payment_intent),
    ]
    print_pairs(pairs + ([("to authenticate at", link)] if link else []))
    parts: dict[str, Sequence[Answer]] = {
        "lines": found.lines,
        "attempts": found.attempts,
        "refunds": found.refunds,
        "disputes": found.disputes,
    }
    for name, rows in parts.items():
        if rows:
            print_table(columns_of(rows[0]), map(values_of, rows), title_of(name, found.left_out))


def columns_of(row: Answer) -> list[str]:
    return [name.removesuffix("_id").replace("_", " ") for name in type(row).model_fields]


def values_of(row: Answer) -> list[object]:
    return [value for _, value in row]


def title_of(name: str, left_out: dict[str, int]) -> str:
    more = f" (and {left_out[name]} older)" if name in left_out else ""
    return f"{name.capitalize()}{more}"
