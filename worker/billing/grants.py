"""Grants: lots of credits with a source, a priority and an expiry."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Used first when lower: what is soonest lost first, and what was given before what was bought.
PRIORITY = {
    "signup": 10,
    "billing_added": 10,
    "rolled": 15,
    "included": 20,
    "revert": 30,
    "operator": 40,
    "top_up": 50,
}


@dataclass(slots=True)
class Grant:
    """A lot of credits. `grant_id` is the key that makes giving it idempotent."""

    customer_id: str
    grant_id: str
    source: str
    priority: int
    granted: int
    remaining: int
    expires_at: datetime | None
    recorded_at: datetime
    rolls_max: int = 0  # so many of its credits roll over when it expires
    origin: str | None = None  # what it came from: a grant, a charge, an invoice
    first_expired_at: datetime | None = None  # as it was given, if it was opened again since

    def usable(self, now: datetime) -> bool:
        return self.remaining > 0 and (self.expires_at is None or self.expires_at > now)


def order_of_use(grant: Grant) -> tuple[int, float, datetime, str]:
    """By priority, then soonest expiry, then oldest."""
    expiry = grant.expires_at.timestamp() if grant.expires_at else float("inf")
    return grant.priority, expiry, grant.recorded_at, grant.grant_id
