"""`fixbill verify`: do the books hold what they promise? And a copy of them, without them?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli.show import print_json, print_pairs, print_table
from worker.usage.offline import Verdict, check

# What looks into the installation is imported where it is used: --offline needs none of it.
if TYPE_CHECKING:
    from worker.usage.verify import Check

SHOWN_MAX = 20  # problems of a file


class Unverified(Exception):
    """The books could not be looked at, or not be written."""


EXPECTED = (Unverified,)


@click.command()
@click.option("--without-stripe", is_flag=True, help="Leave out the comparison with Stripe.")
@click.option(
    "--export",
    "target",
    type=click.Path(path_type=Path),
    help="Write the ledger to this new file, which proves itself.",
)
@click.option("--customer", "customer_ids", multiple=True, help="Export this one only; repeatable.")
@click.option(
    "--offline",
    "exported",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Check such a file, without a database.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def command(
    without_stripe: bool,
    target: Path | None,
    customer_ids: Sequence[str],
    exported: Path | None,
    as_json: bool,
) -> int:
    """Balances = transfers, each fix settled once, chain whole, charges = Stripe, usage = ledger.

    The fingerprint is a digest of all chains: an export of the same moment has the same one. Exit
    code 1 if anything is wrong; what is wrong is named.
    """
    if (target is not None) + (exported is not None) + without_stripe > 1:
        raise click.UsageError("choose one of --export, --offline and --without-stripe")
    if customer_ids and target is None:
        raise click.UsageError("--customer goes with --export")
    if exported is not None:
        return check_file(exported, as_json)
    if target is not None:
        return write_file(target, customer_ids, as_json)
    return check_books(as_json, without_stripe=without_stripe)


def check_file(exported: Path, as_json: bool) -> int:
    with exported.open("rb") as file:
        verdict = check(file)
    print_verdict(verdict, as_json)
    return 1 if verdict.problems else 0


def write_file(target: Path, customer_ids: Sequence[str], as_json: bool) -> int:
    from worker.process import open_engine
    from worker.usage.export import ExportProblem, export

    begun = target.with_name(f"{target.name}.part")
    if target.exists():
        raise Unverified(f"{target} is there already: what is a proof is not written over")
    try:
        with begun.open("wb") as file:
            verdict = export(open_engine(), file, customer_ids)
        begun.rename(target)
    except (ExportProblem, OSError) as error:
        raise Unverified(str(error)) from error
    finally:
        begun.unlink(missing_ok=True)
    print_verdict(verdict, as_json)
    return 0


def check_books(as_json: bool, *, without_stripe: bool) -> int:
    from worker.process import open_tools
    from worker.stripe_calls import StripeRefused
    from worker.usage.verify import audit

    tools = open_tools()
    try:
        found = audit(tools.engine, None if without_stripe else tools.stripe)
    except StripeRefused as refusal:
        raise Unverified(str(refusal)) from refusal
    ok = all(check.ok for check in found.checks)
    if as_json:
        checks = [check._asdict() for check in found.checks]
        print_json({"ok": ok, "checks": checks, "fingerprint": found.fingerprint})
    else:
        print_checks(found.checks)
        print_pairs([("fingerprint", found.fingerprint)])
    return 0 if ok else 1


def print_checks(checks: Sequence[Check]) -> None:
    rows = [
        (check.name.replace("_", " "), "ok" if check.ok else "BROKEN", "; ".join(check.offenders))
        for check in checks
    ]
    print_table(("verify", "", "what is wrong"), rows, title="The books")


def print_verdict(verdict: Verdict, as_json: bool) -> None:
    problems = [each._asdict() for each in verdict.problems]
    if as_json:
        print_json({"ok": not problems, **verdict._asdict(), "problems": problems})
        return
    if problems:
        rows = [(str(each.line), *each[1:]) for each in verdict.problems[:SHOWN_MAX]]
        print_table(("line", "customer", "seq", "what is wrong"), rows, title="BROKEN")
    print_pairs((name, value) for name, value in verdict._asdict().items() if name != "problems")
