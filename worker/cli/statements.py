"""`fixbill statements`: what closed cycles came to, the open one so far, and a month's export."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from sqlalchemy import Connection

from schemas.answers import Statement
from worker.cli.show import print_json, print_pairs, print_table
from worker.customers import CustomerProblem, unknown
from worker.process import open_links, open_tools
from worker.settings import MissingSetting
from worker.storage.customers import find_customer
from worker.storage.engine import snapshot
from worker.storage.statements import CycleKey, list_statements
from worker.usage.month_end import Month, export
from worker.usage.statements import StatementProblem, previews, statement_named

EXPECTED = (CustomerProblem, StatementProblem)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
as_html = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the page to this file."
)
numbered = click.argument("number", type=click.IntRange(1, 2**31 - 1))


@click.group()
def command() -> None:
    """List, show and preview statements; export a month for the accountant."""


@command.command("list")
@click.argument("customer_id")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@as_json
def list_all(customer_id: str, limit: int, as_json: bool) -> None:
    """The newest statements of a customer."""
    with open_tools().engine.begin() as tx:
        customer_in(tx, customer_id)
        found = list_statements(tx, customer_id, limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("statement", "from", "to", "by credits", "charged", "reverted", "owed at the end"),
        [
            (
                each.number,
                each.cycle.start,
                each.cycle.end,
                each.fixes.credited,
                each.fixes.charged,
                each.fixes.reverted,
                each.money.closing,
            )
            for each in found
        ],
    )


@command.command()
@click.argument("customer_id")
@numbered
@as_html
@as_json
def show(customer_id: str, number: int, html: Path | None, as_json: bool) -> None:
    """A statement, in the terminal, as JSON or as a page."""
    with open_tools().engine.begin() as tx:
        name = customer_in(tx, customer_id)
        found = statement_named(tx, CycleKey(customer_id, number))
    present(found, name, html, as_json)


@command.command()
@click.argument("customer_id")
@click.option("--number", type=click.IntRange(1), help="A closing cycle; else the open one.")
@as_html
@as_json
def preview(customer_id: str, number: int | None, html: Path | None, as_json: bool) -> None:
    """The statement that the open cycle would have by now. It is not final."""
    with snapshot(open_tools().engine) as tx:
        name = customer_in(tx, customer_id)
        found = {each.number: each for each in previews(tx, customer_id)}
    if number is not None and number not in found:
        has = " and ".join(map(str, found))
        raise StatementProblem(f"cycle {number} has no preview: {has} may still change")
    present(found[number or max(found)], name, html, as_json)


@command.command()
@click.argument("customer_id")
@numbered
@as_json
def link(customer_id: str, number: int, as_json: bool) -> None:
    """A link on which the customer reads it, good for a week."""
    links = open_links()
    if links is None:
        raise MissingSetting("PUBLIC_URL and LINK_SECRET are needed to make links for customers")
    with open_tools().engine.begin() as tx:
        customer_in(tx, customer_id)
        statement_named(tx, CycleKey(customer_id, number))
    url = links.to_statement(customer_id, number)
    if as_json:
        print_json({"customer_id": customer_id, "number": number, "url": url})
    else:
        click.echo(url)


@command.command("export")
@click.option("--month", required=True, help="Such as 2026-10; UTC.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; else stdout.")
def export_month(month: str, out: Path | None) -> None:
    """One month of all customers as CSV, a row each, with a total per currency."""
    wanted, tools = month_in(month), open_tools()
    if wanted.end > tools.clock.now() + tools.ahead():
        click.echo(f"{month} is not over: the figures are those so far", err=True)
    if out is None:
        export(wanted, tools.engine, sys.stdout)
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        export(wanted, tools.engine, file)


def month_in(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no month such as 2026-10") from error


def customer_in(tx: Connection, customer_id: str) -> str | None:
    """The customer's name; raises CustomerProblem if there is no such customer."""
    customer = find_customer(tx, customer_id)
    if customer is None:
        raise unknown(customer_id)
    return customer.name


def present(statement: Statement, name: str | None, html: Path | None, as_json: bool) -> None:
    if html is not None:
        from worker.api.pages.statement import statement_page  # here: Jinja is slow to import

        html.write_text(statement_page(statement, name), encoding="utf-8")
    if as_json:
        print_json(statement)
    elif html is None:
        print_statement(statement)


def print_statement(statement: Statement) -> None:
    final = {"open": "preview, so far", "closing": "preview, may change for an hour"}
    fixes = statement.fixes
    print_pairs(
        [
            ("statement", statement.number),
            ("customer", statement.customer_id),
            ("cycle", f"{statement.cycle.start:%Y-%m-%d} to {statement.cycle.end:%Y-%m-%d}"),
            ("status", final.get(statement.status, "final")),
            ("plans", ", ".join(statement.plans) or None),
            ("fixes by credits", fixes.credited),
            ("fixes charged", fixes.charged),
            ("fixes reverted", fixes.reverted),
        ]
    )
    for title, part in (
        ("Owed", statement.money),
        ("Credits", statement.credits),
        ("The customer's own money", statement.balance),
        ("By card", statement.card),
    ):
        lines = part.model_dump(exclude={"granted_for"})
        print_table(
            ("", "amount"), [(n.replace("_", " "), getattr(part, n)) for n in lines], title=title
        )
    print_table(
        ("repository", "by credits", "charged", "reverted", "amount"),
        [
            (r.repository, r.fixes.credited, r.fixes.charged, r.fixes.reverted, r.charged)
            for r in statement.repositories
        ],
        title="Repositories",
    )
