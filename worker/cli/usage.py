"""`fixbill usage`: a customer's current cycle, reports of any, and the usage rows built anew."""

from __future__ import annotations

from datetime import date, datetime

import click

from schemas.answers import FixCounts, Forecast, GrantAnswer, PlanAnswer, RepositoryUsage, Usage
from schemas.links import UsageLink
from schemas.usage_report import GROUPS, GroupBy, UsageReport, UsageWindow
from worker.cli.show import print_json, print_pairs, print_table
from worker.customers import CustomerProblem, unknown
from worker.inbox import Inbox
from worker.links import USAGE_GOOD_FOR, good_until
from worker.process import open_links, open_tools
from worker.settings import MissingSetting
from worker.storage.customers import find_customer
from worker.storage.engine import snapshot
from worker.usage.current import current_usage, number_of
from worker.usage.freshness import fresh_until, watermark
from worker.usage.rebuild import Rebuilt, everyone, rebuild_usage
from worker.usage.report import Asked, BadWindow, NoSuchCycle, usage_report, window_of

EXPECTED = (CustomerProblem, NoSuchCycle)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


class ShowFirst(click.Group):
    """What names no subcommand is shown: `fixbill usage acme`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(cls=ShowFirst)
def command() -> None:
    """Fixes, credits and money of a customer. `show` can be left out."""


@command.command()
@click.argument("customer_id")
@as_json
def show(customer_id: str, as_json: bool) -> None:
    """Fixes, credits and money of this cycle, and what to watch out for."""
    answer = usage_of(customer_id)
    if as_json:
        print_json(answer)
    else:
        print_usage(answer)


@command.command()
@click.argument("customer_id")
@click.option("--cycle", type=click.IntRange(1, 2**31 - 1), help="Its number; else the current.")
@click.option("--from", "start", type=click.DateTime(["%Y-%m-%d"]), help="A window's first day.")
@click.option("--to", "end", type=click.DateTime(["%Y-%m-%d"]), help="The day after its last.")
@click.option("--by", "group_by", type=click.Choice(list(GROUPS)), default="day", show_default=True)
@as_json
def report(
    customer_id: str,
    cycle: int | None,
    start: datetime | None,
    end: datetime | None,
    group_by: GroupBy,
    as_json: bool,
) -> None:
    """Usage of a cycle, or of a window of days (UTC), in groups."""
    window = window_in(start, end)
    if window is not None and cycle is not None:
        raise click.UsageError("either --cycle, or --from and --to")
    answer = report_of(customer_id, window, cycle, group_by)
    if as_json:
        print_json(answer)
    else:
        print_report(answer)


@command.command()
@click.argument("customer_id")
@as_json
def link(customer_id: str, as_json: bool) -> None:
    """A link on which the customer sees all this, good for a day."""
    links = open_links()
    if links is None:
        raise MissingSetting("PUBLIC_URL and LINK_SECRET are needed to make links for customers")
    with open_tools().engine.begin() as tx:
        if find_customer(tx, customer_id) is None:
            raise unknown(customer_id)
    url, expires_at = links.to_usage(customer_id), good_until(USAGE_GOOD_FOR)
    if as_json:
        print_json(UsageLink(url=url, expires_at=expires_at))
    else:
        click.echo(url)


@command.command()
@click.argument("customer_ids", nargs=-1, metavar="[CUSTOMER_ID]...")
@as_json
def rebuild(customer_ids: tuple[str, ...], as_json: bool) -> None:
    """Build the usage rows anew from the fixes: of these customers, else of all.

    Settlers may work meanwhile. That nothing differs is the normal result.
    """
    engine = open_tools().engine
    with engine.begin() as tx:
        for customer_id in customer_ids:
            if find_customer(tx, customer_id) is None:
                raise unknown(customer_id)
    customers = rows = 0
    differing: list[Rebuilt] = []
    for customer_id in customer_ids or everyone(engine):
        done = rebuild_usage(customer_id, engine)
        customers, rows = customers + 1, rows + done.rows
        if done.changed:
            differing.append(done)
    if as_json:
        differed = [each._asdict() for each in differing]
        print_json({"customers": customers, "rows": rows, "differing": differed})
    else:
        print_rebuilt(customers, rows, differing)


def usage_of(customer_id: str) -> Usage:
    """Raises CustomerProblem."""
    tools = open_tools()
    as_of = watermark(Inbox(tools.redis), customer_id)
    with snapshot(tools.engine) as tx:
        answer = current_usage(tx, customer_id, tools.clock.now(), as_of)
    if answer is None:
        raise unknown(customer_id)
    return answer


def window_in(start: datetime | None, end: datetime | None) -> UsageWindow | None:
    try:
        return window_of(day_of(start), day_of(end))
    except BadWindow as error:
        raise click.UsageError(f"--{error.field}: {error}") from error


def day_of(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def report_of(
    customer_id: str, window: UsageWindow | None, cycle: int | None, group_by: GroupBy
) -> UsageReport:
    """With all its groups; raises CustomerProblem or NoSuchCycle."""
    tools = open_tools()
    settled_until = watermark(Inbox(tools.redis), customer_id)
    with snapshot(tools.engine) as tx:
        as_of = fresh_until(tx, customer_id, settled_until)
        asked = Asked(window or cycle, group_by)
        found = usage_report(tx, customer_id, asked, tools.clock.now())
    if found is None or as_of is None:
        raise unknown(customer_id)
    return UsageReport(
        as_of=as_of,
        has_more=False,
        cursor=None,
        customer_id=customer_id,
        cycle=found.cycle,
        window=window,
        group_by=group_by,
        data=found.groups,
        total=found.total,
    )


def plan_in_words(plan: PlanAnswer) -> str:
    words = [plan.title, plan.standing.replace("_", " ")]
    if plan.ends_at is not None:
        words.append(f"ends on {plan.ends_at:%Y-%m-%d}")
    elif plan.paid_until is not None:
        words.append(f"paid until {plan.paid_until:%Y-%m-%d}")
    return ", ".join(words)


def in_words(ahead: Forecast | None) -> str | None:
    """At the pace so far; None while it is too early to tell."""
    if ahead is None:
        return None
    held = f", {ahead.held_by_end} more held" if ahead.held_by_end else ""
    return (
        f"at this pace {ahead.fixes_by_end} fixes, {ahead.credits_by_end} of them by credits, "
        f"{ahead.money_by_end}{held}"
    )


def print_usage(usage: Usage) -> None:
    print_pairs(
        [
            ("customer", usage.customer_id),
            ("plan", plan_in_words(usage.plan)),
            ("a fix without credit", usage.plan.price_per_fix or "is held"),
            ("cycle", f"{usage.cycle.start:%Y-%m-%d} to {usage.cycle.end:%Y-%m-%d}"),
            ("credits", usage.credits.balance),
            ("charged in this cycle", usage.money.charged),
            ("paid in this cycle", usage.money.paid),
            ("paid for the subscription", usage.money.subscription),
            ("open", usage.money.open),
            ("spending cap", usage.limits.spending_cap),
            ("held", usage.held_now),
            ("by the cycle's end", in_words(usage.forecast)),
            ("as of", usage.as_of),
        ]
    )
    for caution in usage.warnings:
        click.echo(f"! {caution.message}")
    if usage.repositories:
        print_repositories(usage.repositories)
    if usage.credits.grants:
        print_grants(usage.credits.grants)


COUNTS = ("credited", "charged", "held", "reverted")


def print_repositories(repositories: list[RepositoryUsage]) -> None:
    print_table(
        ("repository", *COUNTS, "amount"),
        [(each.repository, *counts_in(each.fixes), each.charged) for each in repositories],
    )


def counts_in(fixes: FixCounts) -> list[int]:
    return [getattr(fixes, name) for name in COUNTS]


def print_report(report: UsageReport) -> None:
    of = report.window or report.cycle
    print_pairs(
        [
            ("customer", report.customer_id),
            ("cycle", report.cycle.number if report.cycle else None),
            ("days", f"{of.start:%Y-%m-%d} to {of.end:%Y-%m-%d}" if of else None),
            ("as of", report.as_of),
        ]
    )
    groups = [
        (getattr(each, report.group_by), *counts_in(each.fixes), each.charged)
        for each in report.data
    ]
    total = ("total", *counts_in(report.total.fixes), report.total.charged)
    print_table((report.group_by, *COUNTS, "amount"), [*groups, total])


def print_rebuilt(customers: int, rows: int, differing: list[Rebuilt]) -> None:
    found = f"{number_of(customers, 'customer', 'customers')}, {rows:,} rows of usage"
    if not differing:
        click.echo(f"{found}: nothing differs")
        return
    click.echo(f"{found}: what differed is right now")
    print_table(("customer", "rows", "differed"), differing)


def print_grants(grants: list[GrantAnswer]) -> None:
    print_table(
        ("grant", "source", "left", "of", "expires"),
        [
            (each.grant_id, each.source, each.remaining, each.granted, each.expires_at)
            for each in grants
        ],
    )
