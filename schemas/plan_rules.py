"""What must hold between the fields, versions and plans of a catalogue for it to be billable."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from re import fullmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.plans import PlanVersion
    from schemas.toml_lines import Place

Versions = Mapping[str, Mapping[int, "PlanVersion"]]  # by plan and place in its file
Problems = Iterator[tuple[str, str]]  # a field, and what is wrong with it

CODE = r"[a-z0-9][a-z0-9_-]*"
LEADS = ("billing_added_plan", "after_cancel_plan")
OF_SUBSCRIPTIONS = ("included_credits", "rollover_credits_max", "after_cancel_plan")


def broken_rules(
    versions: Versions, codes: Collection[str], whole: Collection[str]
) -> Iterator[tuple[Place, str]]:
    """Each broken rule with its place. `codes` are all plans, `whole` those without a bad field."""
    for code in codes:
        if not fullmatch(CODE, code):
            yield (code,), "the name of a plan is made of a-z, 0-9, - and _"
    for code, numbered in versions.items():
        for index, version in numbered.items():
            earlier = [each for place, each in numbered.items() if place < index]
            for rule in (
                follows(version, earlier),
                agrees(version),
                leads_somewhere(version, versions, codes, whole),
            ):
                for field, problem in rule:
                    yield (code, "versions", index, field), problem


def follows(version: PlanVersion, earlier: Sequence[PlanVersion]) -> Problems:
    """A customer's ledger is in one currency, so a plan's never changes."""
    if earlier and version.effective <= (latest := max(each.effective for each in earlier)):
        yield "effective", f"must be later than {latest}, the date of the version before"
    currencies = {each.currency for each in earlier if each.currency}
    if version.currency and currencies - {version.currency}:
        field = "price" if version.price else "subscription"
        yield field, f"the currency of a plan never changes, and is {', '.join(sorted(currencies))}"


def agrees(version: PlanVersion) -> Problems:
    """The fields of one version with each other."""
    if version.subscription is None:
        for field in OF_SUBSCRIPTIONS:
            if getattr(version, field):
                yield field, "needs a subscription"
        return
    if version.after_cancel_plan is None:
        yield "after_cancel_plan", "is missing: the plan that follows when the subscription ends"
    if version.price and version.price.currency != version.subscription.currency:
        yield "subscription", f"must be in the currency of the price, {version.price.currency}"


def leads_somewhere(
    version: PlanVersion, versions: Versions, codes: Collection[str], whole: Collection[str]
) -> Problems:
    """Customers can be moved to the plans that are named here, on every day of this version."""
    for field in LEADS:
        code = getattr(version, field)
        if code is not None and code not in codes:
            yield field, f"there is no plan {code!r}; there are {', '.join(codes)}"
        elif code in whole:
            for obstacle in obstacles(version, list(versions[code].values())):
                yield field, f"plan {code} {obstacle}"


def obstacles(version: PlanVersion, there: Sequence[PlanVersion]) -> Iterator[str]:
    """Why customers of this version cannot be moved there, without a word of theirs."""
    if any(each.subscription for each in there):
        yield "has a subscription, which only the customer can begin"
    if all(each.effective > version.effective for each in there):
        yield f"has no version in force on {version.effective}"
    for currency in sorted({each.currency for each in there if each.currency}):
        if version.currency and currency != version.currency:
            yield f"is in {currency}, and this version in {version.currency}"
