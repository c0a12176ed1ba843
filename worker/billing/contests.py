"""Contests: a customer says that a fix was wrong, and the operator decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.events import REVERTED, Event, FixData, new_event
from schemas.inbox import Entry
from worker.billing.decide import REVERT_WITHIN
from worker.billing.fix import Fix, FixOutcome

SOURCE = "fixbill/contests"  # of the events that take contested fixes back
DOOR = "contest"


class Decision(StrEnum):
    """What the operator decided."""

    ACCEPTED = "accepted"  #: the fix is taken back
    REJECTED = "rejected"  #: it stays as it is


@dataclass(frozen=True, slots=True)
class Contest:
    """`reason` is the customer's own words."""

    customer_id: str
    contest_id: str
    fix_id: str
    reason: str
    idempotency_key: str | None
    opened_at: datetime  # business time
    decided_at: datetime | None = None
    decision: str | None = None
    decided_why: str | None = None

    def says(self, fix_id: str, reason: str) -> bool:
        """Whether it is the same word about the same fix."""
        return (self.fix_id, self.reason) == (fix_id, reason)


def why_not_contestable(fix: Fix, now: datetime) -> str | None:
    """Why it is too late, or needless; None if the customer may contest it."""
    if fix.outcome is FixOutcome.REVERTED:
        return f"{fix.fix_id} has been taken back already"
    if now - fix.deployed_at > REVERT_WITHIN:
        days = REVERT_WITHIN.days
        return f"a fix can be contested within {days} days of its deployment"
    return None


def revert_of(contest: Contest, fix: Fix) -> Event:
    """What a producer would send who takes the fix back; the 30 days end where it was contested."""
    return new_event(
        source=SOURCE,
        id=contest.contest_id,
        type=REVERTED,
        time=contest.opened_at,
        data=FixData(
            customer_id=fix.customer_id,
            fix_id=fix.fix_id,
            repository=fix.repository,
            commit_sha=fix.commit_sha,
            pull_request=fix.pull_request,
            finding=fix.finding,
        ),
    )


def entry_of(event: Event, accepted_at: datetime) -> Entry:
    return Entry(f"{DOOR}/{event.id}", event.to_bytes(), DOOR, accepted_at)
