"""A fix in words: under which plan, in which cycle, what paid, and what the customer pays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.contests import ContestAnswer
from schemas.explanations import CycleExplained, EventExplained, GrantExplained, Net, PlanExplained
from schemas.plans import BadPlans, load_plans
from worker.billing.cycles import Cycle
from worker.billing.fix import Fix, FixOutcome
from worker.billing.grants import Grant
from worker.billing.refunds import Refund
from worker.billing.reverts import REVERT
from worker.storage.collection import Collection
from worker.storage.evidence import FixEvidence
from worker.usage.arithmetic import cost_told, owed_of, plan_named
from worker.usage.collected import collecting_story, when
from worker.usage.fix_events import events_story

SOURCES = {
    "signup": "given at sign-up",
    "billing_added": "given with the first payment method",
    "rolled": "rolled over from the cycle before",
    "included": "included in the subscription",
    "revert": "given for a fix that was taken back",
    "operator": "given by the operator",
    "top_up": "bought",
}
# Why a fix is held, as `billing.decide` says it, and what helps.
HELPS = {
    "behind older held fixes": "credits go to the oldest fix first, so the older ones come first",
    "no credit left, and the plan has no price per fix": "a credit, or a plan with a price per fix",
    "no payment method": "a payment method or a credit",
    "past due": "what is owed must be paid first, or a credit given",
    "waits for the invoice of this period to be paid": "the subscription's invoice, or a credit",
    "spending cap reached": "a higher spending cap, the next cycle, or a credit",
}


def plan_explained(fix: Fix) -> PlanExplained:
    """As the catalogue in use has it; the price of a charged fix is the one pinned to it."""
    try:
        title = load_plans().title(fix.plan)
        price = load_plans().pinned(fix.plan, fix.plan_version).price
    except BadPlans:  # an older catalogue had it
        title, price = fix.plan, None
    return PlanExplained(code=fix.plan, title=title, version=fix.plan_version, price_per_fix=price)


def cycle_explained(
    fix: Fix, place: tuple[int, Cycle], events: Sequence[EventExplained]
) -> CycleExplained:
    number, cycle = place
    return CycleExplained(
        number=number,
        start=cycle.start,
        end=cycle.end,
        late=fix.late,
        text=why_this_cycle(fix, cycle, was_held(events)),
    )


def was_held(events: Sequence[EventExplained]) -> bool:
    return any(each.verdict == "held" for each in events)


def why_this_cycle(fix: Fix, cycle: Cycle, held: bool) -> str:
    if fix.outcome is FixOutcome.HELD:
        return "it counts here as held; once something pays, in the cycle that is open then"
    if fix.deployed_at < cycle.start:
        came = "when something paid for it" if held else "when it was reported"
        return f"late: {came}, the cycle in which it was deployed was closed"
    if fix.settled_at is not None and fix.settled_at >= cycle.end and not held:
        return "it was deployed in it, and reported before it closed, an hour after its end"
    if fix.late:
        return "it was deployed in it; late, because it was reported more than 7 days after that"
    return "it was deployed in it"


def grant_explained(grant: Grant) -> GrantExplained:
    return GrantExplained(
        grant_id=grant.grant_id,
        source=grant.source,
        origin=grant.origin,
        given_at=grant.recorded_at,
        expires_at=grant.expires_at,
        priority=grant.priority,
        text=why_this_grant(grant),
    )


def why_this_grant(grant: Grant) -> str:
    source = SOURCES.get(grant.source, grant.source)
    expiry = f"good until {when(grant.expires_at)}" if grant.expires_at else "without an expiry"
    given = f"{source} on {when(grant.recorded_at)}, {expiry}"
    if grant.grant_id.startswith(REVERT):
        return given
    return (
        f"{given}; of the credits that were there it came first: by priority (its is "
        f"{grant.priority}, lower goes first), then the soonest expiry, then the oldest"
    )


def story_of(
    evidence: FixEvidence,
    events: list[EventExplained],
    cycle: CycleExplained | None,
    contests: Sequence[ContestAnswer],
) -> Iterator[str]:
    yield from events_story(events)
    fix = evidence.fix
    if fix is not None:
        yield from settled_story(evidence, fix, cycle)
    for contest in contests:
        yield contest_told(contest)


def settled_story(evidence: FixEvidence, fix: Fix, cycle: CycleExplained | None) -> Iterator[str]:
    plan = plan_explained(fix)
    price = f"{plan.price_per_fix} a fix" if plan.price_per_fix else "no price per fix"
    yield f"The plan was {plan.title}, in its version of {plan.version}: {price}."
    if cycle is not None:
        span = f"{cycle.start:%Y-%m-%d} to {cycle.end:%Y-%m-%d}"
        yield f"It counts in cycle {cycle.number} ({span}): {cycle.text}."
    if fix.held_why is not None:
        yield f"It is held: {fix.held_why}. What helps: {HELPS.get(fix.held_why, 'a credit')}."
    paid_by = [each for each in evidence.grants if each.grant_id == fix.grant_id]
    for grant in paid_by:
        yield f"A credit of the grant {grant.grant_id} paid: {why_this_grant(grant)}."
    if evidence.collection is not None:
        yield from charged_story(evidence, evidence.collection, fix)
    for grant in evidence.grants:
        if grant not in paid_by:
            yield f"It earned a credit, {grant.grant_id}: {why_this_grant(grant)}."


def charged_story(evidence: FixEvidence, collection: Collection, fix: Fix) -> Iterator[str]:
    first = next((t.charge_id for t, _ in evidence.transfers if t.kind == "charge"), None)
    if first != fix.charge_id:
        yield f"It was first on {first}; that was withdrawn, and its fixes moved on."
    yield f"There was no credit for it, so it went on {fix.charge_id} at that price."
    yield from collecting_story(collection, refunds_about(evidence))


def refunds_about(evidence: FixEvidence) -> list[Refund]:
    """Of the charge as a whole, or of this fix; not those of its neighbours."""
    found = evidence.collection.refunds if evidence.collection else []
    return [each for each in found if each.fix_id in (None, evidence.key.fix_id)]


def contest_told(contest: ContestAnswer) -> str:
    decided = f"{contest.status} on {when(contest.decided_at)}" if contest.decided_at else "open"
    why = f" ({contest.decided_why})" if contest.decided_why else ""
    return (
        f"The customer contested it on {when(contest.opened_at)} ({contest.contest_id}): "
        f"“{contest.reason}”; {decided}{why}."
    )


def headline_of(evidence: FixEvidence, events: Sequence[EventExplained], net: Net) -> str:
    """The answer in one sentence."""
    fix, fix_id = evidence.fix, evidence.key.fix_id
    if fix is None:
        last = events[-1]
        return f"{fix_id} is not billed: {last.text}."
    cost = cost_told(net)
    if fix.outcome is FixOutcome.HELD:
        return f"{fix_id} waits and costs nothing so far: {fix.held_why}."
    if fix.outcome is FixOutcome.REVERTED:
        return f"{fix_id} was taken back: it {cost}."
    if fix.outcome is FixOutcome.CREDITED:
        return f"{fix_id} {cost}: a credit of the grant {fix.grant_id} paid."
    return f"{fix_id} {cost}, {paid_told(evidence)} ({plan_named(fix.plan, fix.plan_version)})."


def paid_told(evidence: FixEvidence) -> str:
    if evidence.collection is None or owed_of(evidence.collection).amount:
        return "not paid yet"
    charge = evidence.collection.charge
    if charge.paid_at is None:
        return "and nothing of it is owed any more"
    return f"paid with {charge.charge_id} on {when(charge.paid_at)}"
