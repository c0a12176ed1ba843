"""A batch of events: decide each in turn, and write what was decided into one journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from worker.billing.book import Book
from worker.billing.decide import decide, decide_backlog
from worker.billing.entries import release, settle
from worker.billing.fix import Arrival
from worker.billing.journal import Journal, Quarantined, Recorded
from worker.billing.known import Known
from worker.billing.outcome import (
    Charged,
    Credited,
    Held,
    Outcome,
    Refused,
    Reverted,
    Tombstone,
    Unchanged,
    Waiting,
)
from worker.billing.reverts import bury, take_back


def decide_batch(
    arrivals: Iterable[Arrival], books: dict[str, Book], known: Known, now: datetime
) -> Journal:
    """A fold of `decide`: however a list of events is cut, transfers and books come out equal."""
    journal = Journal(books, known, now)
    for each in books.values():
        if each.backlog:
            known.fixes.update({(fix.customer_id, fix.fix_id): fix for fix in each.backlog})
            settle_backlog(journal, each)
    for arrival in arrivals:
        event = arrival.event
        book = books.get(event.customer_id)
        outcome = decide(book, known, event, journal.time_of(book))
        write(journal, book, arrival, outcome)
        if book is not None and book.backlog:
            settle_backlog(journal, book)
    return journal


def settle_backlog(journal: Journal, book: Book) -> None:
    """Held fixes settle oldest first, until nothing can pay for the next one."""
    while book.backlog:
        payment = decide_backlog(book, book.backlog[0], journal.time_of(book))
        if isinstance(payment, Held):
            return
        journal.released[payment.name] += 1
        release(journal, book, book.backlog.pop(0), payment)


def write(journal: Journal, book: Book | None, arrival: Arrival, outcome: Outcome) -> None:
    """Put one event's outcome into the journal."""
    if isinstance(outcome, Refused):
        why = outcome.reason, outcome.detail
        journal.refuse([Quarantined(arrival.entry, arrival.event, *why)])
        return
    journal.verdicts[arrival.entry.key] = outcome.name
    if isinstance(outcome, Unchanged) and outcome.same_event:
        return
    event = arrival.event
    if book is not None and not isinstance(outcome, Unchanged):
        book.accepted_at = arrival.entry.accepted_at
    journal.known.events[event.customer_id, event.source, event.id] = event.body_hash
    if isinstance(outcome, Waiting) or book is None:
        journal.waiting.append(arrival)
        return
    if isinstance(outcome, Credited | Charged | Held):
        settle(journal, book, arrival, outcome)
    elif isinstance(outcome, Reverted):
        take_back(journal, book, arrival, outcome)
    elif isinstance(outcome, Tombstone):
        bury(journal, book, arrival)
    record(journal, arrival, outcome.name)


def record(journal: Journal, arrival: Arrival, verdict: str) -> None:
    """Remember the event and what it did."""
    event, entry = arrival.event, arrival.entry
    journal.events.append(
        Recorded(
            event.customer_id,
            event.source,
            event.id,
            event.type,
            event.fix_id,
            event.body_hash,
            verdict,
            entry.door,
            entry.traceparent or event.traceparent,
            event.time,
            entry.accepted_at,
            journal.now,
        )
    )
