"""Posting a journal: the only writer of the ledger, the books, charges, fixes and usage."""

from __future__ import annotations

from operator import attrgetter

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from schemas.ids import new_id
from worker.billing.book import Book
from worker.billing.cycles import CycleStatus
from worker.billing.journal import Journal, Quarantined
from worker.billing.ledger import ACCOUNTS
from worker.billing.usage import usage_of
from worker.storage import bulk, tables

BOOK_CHANGES = (
    "plan",
    "plan_version",
    "has_payment_method",
    "past_due",
    "parked_at",
    "parked_why",
    "released_at",
    "spending_cap",
    "spent",
    "accepted_held_until",
    "accepted_at",
    "held",
    "cycle",
    "cycle_start",
    "cycle_end",
    "closing_start",
    "subscription_id",
    "subscription_status",
    "anchor",
    "paid_until",
    "ends_with_period",
    "seq",
    "head",
    *ACCOUNTS,
)
in_row = attrgetter(*BOOK_CHANGES)

FIX_CHANGES = (
    "outcome",
    "held_why",
    "settled_at",
    "cycle_start",
    "late",
    "plan",
    "plan_version",
    "price",
    "currency",
    "grant_id",
    "charge_id",
)
CHARGE_CHANGES = (
    "status",
    "amount",
    "due_at",
    "due_why",
    "applied",
    "asked_amount",
    "dropped",
    "returned",
    "tries",
    "waits",
    "write_off",
    "resume_at",
    "frozen_at",
    "declined_at",
    "paid_at",
    "payment_intent",
)
LINE_CHANGES = ("charge_id", "removed_at")
GRANT_CHANGES = ("remaining", "expires_at", "rolls_max", "first_expired_at")
CYCLE_CHANGES = ("ends_at", "status", "last_seq", "closed_at")


def post(tx: Connection, journal: Journal) -> None:
    """Write a journal; the transaction, and with it the locks, are the caller's."""
    bulk.append(tx, tables.events, journal.events)
    bulk.append(tx, tables.claims, journal.claims)
    bulk.append(tx, tables.transfers, journal.transfers)
    bulk.append(tx, tables.fixes, journal.fixes.new.values())
    bulk.append(tx, tables.grants, journal.grants.new.values())
    write_cycles(tx, journal)
    bulk.append(tx, tables.charges, journal.charges.new.values())
    bulk.append(tx, tables.charge_lines, journal.lines.new.values())
    with bulk.at_once(tx):
        write_changes(tx, journal)
    set_aside(tx, journal)


def write_changes(tx: Connection, journal: Journal) -> None:
    bulk.replace(tx, tables.fixes, FIX_CHANGES, journal.fixes.changed.values())
    bulk.replace(tx, tables.grants, GRANT_CHANGES, journal.grants.changed.values())
    bulk.replace(tx, tables.charges, CHARGE_CHANGES, journal.charges.changed.values())
    bulk.replace(tx, tables.charge_lines, LINE_CHANGES, journal.lines.changed.values())
    write_books(tx, [journal.books[each] for each in journal.touched])
    usage = usage_of(journal.moves)
    bulk.add(tx, tables.usage, [(*key, *usage[key]) for key in sorted(usage)])


def write_books(tx: Connection, books: list[Book]) -> None:
    """Only the columns in which any of them has changed: of 35 a settlement changes 8."""
    if not books:
        return
    now = zip(*map(in_row, books), strict=True)
    kept = zip(*(book.kept for book in books), strict=True)
    pairs = zip(BOOK_CHANGES, now, kept, strict=True)
    changed = [name for name, new, old in pairs if new != old]
    bulk.replace(tx, tables.books, ("due_at", *changed), books)


def write_cycles(tx: Connection, journal: Journal) -> None:
    """The oldest first: the schema has room for one open and one closing cycle at any moment."""
    changed = list(journal.cycles.changed.values())
    for status in reversed(CycleStatus):
        rows = [row for row in changed if row.status is status]
        bulk.replace(tx, tables.cycles, CYCLE_CHANGES, rows)
    bulk.append(tx, tables.cycles, journal.cycles.new.values())


def set_aside(tx: Connection, journal: Journal) -> None:
    """Fixes of unknown customers, and what cannot be settled; neither is stored twice."""
    waiting = [
        {
            "customer_id": event.customer_id,
            "source": event.source,
            "event_id": event.id,
            "entry_key": entry.key,
            "body": entry.body,
            "door": entry.door,
            "key_id": entry.key_id,
            "traceparent": entry.traceparent or event.traceparent,
            "body_hash": event.body_hash,
            "happened_at": event.time,
            "accepted_at": entry.accepted_at,
        }
        for event, entry in journal.waiting
    ]
    if waiting:
        tx.execute(insert(tables.waiting_fixes).on_conflict_do_nothing(), waiting)
    refused = [quarantine_row(journal, each) for each in journal.quarantined]
    if refused:
        tx.execute(
            insert(tables.quarantine).on_conflict_do_nothing(index_elements=["entry_key"]), refused
        )


def quarantine_row(journal: Journal, refused: Quarantined) -> dict[str, object]:
    entry, event = refused.entry, refused.event
    return {
        "quarantine_id": new_id("qua"),
        "entry_key": entry.key,
        "reason": refused.reason,
        "detail": refused.detail,
        "body": entry.body,
        "door": entry.door,
        "key_id": entry.key_id,
        "signature": entry.signature,
        "traceparent": entry.traceparent or (event.traceparent if event else None),
        "customer_id": event.customer_id if event else None,
        "source": event.source if event else None,
        "event_id": event.id if event else None,
        "accepted_at": entry.accepted_at,
        "recorded_at": journal.now,
    }
