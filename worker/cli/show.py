"""How commands speak: JSON alone, or tables for people."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TextIO

import click
from pydantic_core import to_json

from schemas.money import Money

NOTHING = "–"
# Wide enough that nothing is cut where no terminal says how wide it is.
COLUMNS_WITHOUT_TERMINAL = 500


def print_json(value: object) -> None:
    """JSON alone: models, dataclasses, Money as amount and currency, times as RFC 3339."""
    click.echo(to_json(value, indent=2, inf_nan_mode="null"))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
) -> None:
    """A table; numbers and money stand to the right."""
    from rich import box  # here and below: most commands print no table, and rich is slow
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        numeric = any(is_number(row[index]) for row in cells)
        # Folded, never cut: half an id is worth nothing.
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(as_text(value)) for value in row))
    Console(width=width_of(sys.stdout)).print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    lines = [(name, as_text(value)) for name, value in pairs]
    margin = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        click.echo(f"{name:<{margin}}  {value}")


def as_text(value: object) -> str:
    """How a value reads in a table."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return visible(str(value))


def is_number(value: object) -> bool:
    return isinstance(value, (int, Money)) and not isinstance(value, bool)


def visible(text: str) -> str:
    """Text from outside, without what a terminal would act upon or a reader could not see."""
    return "".join("?" if unicodedata.category(char).startswith("C") else char for char in text)


def amount_in(text: str, currency: str) -> Money:
    """What someone has typed for an amount; exit code 2 if it is none."""
    try:
        return Money.parse(text, currency)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no amount such as 100.00") from error


def width_of(out: TextIO) -> int | None:
    return None if out.isatty() else COLUMNS_WITHOUT_TERMINAL
