"""Two plan catalogues compared: what may change, and what would rewrite history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Literal, NamedTuple

from schemas.plans import Catalogue, Plan, PlanVersion

Change = Literal["added", "removed", "changed"]


class Difference(NamedTuple):
    """One field that is not the same in both."""

    plan: str
    version: date | None  # None: the plan's own field
    field: str
    change: Change
    before: object
    after: object
    rewrites_history: bool  # customers have been billed by what stood there, or by its absence


def diff(old: Catalogue, new: Catalogue, today: date) -> list[Difference]:
    """Every difference. What was in force on any day until today must stay as it was."""
    return [
        difference
        for code in {**old.plans, **new.plans}
        for difference in of_plan(code, old.plans.get(code), new.plans.get(code), today)
    ]


def of_plan(code: str, old: Plan | None, new: Plan | None, today: date) -> Iterator[Difference]:
    before, after = by_date(old), by_date(new)
    title, new_title = old and old.title, new and new.title
    if title != new_title:
        gone = new is None and min(before) <= today
        change = kind_of(title, new_title)
        yield Difference(code, None, "title", change, title, new_title, gone)
    for effective in sorted({**before, **after}):
        # Nobody can have been on a plan that there was not.
        rewrites = old is not None and effective <= today
        for field, was, becomes in of_version(before.get(effective), after.get(effective)):
            change = kind_of(was, becomes)
            yield Difference(code, effective, field, change, was, becomes, rewrites)


def of_version(
    old: PlanVersion | None, new: PlanVersion | None
) -> Iterator[tuple[str, object, object]]:
    """The fields that differ; of a version that is new or gone, those that say something."""
    for name, field in PlanVersion.model_fields.items():
        before, after = getattr(old, name, None), getattr(new, name, None)
        unsaid = field.default == (before if new is None else after) and None in (old, new)
        if before != after and not unsaid:
            yield name, before, after


def kind_of(before: object, after: object) -> Change:
    if before is None:
        return "added"
    return "removed" if after is None else "changed"


def by_date(plan: Plan | None) -> dict[date, PlanVersion]:
    return {each.effective: each for each in plan.versions} if plan else {}
