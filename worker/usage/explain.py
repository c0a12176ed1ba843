"""Explaining a fix or a charge: evidence, then words, then arithmetic that adds up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import Connection

from schemas.explanations import (
    ChargeExplanation,
    FixExplanation,
    LineExplained,
    LinesExplained,
)
from schemas.money import Money
from worker.billing.charges import Charge
from worker.storage.charges import ChargeKey
from worker.storage.evidence import (
    ChargeEvidence,
    FixEvidence,
    FixKey,
    Lines,
    evidence_of_charge,
    evidence_of_fix,
)
from worker.usage.arithmetic import (
    chain_of,
    cost_told,
    fixes,
    net_of,
    owed_of,
    shown_transfers,
    steps_of_charge,
    steps_of_fix,
)
from worker.usage.collected import collected, collecting_story, when
from worker.usage.contests import contest_answer
from worker.usage.fix_events import events_explained, set_aside_about
from worker.usage.fix_story import (
    cycle_explained,
    grant_explained,
    headline_of,
    plan_explained,
    refunds_about,
    story_of,
)

FixStatus = Literal["credited", "charged", "held", "reverted", "waiting", "quarantined"]


class Described(NamedTuple):
    """What a fix is, as it was settled or as the event says that waits."""

    repository: str
    commit_sha: str
    pull_request: int | None
    finding: str | None
    deployed_at: datetime


def explain_fix(tx: Connection, key: FixKey, as_of: datetime | None) -> FixExplanation | None:
    """None for a fix of which nothing was ever heard."""
    evidence = evidence_of_fix(tx, key)
    described = description_of(evidence)
    if described is None:
        return None
    fix, collection = evidence.fix, evidence.collection
    events = events_explained(evidence)
    cycle = cycle_explained(fix, evidence.cycle, events) if fix and evidence.cycle else None
    contests = [contest_answer(each) for each in evidence.contests]
    steps = steps_of_fix(evidence)
    net = net_of(steps, evidence.account.currency if evidence.account else None)
    return FixExplanation(
        customer_id=key.customer_id,
        fix_id=key.fix_id,
        as_of=as_of,
        status=status_of(evidence),
        text=headline_of(evidence, events, net),
        story=list(story_of(evidence, events, cycle, contests)),
        **described._asdict(),
        settled_at=fix.settled_at if fix else None,
        held_why=fix.held_why if fix else None,
        events=events,
        plan=plan_explained(fix) if fix else None,
        cycle=cycle,
        grants=[grant_explained(each) for each in evidence.grants],
        charge=collected(collection, refunds_about(evidence)) if collection else None,
        contests=contests,
        steps=steps,
        net=net,
        transfers=list(shown_transfers(evidence.transfers)),
        chain=chain_of(evidence.transfers),
    )


def description_of(evidence: FixEvidence) -> Described | None:
    """None: there is neither a fix nor an event that waits to become one."""
    fix = evidence.fix
    if fix is not None:
        return Described(*(getattr(fix, name) for name in Described._fields))
    waiting = set_aside_about([*evidence.waiting, *evidence.refused], evidence.key.fix_id)
    if not waiting:
        return None
    event = waiting[-1].event
    data = event.data
    return Described(
        data.repository, data.commit_sha, data.pull_request, data.finding, deployed_at=event.time
    )


def status_of(evidence: FixEvidence) -> FixStatus:
    if evidence.fix is not None:
        return evidence.fix.outcome.value
    waits = set_aside_about(evidence.waiting, evidence.key.fix_id)
    return "waiting" if waits else "quarantined"


def explain_charge(
    tx: Connection, key: ChargeKey, as_of: datetime | None
) -> ChargeExplanation | None:
    """None if there is no such charge."""
    evidence = evidence_of_charge(tx, key)
    if evidence is None:
        return None
    collection, lines = evidence.collection, evidence.lines
    currency = collection.charge.currency
    steps = steps_of_charge(evidence)
    net = net_of(steps, currency)
    return ChargeExplanation(
        customer_id=key.customer_id,
        charge_id=key.charge_id,
        as_of=as_of,
        text=f"{key.charge_id} {cost_told(net)}, {owed_told(evidence)}.",
        story=list(charge_story(evidence)),
        lines=[
            LineExplained(
                fix_id=line.fix_id,
                price=Money(line.price, currency),
                added_at=line.added_at,
                removed_at=line.removed_at,
            )
            for line in lines.shown
        ],
        all_lines=lines_explained(lines, currency),
        collected=collected(collection, collection.refunds),
        steps=steps,
        net=net,
        transfers=list(shown_transfers(evidence.transfers)),
        chain=chain_of(evidence.transfers),
    )


def owed_told(evidence: ChargeEvidence) -> str:
    owed = owed_of(evidence.collection)
    return f"of which {owed} is not paid yet" if owed.amount else "and nothing of it is owed"


def lines_explained(lines: Lines, currency: str) -> LinesExplained:
    shown = sum(line.price for line in lines.shown)
    return LinesExplained(
        count=lines.number,
        money=Money(lines.amount, currency),
        removed=lines.removed,
        removed_money=Money(lines.removed_amount, currency),
        not_shown=lines.number - len(lines.shown),
        not_shown_money=Money(lines.amount - shown, currency),
    )


def charge_story(evidence: ChargeEvidence) -> Iterator[str]:
    charge, lines = evidence.collection.charge, evidence.lines
    yield f"{charge.charge_id} was opened on {when(charge.opened_at)}."
    yield lines_told(charge, lines)
    yield from collecting_story(evidence.collection, evidence.collection.refunds)


def lines_told(charge: Charge, lines: Lines) -> str:
    money = Money(lines.amount, charge.currency)
    told = f"{fixes(lines.number)} went on it, {money} in all"
    if lines.removed:
        gone = Money(lines.removed_amount, charge.currency)
        told += f"; {fixes(lines.removed)} ({gone}) of them were taken back before it was paid"
    return told + "."
