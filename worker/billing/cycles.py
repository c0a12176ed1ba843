"""Billing cycles: where each begins and ends, and in which one a fix counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zlib import crc32

# An ended cycle still takes its own fixes this long: pipelines report within minutes.
CLOSING = timedelta(hours=1)
LATE_AFTER = timedelta(days=7)

# Most cycles end at the same midnight. Nothing waits for the sweep to notice, so it may take its
# time; and charges that are collected once a cycle must not stand before everyone else's.
SWEPT_WITHIN = timedelta(minutes=10)
COLLECTED_WITHIN = timedelta(hours=6)


class Cycle(NamedTuple):
    """From `start` up to, and not including, `end`; UTC."""

    start: datetime
    end: datetime


class CycleStatus(StrEnum):
    """Where a cycle stands."""

    OPEN = "open"  #: the current one
    CLOSING = "closing"  #: over; still takes its own fixes for an hour
    CLOSED = "closed"  #: nothing in it changes any more; its statement can be written


#: How a cycle moves on; the schema refuses every other way.
TRANSITIONS = {
    CycleStatus.OPEN: (CycleStatus.CLOSING, CycleStatus.CLOSED),
    CycleStatus.CLOSING: (CycleStatus.CLOSED,),
    CycleStatus.CLOSED: (),
}


@dataclass(slots=True)
class CycleRow:
    """A cycle of one customer: they are numbered from 1, and each begins where the last ended."""

    customer_id: str
    number: int
    starts_at: datetime
    ends_at: datetime
    status: CycleStatus
    # Its transfers lie between these in the customer's ledger, beside those of its neighbours.
    first_seq: int = 1
    last_seq: int | None = None
    closed_at: datetime | None = None
    stated_at: datetime | None = None  # when its statement was written

    @property
    def follows(self) -> int | None:
        """The number of the cycle before; the schema lets this one begin only where that ended."""
        return self.number - 1 or None


def month_of(at: datetime) -> Cycle:
    """The calendar month, UTC."""
    start = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Cycle(start, (start + timedelta(days=32)).replace(day=1))


def period_end(anchor: datetime, start: datetime) -> datetime:
    """When the monthly period of a subscription that begins at `start` ends.

    On the anchor's day and time, or the month's last day where it has no such day
    (docs.stripe.com/billing/subscriptions/billing-cycle).
    """
    following = month_of(month_of(start).end)
    last_day = (following.end - timedelta(days=1)).day
    return anchor.replace(
        year=following.start.year, month=following.start.month, day=min(anchor.day, last_day)
    )


def spread(customer_id: str, over: timedelta) -> timedelta:
    """This customer's place in a crowd: the same every time, and even over all customers."""
    return over * (crc32(customer_id.encode()) / 2**32)
