"""A batch of events: decide each in turn, and write what was decided into one journal."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.decide import decide
from worker.billing.entries import settle
from worker.billing.fix import Arrival
from worker.billing.journal import Journal, Quarantined, Recorded
from worker.billing.known import Known, key_of
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
from worker.billing.rollover import catch_up


def decide_batch(
    arrivals: Iterable[Arrival], books: dict[str, Book], known: Known, now: datetime
) -> Journal:
    """A fold of `decide`: however a list of events is cut, transfers and books come out equal."""
    journal = Journal(books, known, now)
    for each in books.values():
        known.fixes.update({(fix.customer_id, fix.fix_id): fix for fix in each.backlog})
    for arrival in arrivals:
        if known.repeats(arrival.event):
            journal.repeat([arrival])
        else:
            decide_arrival(journal, books.get(arrival.event.customer_id), arrival)
    for each in books.values():
        settle_backlog(journal, each)
    return journal


def decide_arrival(journal: Journal, book: Book | None, arrival: Arrival) -> None:
    """Each event is decided as of the moment it was accepted, whenever we get round to it.

    So an outage of ours costs no customer a credit that expired meanwhile, nor a cheaper price.
    """
    if book is None:
        write(journal, book, arrival, decide(book, journal.known, arrival.event, journal.now))
        return
    at = min(arrival.entry.accepted_at, journal.now)
    catch_up(journal, book, at + book.clock_offset)
    settle_backlog(journal, book)
    outcome = decide(book, journal.known, arrival.event, journal.recorded_at(book))
    write(journal, book, arrival, outcome)
    settle_backlog(journal, book)


def write(journal: Journal, book: Book | None, arrival: Arrival, outcome: Outcome) -> None:
    """Put one event's outcome into the journal."""
    if isinstance(outcome, Refused):
        why = outcome.reason, outcome.detail
        journal.refuse([Quarantined(arrival.entry, arrival.event, *why)])
        return
    journal.verdicts[arrival.entry.key] = outcome.name
    event = arrival.event
    if book is not None and not isinstance(outcome, Unchanged):
        book.accepted_at = arrival.entry.accepted_at
    journal.known.events[key_of(event)] = event.body_hash
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
            entry.key_id,
            entry.traceparent or event.traceparent,
            event.time,
            entry.accepted_at,
            journal.now,
        )
    )
