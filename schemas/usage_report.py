"""What Fixbill answers about the usage of any cycle or window, in groups."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from schemas.answers import Answer, CycleAnswer, FixCounts, Listing, RepositoryUsage
from schemas.money import Money

GroupBy = Literal["day", "repository", "outcome"]


class DayUsage(Answer):
    day: date = Field(description="On which the fixes were deployed, UTC.")
    fixes: FixCounts
    charged: Money


class OutcomeUsage(Answer):
    outcome: Literal["credited", "charged", "held", "reverted"]
    fixes: FixCounts
    charged: Money


# What a group is, by what it is grouped by; the first field is its key.
GROUPS: dict[GroupBy, type[DayUsage | RepositoryUsage | OutcomeUsage]] = {
    "day": DayUsage,
    "repository": RepositoryUsage,
    "outcome": OutcomeUsage,
}


class UsageWindow(Answer):
    start: date
    end: date = Field(description="The first day that is no longer included.")


class UsageTotal(Answer):
    fixes: FixCounts
    charged: Money


class UsageReport(Listing):
    """Usage of one cycle, or of the fixes deployed within a window, whatever cycle they count in.

    A group that counts nothing is left out.
    """

    customer_id: str
    cycle: CycleAnswer | None = Field(description="Null for a window.")
    window: UsageWindow | None = Field(description="Null for a cycle.")
    group_by: GroupBy
    data: list[DayUsage] | list[RepositoryUsage] | list[OutcomeUsage] = Field(
        description="In order of day, repository or outcome."
    )
    total: UsageTotal = Field(description="Of all groups, those of other pages among them.")
