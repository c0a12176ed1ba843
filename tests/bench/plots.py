"""Draws docs/performance/*.svg from the last run: `python -m tests.bench.plots`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.report import LATEST, spelled

PLACE = Path(__file__).parents[2] / "docs" / "performance"

# Each can be read on white and on black; there is no background.
INK, OURS, THEIRS = "#6e7781", "#2f81f7", "#d9822b"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fixbill",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlesize": "medium",
    "xtick.color": INK,
    "ytick.color": INK,
}
WIDTH, ROW = 7.5, 0.36  # inches

SETTLING = {
    "settle.spread": "Fixbill, customers at random",
    "settle.mixed": "Fixbill, mixed",
    "settle.repeated": "Fixbill, nine of ten sent before",
    "settle.hot": "Fixbill, one customer",
    "settle.celery_prefork": "Celery task, prefork",
    "settle.celery_threads": "Celery task, threads",
    "settle.pgbench": "pgbench",
    "settle.copy": "COPY",
}
ANSWERS = {
    "answers.usage.p50": "usage",
    "answers.explain.p50": "explain",
    "answers.fixes.p50": "fixes",
    "answers.bare_route.p50": "bare route",
    "answers.bare_sql.p50": "bare SELECT",
}
SIDES = {"latency": ("Fixbill", OURS), "latency.celery_task": ("Celery task", THEIRS)}
RATES = (20, 200, 1000)
PARTS = ("p50", "p99")


def draw(measured: Mapping[str, Any], place: Path) -> None:
    """What was measured; a section that was left out leaves its picture as it is."""
    medians = {name: figure["median"] for name, figure in measured["figures"].items()}
    pictures = {
        "settling": bars(medians, SETTLING, "Events settled per second"),
        "latency": latency(medians),
        "answers": bars(medians, ANSWERS, "Answers over HTTP: median in ms"),
        "memory": memory(measured.get("samples", {}).get("memory", [])),
    }
    place.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        if picture is not None:
            metadata = {"Date": None, "Creator": None}  # the same figures make the same file
            picture.savefig(place / f"{name}.svg", transparent=True, metadata=metadata)


def bars(medians: Mapping[str, float], labels: Mapping[str, str], title: str) -> Figure | None:
    """From zero, with the numbers written: their lengths may be compared."""
    names = [name for name in labels if name in medians]
    if not names:
        return None
    figure, axes = canvas(len(names), title)
    values = [medians[name] for name in names]
    colors = [OURS if is_ours(name) else THEIRS for name in names]
    drawn = axes.barh([labels[name] for name in names], values, color=colors, height=0.66)
    axes.bar_label(drawn, [spelled(value) for value in values], padding=4)
    axes.margins(x=0.14)
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)
    return figure


def is_ours(name: str) -> bool:
    return not any(peer in name for peer in ("celery", "pgbench", "copy", "bare"))


def latency(medians: Mapping[str, float]) -> Figure | None:
    """From the median to the 99th percentile, of each side at each rate."""
    rows = [
        (f"{label}, {rate:,}/s", color, [medians[f"{side}.{rate}.{part}"] for part in PARTS])
        for rate in RATES
        for side, (label, color) in SIDES.items()
        if f"{side}.{rate}.p50" in medians
    ]
    if not rows:
        return None
    title = "From published to settled: median and 99th percentile in ms (logarithmic)"
    figure, axes = canvas(len(rows), title)
    axes.set_xscale("log")
    for label, color, (half, most) in rows:
        axes.plot([half, most], [label, label], color=color, linewidth=3, marker="o")
        written = f"{spelled(half)} – {spelled(most)}"
        axes.annotate(written, (most, label), (9, 0), textcoords="offset points", va="center")
    axes.margins(x=0.28, y=0.1)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.invert_yaxis()
    return figure


def memory(samples: list[list[float]]) -> Figure | None:
    """Pairs of events settled and MiB in memory."""
    if not samples:
        return None
    figure, axes = canvas(6, "Memory of one worker in MiB, over events settled")
    events, sizes = zip(*samples, strict=True)
    axes.plot(events, sizes, color=OURS)
    axes.set_ylim(bottom=0, top=max(sizes) * 1.2)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def canvas(rows: int, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, ROW * rows + 0.7), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left")
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure, axes


if __name__ == "__main__":
    with rc_context(STYLE):
        draw(json.loads(LATEST.read_text("utf-8")), PLACE)
