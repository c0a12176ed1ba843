"""`fixbill verify`: do the books hold what they promise?"""

from __future__ import annotations

from collections.abc import Sequence

import click

from worker.cli.show import print_json, print_table
from worker.process import open_tools
from worker.stripe_calls import StripeRefused
from worker.usage.verify import Check, verify

EXPECTED = (StripeRefused,)


@click.command()
@click.option("--without-stripe", is_flag=True, help="Leave out the comparison with Stripe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(without_stripe: bool, as_json: bool) -> int:
    """Balances = transfers, each fix settled once, chain whole, charges = Stripe, usage = ledger.

    Exit code 1 if anything is wrong; what is wrong is named.
    """
    tools = open_tools()
    checks = verify(tools.engine, None if without_stripe else tools.stripe)
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [check._asdict() for check in checks]})
    else:
        print_checks(checks)
    return 0 if ok else 1


def print_checks(checks: Sequence[Check]) -> None:
    rows = [
        (check.name.replace("_", " "), "ok" if check.ok else "BROKEN", "; ".join(check.offenders))
        for check in checks
    ]
    print_table(("verify", "", "what is wrong"), rows, title="The books")
