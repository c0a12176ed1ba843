"""`fixbill demo`: the main job once, and what came of it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path
from typing import Any

import click

from worker.cli.show import print_json, print_table
from worker.cli.up import interrupt
from worker.cli.verify import print_checks
from worker.local.demo import NotSettled, Outcome, Told, run_demo
from worker.local.errors import ServerError
from worker.local.stack import Stack
from worker.stripe_calls import StripeRefused

EXPECTED = (ServerError, NotSettled, StripeRefused)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> int:
    """Start a stack of its own, bill fixes through every door, show it all, stop everything."""
    signal.signal(signal.SIGTERM, interrupt)
    told: list[Told] = []
    with tempfile.TemporaryDirectory(prefix="fixbill-demo-") as directory:
        click.echo("Starting Postgres, Valkey, the Stripe sandbox, API, worker, beat …", err=True)
        with Stack(Path(directory)) as stack:
            click.echo("Publishing merged pull requests …", err=True)
            outcome = run_demo(stack, told.append)
    if as_json:
        print_json(document(outcome))
    else:
        show(outcome, told)
    return 0 if all(check.ok for check in outcome.checks) else 1


def document(outcome: Outcome) -> dict[str, Any]:
    return {
        "fixes": outcome.fixes,
        "charges": outcome.charges,
        "usage": outcome.usage,
        "quarantine": [
            {
                "quarantine_id": each.quarantine_id,
                "reason": each.reason,
                "detail": each.detail,
                "door": each.door,
                "customer_id": each.customer_id,
                "event_id": each.event_id,
                "accepted_at": each.accepted_at,
            }
            for each in outcome.quarantine
        ],
        "invariants": {
            "ok": all(check.ok for check in outcome.checks),
            **{check.name: check.ok for check in outcome.checks},
        },
    }


def show(outcome: Outcome, told: list[Told]) -> None:
    print_table(("door", "published", "answer"), told, title="What was published")
    print_table(
        ("customer", "outcome", "price", "pull request", "finding", "fix", "why"),
        [
            (
                f.customer_id,
                f.outcome,
                f.price,
                f"{f.repository.removeprefix('github.com/')}#{f.pull_request}",
                f.finding,
                f.fix_id,
                f.held_why,
            )
            for f in outcome.fixes
        ],
        title="Each fix, once",
    )
    print_table(
        ("charge", "customer", "status", "amount", "Stripe payment", "declined for"),
        [
            (c.charge_id, c.customer_id, c.status, c.amount, c.payment_intent, c.decline)
            for c in outcome.charges
        ],
        title="Each charge, and the payment that collected it",
    )
    print_table(
        ("customer", "plan", "credited", "charged", "held", "reverted", "credits", "paid", "open"),
        [
            (
                u.customer_id,
                u.plan.title,
                u.fixes.credited,
                u.fixes.charged,
                u.fixes.held,
                u.fixes.reverted,
                u.credits.balance,
                u.money.paid,
                u.money.open,
            )
            for u in outcome.usage.values()
        ],
        title="Usage in this cycle",
    )
    print_table(
        ("quarantined", "reason", "detail"),
        [(q.quarantine_id, q.reason, q.detail) for q in outcome.quarantine],
        title="Quarantine",
    )
    print_checks(outcome.checks)
