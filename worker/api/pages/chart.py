"""A chart of fixes per day, as numbers that an SVG is drawn from: it needs no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from schemas.answers import CycleAnswer, FixCounts, StatementFixes

WIDTH, HEIGHT = 720, 160  # of the plot, in units of the drawing
GAP = 0.25  # of a day's width
LABELS = 6  # days that are named on the axis
STEPS = (1, 2, 5)  # times a power of ten: what a grid line may stand for

# The outcomes that are drawn, from the foot of a bar up, and what a bar calls them.
WORDS = {
    "credited": "by credits",
    "charged": "charged",
    "held": "held",
    "reverted": "taken back",
}
PAID = ("credited", "charged")

Fixes = FixCounts | StatementFixes


class Segment(NamedTuple):
    """The fixes of one outcome on one day."""

    outcome: str
    y: float
    height: float


class Bar(NamedTuple):
    """One day."""

    title: str
    x: float
    width: float
    segments: list[Segment]


class Mark(NamedTuple):
    """A place on an axis, and what stands there."""

    at: float
    label: str


class Chart(NamedTuple):
    """All that the drawing needs."""

    bars: list[Bar]
    days: list[Mark]
    grid: list[Mark]
    outside: int  # fixes of days that lie outside the cycle


def chart_of(
    cycle: CycleAnswer, counted: Mapping[date, Fixes], outcomes: Sequence[str] = PAID
) -> Chart:
    days = list(days_between(cycle.start, cycle.end))
    shown = [counts(counted.get(day), outcomes) for day in days]
    highest = max(map(sum, shown))
    step = step_for(highest)
    top = step * max(1, -(-highest // step))
    width = WIDTH / len(days)
    every = -(-len(days) // LABELS)
    return Chart(
        [
            Bar(
                title(day, each, outcomes),
                n * width + width * GAP / 2,
                width * (1 - GAP),
                list(segments(each, outcomes, top)),
            )
            for n, (day, each) in enumerate(zip(days, shown, strict=True))
        ],
        [
            Mark((n + 0.5) * width, f"{day.day} {day:%b}")
            for n, day in enumerate(days)
            if n % every == 0
        ],
        [Mark(HEIGHT - HEIGHT * count / top, f"{count:,}") for count in range(0, top + 1, step)],
        sum(sum(counts(each, outcomes)) for day, each in counted.items() if day not in days),
    )


def days_between(start: datetime, end: datetime) -> Iterator[date]:
    """Every day of which the cycle has a part, UTC."""
    day = start.astimezone(UTC).date()
    last = (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def counts(fixes: Fixes | None, outcomes: Sequence[str]) -> list[int]:
    return [getattr(fixes, each, 0) for each in outcomes]


def title(day: date, shown: Sequence[int], outcomes: Sequence[str]) -> str:
    """Always what was paid for; of the rest what there is."""
    told = zip(outcomes, shown, strict=True)
    words = [f"{n:,} {WORDS[each]}" for each, n in told if n or each in PAID]
    return f"{day.day} {day:%B}: {', '.join(words)}"


def segments(shown: Sequence[int], outcomes: Sequence[str], top: int) -> Iterator[Segment]:
    y = float(HEIGHT)
    for outcome, count in zip(outcomes, shown, strict=True):
        y -= HEIGHT * count / top
        if count:
            yield Segment(outcome, y, HEIGHT * count / top)


def step_for(highest: int) -> int:
    """The smallest round number of which four reach the highest bar."""
    power = 1
    while True:
        for step in STEPS:
            if 4 * step * power >= highest:
                return step * power
        power *= 10
