"""`fixbill reprice`: what history would have cost under other plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from schemas.money import Money
from schemas.plans import BadPlans, load_plans
from worker.cli.show import print_json, print_table, visible
from worker.customers import CustomerProblem, unknown
from worker.process import open_engine
from worker.settings import settings
from worker.usage.repricing import Catalogues, Repriced, Window, reprice

EXPECTED = (BadPlans, CustomerProblem)

NOTE = (
    "Fixes that are still held are left out, and so are credits that were bought. Credits for a "
    "sign-up or a first card are given where the ledger gave some. Neither a spending cap nor a "
    "missing card stops a fix from being charged here, and what was refunded or written off counts "
    "as billed."
)

day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option("--plans", "file", required=True, type=click.Path(path_type=Path), metavar="FILE")
@click.option("--from", "start", required=True, type=day, help="UTC.")
@click.option("--to", "end", required=True, type=day, help="UTC; not included.")
@click.option("--customer", "customer_id", help="This one alone.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(
    file: Path, start: datetime, end: datetime, customer_id: str | None, as_json: bool
) -> int:
    """What was billed, and what FILE's plans would have billed for the same history.

    Fixes that were settled, and periods that were paid, from the first day up to the second. The
    books are only read. First the catalogue in use must give what was billed; customers for whom it
    does not are named, and the exit code is 1.
    """
    if start >= end:
        raise click.BadParameter("--to must be later than --from")
    window = Window(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    catalogues = Catalogues(load_plans(settings().plans_file), load_plans(file))
    found = list(reprice(open_engine(), catalogues, window, customer_id))
    if customer_id is not None and not found:
        raise unknown(customer_id)
    sound = [each for each in found if each.problem is None]
    failed = [each for each in found if each.problem is not None]
    if as_json:
        print_json(as_answer(window, sound, failed))
    else:
        print_answer(sound, failed)
    return 1 if failed else 0


def totals_of(found: Iterable[Repriced]) -> dict[str, tuple[Money, Money]]:
    """Billed and candidate, by currency."""
    totals: dict[str, tuple[Money, Money]] = {}
    for each in found:
        currency = each.billed.currency
        billed, candidate = totals.get(currency, (Money(0, currency), Money(0, currency)))
        totals[currency] = billed + each.billed, candidate + each.candidate
    return totals


def as_answer(
    window: Window, sound: Sequence[Repriced], failed: Sequence[Repriced]
) -> dict[str, Any]:
    return {
        "from": window.start,
        "to": window.end,
        "customers": [
            {
                "customer_id": each.customer_id,
                "billed": each.billed,
                "candidate": each.candidate,
                "difference": each.difference,
                "fixes": each.fixes,
                "would_be_held": each.held,
            }
            for each in sound
        ],
        "totals": [
            {"billed": billed, "candidate": candidate, "difference": candidate - billed}
            for billed, candidate in totals_of(sound).values()
        ],
        "not_reproduced": [
            {"customer_id": each.customer_id, "problem": each.problem} for each in failed
        ],
        "note": NOTE,
    }


def print_answer(sound: Sequence[Repriced], failed: Sequence[Repriced]) -> None:
    rows: list[tuple[object, ...]] = [
        (each.customer_id, each.fixes, each.billed, each.candidate, each.difference, each.held)
        for each in sound
    ]
    for currency, (billed, candidate) in totals_of(sound).items():
        same = [each for each in sound if each.billed.currency == currency]
        fixes, held = sum(each.fixes for each in same), sum(each.held for each in same)
        rows.append((f"all in {currency}", fixes, billed, candidate, candidate - billed, held))
    print_table(("customer", "fixes", "billed", "candidate", "difference", "would be held"), rows)
    click.echo(NOTE)
    for each in failed:
        click.echo(f"! {each.customer_id} cannot be reproduced: {visible(str(each.problem))}")
