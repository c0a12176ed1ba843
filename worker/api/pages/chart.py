"""A chart of fixes per day, as numbers that an SVG is drawn from: it needs no script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from schemas.answers import Statement, StatementDay, StatementFixes

WIDTH, HEIGHT = 720, 160  # of the plot, in units of the drawing
GAP = 0.25  # of a day's width
LABELS = 6  # days that are named on the axis
STEPS = (1, 2, 5)  # times a power of ten: what a grid line may stand for


class Bar(NamedTuple):
    """One day: credited at the foot, charged on top of it."""

    title: str
    x: float
    width: float
    credited_y: float
    credited: float
    charged_y: float
    charged: float


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


def chart_of(statement: Statement) -> Chart:
    days = list(days_between(statement.cycle.start, statement.cycle.end))
    counted = {each.day: each.fixes for each in statement.days}
    shown = [counted.get(day, StatementFixes()) for day in days]
    step = step_for(max(map(height, shown)))
    top = step * max(1, -(-max(map(height, shown)) // step))
    width = WIDTH / len(days)
    every = -(-len(days) // LABELS)
    return Chart(
        [
            bar(day, fixes, n * width, width, top)
            for n, (day, fixes) in enumerate(zip(days, shown, strict=True))
        ],
        [
            Mark((n + 0.5) * width, f"{day.day} {day:%b}")
            for n, day in enumerate(days)
            if n % every == 0
        ],
        [Mark(HEIGHT - HEIGHT * count / top, f"{count:,}") for count in range(0, top + 1, step)],
        outside(statement.days, days),
    )


def days_between(start: datetime, end: datetime) -> Iterator[date]:
    """Every day of which the cycle has a part, UTC."""
    day = start.astimezone(UTC).date()
    last = (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    while day <= last:
        yield day
        day += timedelta(days=1)


def bar(day: date, fixes: StatementFixes, x: float, width: float, top: int) -> Bar:
    credited, charged = (HEIGHT * count / top for count in (fixes.credited, fixes.charged))
    return Bar(
        f"{day.day} {day:%B}: {fixes.credited:,} by credits, {fixes.charged:,} charged",
        x + width * GAP / 2,
        width * (1 - GAP),
        HEIGHT - credited,
        credited,
        HEIGHT - credited - charged,
        charged,
    )


def height(fixes: StatementFixes) -> int:
    return fixes.credited + fixes.charged


def step_for(highest: int) -> int:
    """The smallest round number of which four reach the highest bar."""
    power = 1
    while True:
        for step in STEPS:
            if 4 * step * power >= highest:
                return step * power
        power *= 10


def outside(counted: Sequence[StatementDay], days: Sequence[date]) -> int:
    return sum(height(each.fixes) for each in counted if each.day not in days)
