"""What was measured, as a table; `python -m tests.bench.report` shows the last run again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

LATEST = Path(__file__).with_name("latest.json")


def report(measured: Mapping[str, Any]) -> str:
    """All of it: on what, every figure with its runs, and every goal."""
    parts = [
        *(f"{title}: {facts(measured[title])}" for title in ("machine", "versions", "settings")),
        *sections(measured["figures"]),
        *(["\n".join(goals(measured["ratios"]))] if measured["ratios"] else []),
    ]
    return "\n\n".join(parts) + "\n"


def facts(known: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in known.items())


def sections(figures: Mapping[str, Any]) -> Iterator[str]:
    """A table for each, in the order in which they were measured."""
    for section, names in groupby(figures, lambda name: name.partition(".")[0]):
        rows = [row_of(name.removeprefix(f"{section}."), figures[name]) for name in names]
        yield "\n".join([section, *table(rows)])


def row_of(name: str, figure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    runs = figure["runs"]
    spread = f"{spelled(min(runs))} … {spelled(max(runs))}" if len(runs) > 1 else ""
    return name, spelled(figure["median"]), figure["unit"], spread


def goals(ratios: Mapping[str, Any]) -> Iterator[str]:
    yield "goals"
    yield from table(
        (name, spelled(each["value"]), str(each["goal"]), "met" if each["met"] else "MISSED")
        for name, each in ratios.items()
    )


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """The second column holds numbers, which stand to the right."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if index == 1 else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  " + "  ".join(padded).rstrip())
    return lines


def spelled(value: float) -> str:
    """With as many digits as a noisy machine is worth."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{decimals}f}"


if __name__ == "__main__":
    sys.stdout.write(report(json.loads(LATEST.read_text("utf-8"))))
