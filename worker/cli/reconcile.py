"""`fixbill reconcile`: do our books and Stripe's lists say the same?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from worker.billing.drift import Drift, Window
from worker.cli.show import print_json, print_table
from worker.process import open_tools
from worker.reconcile import ASKED_DAYS, reconcile
from worker.stripe_calls import StripeRefused

EXPECTED = (StripeRefused,)

day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command()
@click.option("--since", type=day, help="UTC; 35 days ago unless given.")
@click.option("--until", type=day, help="UTC; now unless given.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(since: datetime | None, until: datetime | None, as_json: bool) -> int:
    """Compare payments, refunds and disputes with Stripe's lists and repair what is safe.

    Safe is what Stripe says happened and our books have not: a lost webhook, an unknown outcome, a
    refund made in the dashboard, a payment that no charge explains. The rest is kept, with the
    evidence, for a person; then the exit code is 1.
    """
    tools = open_tools()
    end = aware(until) or tools.clock.now() + timedelta(seconds=1)
    window = Window(aware(since) or end - ASKED_DAYS, end)
    result = reconcile(window, tools.engine, tools.stripe, tools.clock)
    if as_json:
        print_json(
            {
                "since": window.since,
                "until": window.until,
                "repaired": result.repaired,
                "parked": result.parked,
            }
        )
    elif not result.repaired and not result.parked:
        click.echo("no difference")
    else:
        rows = [row_of("repaired", each) for each in result.repaired]
        rows += [row_of("parked", each) for each in result.parked]
        print_table(("", "what", "Stripe's object", "customer", "evidence"), rows)
    return 1 if result.parked else 0


def row_of(outcome: str, drift: Drift) -> tuple[str, ...]:
    evidence = ", ".join(f"{name}: {value}" for name, value in drift.evidence.items())
    return outcome, drift.kind.replace("_", " "), drift.subject, drift.customer_id or "", evidence


def aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None
