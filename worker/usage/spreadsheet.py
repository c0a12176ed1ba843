"""Answers as rows of a spreadsheet: money in major units, nothing that would be calculated."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel

from schemas.money import DECIMALS, Money

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate


def sheet_of(model: type[BaseModel], rows: Iterable[BaseModel]) -> str:
    """CSV with a line of names, the same ones whatever the rows hold; lists are left out."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(columns_of(model))
    writer.writerows(list(cells_of(model, row)) for row in rows)
    return out.getvalue()


def columns_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, kind in kinds_of(model):
        if kind is Money:
            yield from (f"{prefix}{name}", f"{prefix}{name}_currency")
        elif issubclass(kind, BaseModel):
            yield from columns_of(kind, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}"


def cells_of(model: type[BaseModel], row: BaseModel | None) -> Iterator[str]:
    for name, kind in kinds_of(model):
        value = getattr(row, name, None)
        if kind is Money:
            yield from ("", "") if value is None else (in_major(value), value.currency)
        elif issubclass(kind, BaseModel):
            yield from cells_of(kind, value)
        else:
            yield cell(value)


def kinds_of(model: type[BaseModel]) -> Iterator[tuple[str, type]]:
    """Each field and the one type it has, where it is not null."""
    for name, field in model.model_fields.items():
        kinds = [each for each in get_args(field.annotation) if each is not NoneType]
        kind: Any = kinds[0] if kinds else field.annotation
        if not str(field.annotation).startswith(("list[", "dict[")):
            yield name, kind if isinstance(kind, type) else type(kind)


def cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return harmless(value)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def in_major(money: Money) -> str:
    return decimal(money.amount, money.currency)


def decimal(amount: int, currency: str) -> str:
    """In major units: 2900 cents are 29.00."""
    decimals = DECIMALS.get(currency, 2)
    whole, part = divmod(abs(amount), 10**decimals)
    digits = f"{whole}.{part:0{decimals}d}" if decimals else str(whole)
    return f"-{digits}" if amount < 0 else digits


def harmless(name: str) -> str:
    """A name that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{name}" if name.startswith(FORMULA) else name
