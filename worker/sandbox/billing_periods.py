"""Billing periods: where each begins and ends, counted from the billing cycle anchor."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

from worker.sandbox.errors import JsonObject
from worker.sandbox.later import DAY

MONTHS = {"month": 1, "year": 12}
SECONDS = {"day": DAY, "week": 7 * DAY}


def period_end(anchor: int, recurring: JsonObject, start: int) -> int:
    """The end of the period that begins at `start`."""
    interval, count = str(recurring["interval"]), int(recurring["interval_count"])
    if interval in SECONDS:
        length = SECONDS[interval] * count
        return anchor + ((start - anchor) // length + 1) * length
    step = MONTHS[interval] * count
    passed = _month(start) - _month(anchor)
    return _months_after(anchor, (passed // step + 1) * step)


def _month(moment: int) -> int:
    day = datetime.fromtimestamp(moment, UTC)
    return day.year * 12 + day.month - 1


def _months_after(anchor: int, months: int) -> int:
    """The anchor's day and time of another month; its last day where there is no such day."""
    year, month = divmod(_month(anchor) + months, 12)
    first = datetime.fromtimestamp(anchor, UTC)
    day = min(first.day, calendar.monthrange(year, month + 1)[1])
    return int(first.replace(year=year, month=month + 1, day=day).timestamp())
