"""Writes the last run's figures into docs/performance.md: `python -m tests.bench.page`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.bench.report import LATEST, facts, spelled

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- the last run -->\n", "<!-- until here -->\n"


def written(page: str, measured: Mapping[str, Any]) -> str:
    """The page with this run in place of the one it had."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "".join([before, BEGIN, "\n", *lines(measured), "\n", END, after])


def lines(measured: Mapping[str, Any]) -> Iterator[str]:
    for title in ("machine", "versions", "settings"):
        yield f"- {title.capitalize()}: {facts(measured[title])}\n"
    yield "\n| goal | reached | asked | |\n| --- | ---: | --- | --- |\n"
    for name, each in measured["ratios"].items():
        met = "met" if each["met"] else "missed"
        yield f"| `{name}` | {spelled(each['value'])} | {each['goal']} | {met} |\n"
    figures = measured["figures"]
    for section, names in groupby(figures, lambda name: name.partition(".")[0]):
        yield f"\n| {section} | median | | lowest and highest |\n| --- | ---: | --- | --- |\n"
        for name in names:
            yield row(name.removeprefix(f"{section}."), figures[name])


def row(name: str, figure: Mapping[str, Any]) -> str:
    runs = figure["runs"]
    spread = f"{spelled(min(runs))} to {spelled(max(runs))}" if len(runs) > 1 else "one run"
    return f"| {name} | {spelled(figure['median'])} | {figure['unit']} | {spread} |\n"


if __name__ == "__main__":
    run = json.loads(LATEST.read_text("utf-8"))
    PAGE.write_text(written(PAGE.read_text("utf-8"), run), "utf-8")
