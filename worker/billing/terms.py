"""What another catalogue says where a ledger was written under the one in use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from schemas.money import Money
from schemas.plans import BadPlans, Catalogue, PlanVersion

WITH_ACCOUNT = ("signup", "billing_added")  # sources of credits that are given once in a life


class Invoiced(NamedTuple):
    """A period of a subscription that was paid, and the version it was ordered under."""

    plan: str
    plan_version: date
    begun: datetime  # the subscription
    start: datetime  # the period
    end: datetime
    gives_apart: bool  # the ledger has a transfer of its own for the included credits
    key: str  # of those credits


@dataclass(slots=True)
class Terms:
    """Of one customer. Raises BadPlans for what `candidate` lacks, or has in another currency."""

    customer_id: str
    currency: str
    candidate: Catalogue
    in_use: Catalogue
    subscribed: tuple[str, Money | None] | None = None  # the plan, and what it cost at first

    def in_place_of(self, plan: str, effective: date, cycle_start: datetime) -> PlanVersion:
        """Of this version, which the ledger pinned in that cycle."""
        return self.on(plan, within(self.in_use, plan, effective, cycle_start.date()))

    def on(self, plan: str, day: date) -> PlanVersion:
        """As the rules pin it: a subscription keeps the price with which it began."""
        version = self.candidate.in_force(plan, day)
        if version.currency not in (None, self.currency):
            raise BadPlans(
                f"plan {plan} is in {version.currency}, "
                f"the ledger of {self.customer_id} in {self.currency}"
            )
        if self.subscribed is None or self.subscribed[0] != plan:
            return version
        begun = [each for each in self.candidate.plan(plan).versions if each.effective <= day]
        kept = [each for each in begun if each.subscription == self.subscribed[1]]
        return kept[-1] if kept else version

    def subscribe(self, invoiced: Invoiced) -> int:
        """What a period costs, in minor units: as much as the first one."""
        self.subscribed = None
        first = self.in_place_of(invoiced.plan, invoiced.plan_version, invoiced.begun)
        self.subscribed = invoiced.plan, first.subscription
        return first.subscription.amount if first.subscription else 0

    def including(self, paid: Invoiced, credits: int | None) -> PlanVersion:
        """For the credits of a period. Paid late, it brought as many as a later version gives."""
        day = paid.start.date()
        gave = [
            within(self.in_use, paid.plan, each.effective, day)
            for each in self.in_use.plan(paid.plan).versions
            if each.included_credits == credits
        ]
        return self.on(paid.plan, min(gave, default=day, key=lambda each: abs(each - day)))

    def giver(self, source: str | None, credits: int, at: datetime) -> PlanVersion | None:
        """In place of the version that gave so many then; a grant does not name its plan."""
        if source not in WITH_ACCOUNT:
            return None
        for plan in self.in_use.plans:
            for version in reversed(self.in_use.plan(plan).versions):
                if version.effective <= at.date() and credits_of(version, source) == credits:
                    return self.in_place_of(plan, version.effective, at)
        return None


def within(in_use: Catalogue, plan: str, effective: date, day: date) -> date:
    """The day nearest to this one on which that version was in force."""
    later = [each.effective for each in in_use.plan(plan).versions if each.effective > effective]
    last = min(later) - timedelta(days=1) if later else date.max
    return min(max(day, effective), last)


def credits_of(version: PlanVersion, source: str | None) -> int:
    """How many this version gives at such an occasion."""
    number: int = getattr(version, f"{source}_credits")
    return number
