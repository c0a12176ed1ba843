"""Spans of time in as few words as they need."""

from __future__ import annotations

from datetime import datetime, timedelta


def ago(at: datetime, now: datetime) -> str:
    return f"{span(max(now - at, timedelta(0)))} ago"


def span(of: timedelta) -> str:
    """As short as it can be said."""
    seconds = of.total_seconds()
    if abs(seconds) < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s" if abs(seconds) < 10 else f"{seconds:.0f} s"
