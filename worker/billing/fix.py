"""A fix: the one thing that is billed, once per customer and fix id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from schemas.events import Event
from schemas.inbox import Entry
from schemas.money import Money


class FixOutcome(StrEnum):
    """How a fix was settled."""

    CREDITED = "credited"  #: paid by a credit
    CHARGED = "charged"  #: owed in money
    HELD = "held"  #: waits for a way to pay
    REVERTED = "reverted"  #: taken back; costs nothing


@dataclass(slots=True)
class Fix:
    """What became of a fix. A price is pinned here when it is charged."""

    customer_id: str
    fix_id: str
    outcome: FixOutcome
    held_why: str | None
    repository: str
    commit_sha: str
    pull_request: int | None
    finding: str | None
    deployed_at: datetime
    recorded_at: datetime
    settled_at: datetime | None  # when a credit or money paid for it, or it was reverted
    cycle_start: datetime
    late: bool
    plan: str
    plan_version: date
    price: int | None  # minor units of `currency`
    currency: str | None
    grant_id: str | None
    charge_id: str | None
    source: str
    event_id: str

    def __post_init__(self) -> None:
        self.outcome = FixOutcome(self.outcome)  # a row has its text

    @property
    def owed(self) -> Money | None:
        """What the fix costs in money."""
        charged = self.outcome is FixOutcome.CHARGED
        return (
            Money(self.price, self.currency) if charged and self.price and self.currency else None
        )


class Arrival(NamedTuple):
    """An event, and the inbox entry it came in."""

    event: Event
    entry: Entry
