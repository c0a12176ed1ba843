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
from worker.billing.known import Known
from worker.signatures import Trust, check_senders
from worker.storage.books import known_fixes, open_books, recorded_events
from worker.storage.engine import blames_the_data
from worker.storage.parked import forget_parked
from worker.storage.post import post
from worker.storage.quarantine import take_for_replay
from worker.storage.waiting import take_waiting


class StillUnsettleable(RuntimeError):
    """An entry of the quarantine that fails as it did before."""


def settle(
    entries: Sequence[Entry], connection: Connection, now: datetime, trust: Trust
) -> Journal:
    """Read it, check who sent it, sift repeats, open books, decide, post. One commit."""
    with connection.begin():
        return settle_signed(connection, entries, now, trust)


def settle_backlog(customer_id: str, engine: Engine, now: datetime) -> Journal:
    """Settle what waited for this customer to be known, or for a way to pay."""
    with engine.begin() as tx:
        return settle_arrivals(tx, [], now, customer_ids={customer_id})


def settle_parked(entry: Entry, engine: Engine, now: datetime) -> Journal:
    """Settle what the HTTP door took in while the inbox was away, and checked then."""
    try:
        with engine.begin() as tx:
            forget_parked(tx, entry)
            return settle_entries(tx, [entry], now)
    except Exception as error:
        if not blames_the_data(error):
            raise
        with engine.begin() as tx:
            forget_parked(tx, entry)
            return set_aside(tx, unsettleable(entry, error), now)


def replay(quarantine_id: str, engine: Engine, now: datetime, trust: Trust | None) -> str | None:
    """What becomes of it now; None if it is not in quarantine, or was replayed before.

    Without `trust` the operator vouches for it. Raises StillUnsettleable, and then it stays there.
    """
    try:
        with engine.begin() as tx:
            entry = take_for_replay(tx, quarantine_id, now)
            if entry is None:
                return None
            journal = (
                settle_entries(tx, [entry], now)
                if trust is None
                else settle_signed(tx, [entry], now, trust)
            )
            return journal.verdicts[entry.key]
    except Exception as error:
        if not blames_the_data(error):
            raise
        raise StillUnsettleable(f"{quarantine_id} stays in quarantine: {error}") from error


def quarantine(refused: Quarantined, connection: Connection, now: datetime) -> Journal:
    """Set one entry aside without trying to settle it."""
    with connection.begin():
        return set_aside(connection, refused, now)


def settle_signed(tx: Connection, entries: Sequence[Entry], now: datetime, trust: Trust) -> Journal:
    """Entries from outside: each must prove who sent it."""
    arrivals, unreadable = read(entries)
    arrivals, unproven = check_senders(tx, arrivals, trust)
    return settle_arrivals(tx, arrivals, now, unreadable + unproven)


def settle_entries(tx: Connection, entries: Sequence[Entry], now: datetime) -> Journal:
    """Entries of our own, and those that were checked when they came."""
    arrivals, unreadable = read(entries)
    return settle_arrivals(tx, arrivals, now, unreadable)


def settle_arrivals(
    tx: Connection,
    arrivals: list[Arrival],
    now: datetime,
    refused: Sequence[Quarantined] = (),
    customer_ids: Collection[str] = (),
) -> Journal:
    """Sift, open, decide, post: the verbs of a settlement, in the caller's transaction."""
    arrivals, repeated = sift(tx, arrivals)
    wanted = {*customer_ids, *(arrival.event.customer_id for arrival in arrivals)}
    # A revert can give a credit back, which then belongs to the oldest held fix.
    reverts = any(arrival.event.reverts for arrival in arrivals)
    books = open_books(tx, wanted, with_backlog=reverts)
    waited, spoilt = read(take_waiting(tx, books))
    arrivals = waited + arrivals
    known = known_fixes(tx, [arrival.event for arrival in arrivals], books)
    journal = decide_batch(arrivals, books, known, now)
    journal.repeat(repeated)
    journal.refuse([*refused, *spoilt])
    post(tx, journal)
    return journal


def sift(tx: Connection, arrivals: list[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
    """Apart from what is new, what is recorded already: it changes nothing, so it locks nobody.

    What is new may be recorded by the time its books are open, and is looked up once more.
    """
    seen = Known(events=recorded_events(tx, [arrival.event for arrival in arrivals]))
    new = [arrival for arrival in arrivals if not seen.repeats(arrival.event)]
    return new, [arrival for arrival in arrivals if seen.repeats(arrival.event)]


def set_aside(tx: Connection, refused: Quarantined, now: datetime) -> Journal:
    journal = Journal({}, Known(), now)
    journal.refuse([refused])
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


def unsettleable(entry: Entry, error: Exception) -> Quarantined:
    """Told by the kind of error alone: its text may quote the data."""
    cause = getattr(error, "orig", None) or error
    detail = f"{type(cause).__name__} while settling; the log has the rest"
    return Quarantined(entry, None, "unsettleable", detail)
