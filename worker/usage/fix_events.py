"""What producers said of a fix, and what was made of each word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from schemas.events import BadEvent, Event, parse_event
from schemas.explanations import EventExplained
from worker.billing.contests import SOURCE as CONTESTS
from worker.billing.fix import Fix
from worker.billing.journal import Recorded
from worker.storage.evidence import Aside, FixEvidence
from worker.usage.collected import when

VERDICTS = {
    "credited": "the first of its fix: a credit paid",
    "charged": "the first of its fix: it is paid in money",
    "held": "the first of its fix: it was held",
    "reverted": "it took the fix back",
    "reverted_unseen": "it took back a fix that nobody had reported: it will cost nothing",
}

# Of what came at the same moment, what cannot have been first.
AFTER = {"reverted": 1, "duplicate": 2, "quarantined": 3}


class Unsettled(NamedTuple):
    """An entry that was set aside, and the event in it."""

    entry: Aside
    event: Event


def set_aside_about(entries: list[Aside], fix_id: str) -> list[Unsettled]:
    """Those whose event is about this very fix; a replayed one has had its answer since."""
    found = []
    for entry in entries:
        try:
            event = parse_event(entry.body)
        except BadEvent:
            continue
        if event.fix_id == fix_id and entry.replayed_at is None:
            found.append(Unsettled(entry, event))
    return found


def events_explained(evidence: FixEvidence) -> list[EventExplained]:
    fix_id = evidence.key.fix_id
    told = [settled_event(each, evidence.fix) for each in evidence.events]
    for entry, event in set_aside_about([*evidence.waiting, *evidence.refused], fix_id):
        told.append(unsettled_event(entry, event))
    return sorted(told, key=lambda each: (each.accepted_at, AFTER.get(each.verdict, 0)))


def settled_event(event: Recorded, fix: Fix | None) -> EventExplained:
    return EventExplained(
        event_id=event.event_id,
        source=event.source,
        type=event.type,
        door=event.door,
        key_id=event.key_id,
        trace_id=trace_of(event.traceparent),
        happened_at=event.happened_at,
        accepted_at=event.accepted_at,
        recorded_at=event.recorded_at,
        verdict=event.verdict,
        text=verdict_told(event, fix),
    )


def verdict_told(event: Recorded, fix: Fix | None) -> str:
    """The dedup decision in words."""
    if event.verdict == "reverted" and event.source == CONTESTS:
        return f"the operator accepted the customer's contest {event.event_id}: taken back"
    if event.verdict != "duplicate" or fix is None:
        return VERDICTS.get(event.verdict, event.verdict)
    first = f"{fix.event_id} of {fix.source}"
    if "reverted" in event.type:
        return "the fix had been taken back already: nothing changes"
    return f"a duplicate: the fix was known by {first}, so nothing is billed"


def unsettled_event(entry: Aside, event: Event) -> EventExplained:
    waits = entry.quarantine_id is None
    why = f"in quarantine as {entry.quarantine_id}: {entry.reason}, {entry.detail}"
    return EventExplained(
        event_id=event.id,
        source=event.source,
        type=event.type,
        door=entry.door,
        key_id=entry.key_id,
        trace_id=trace_of(entry.traceparent or event.traceparent),
        happened_at=event.time,
        accepted_at=entry.accepted_at,
        recorded_at=entry.recorded_at,
        verdict="waiting" if waits else "quarantined",
        text=f"it waits until {event.customer_id} is known to us" if waits else why,
    )


def trace_of(traceparent: str | None) -> str | None:
    """W3C trace context: version, trace id, parent id, flags."""
    return traceparent.split("-")[1] if traceparent else None


def events_story(events: list[EventExplained]) -> Iterator[str]:
    for event in events:
        signed = f", signed by {event.key_id}" if event.key_id else ""
        trace = f", trace {event.trace_id}" if event.trace_id else ""
        happened = when(event.happened_at) if event.happened_at else "some time"
        verb = "taken back" if event.type and "reverted" in event.type else "deployed"
        yield (
            f"{event.source} said that it was {verb} at {happened} (event {event.event_id}, by "
            f"{event.door}{signed}, accepted {when(event.accepted_at)}{trace}): {event.text}."
        )
