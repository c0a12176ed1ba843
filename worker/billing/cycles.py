"""Billing cycles, and in which one a fix counts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

# An ended cycle still takes its own fixes this long: pipelines report within minutes.
CLOSING = timedelta(hours=1)
LATE_AFTER = timedelta(days=7)


class Cycle(NamedTuple):
    """From `start` up to, and not including, `end`; UTC."""

    start: datetime
    end: datetime


def month_of(at: datetime) -> Cycle:
    """The calendar month, UTC."""
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Cycle(start, (start + timedelta(days=32)).replace(day=1))


def cycle_for(deployed_at: datetime, now: datetime) -> tuple[Cycle, bool]:
    """The cycle a fix counts in, and whether it came late."""
    current = month_of(now)
    late = now - deployed_at > LATE_AFTER
    if deployed_at >= current.start:
        return current, late
    previous = month_of(current.start - timedelta(days=1))
    if deployed_at >= previous.start and now < current.start + CLOSING:
        return previous, late
    return current, True
