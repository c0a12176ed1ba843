"""Start here: the life of a batch of events, from the inbox to the ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from schemas.events import BadEvent, parse_event
from schemas.inbox import Entry
from worker.billing.batch import decide_batch
from worker.billing.fix import Arrival
from worker.billing.journal import Journal, Quarantined
from worker.storage.books import known_fixes, open_books
from worker.storage.parked import forget_parked
from worker.storage.post import post
from worker.storage.quarantine import take_for_replay
from worker.storage.waiting import take_waiting


def settle(entries: Sequence[Entry], connection: Connection, now: datetime) -> Journal:
    """Read what came in, open the books it touches, decide, post. One commit."""
    arrivals, unreadable = read(entries)
    with connection.begin():
        return settle_arrivals(connection, arrivals, unreadable, now)


def settle_backlog(customer_id: str, engine: Engine, now: datetime) -> Journal:
    """Settle what waited for this customer to be known, or for a way to pay."""
    with engine.begin() as tx:
        return settle_arrivals(tx, [], [], now, {customer_id})


def settle_parked(entry: Entry, engine: Engine, now: datetime) -> Journal:
    """Settle an entry that was parked while the inbox was away."""
    arrivals, unreadable = read([entry])
    with engine.begin() as tx:
        forget_parked(tx, entry)
        return settle_arrivals(tx, arrivals, unreadable, now)


def replay(quarantine_id: str, engine: Engine, now: datetime) -> Journal | None:
    """Settle what stands in quarantine; None if it is not there, or was replayed before."""
    with engine.begin() as tx:
        entry = take_for_replay(tx, quarantine_id, now)
        if entry is None:
            return None
        return settle_arrivals(tx, *read([entry]), now)


def quarantine(
    entry: Entry, connection: Connection, now: datetime, reason: str, detail: str
) -> Journal:
    """Set one entry aside without trying to settle it."""
    with connection.begin():
        return settle_arrivals(connection, [], [Quarantined(entry, None, reason, detail)], now)


def settle_arrivals(
    tx: Connection,
    arrivals: list[Arrival],
    unreadable: list[Quarantined],
    now: datetime,
    customer_ids: Collection[str] = (),
) -> Journal:
    wanted = {*customer_ids, *(arrival.event.customer_id for arrival in arrivals)}
    # A revert can give a credit back, which then belongs to the oldest held fix.
    reverts = any(arrival.event.reverts for arrival in arrivals)
    books = open_books(tx, wanted, with_backlog=reverts)
    arrivals = take_waiting(tx, books) + arrivals
    known = known_fixes(tx, [arrival.event for arrival in arrivals])
    journal = decide_batch(arrivals, books, known, now)
    journal.quarantined += unreadable
    journal.tally["quarantined"] += len(unreadable)
    post(tx, journal)
    return journal


def read(entries: Sequence[Entry]) -> tuple[list[Arrival], list[Quarantined]]:
    """Parse; what cannot be parsed is kept with its bytes."""
    arrivals, unreadable = [], []
    for entry in entries:
        try:
            arrivals.append(Arrival(parse_event(entry.body), entry))
        except BadEvent as error:
            unreadable.append(Quarantined(entry, None, "unreadable", str(error)))
    return arrivals, unreadable
