"""What Postgres keeps of the books between two batches, in dicts: for properties over many runs.

It reads and writes what `worker.storage` does, no more; `tests/test_settle.py` compares the two.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy, deepcopy
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

from schemas.events import DERIVED_PREFIX
from schemas.plans import Catalogue
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.charges import IN_FLIGHT, TRANSITIONS, Charge, ChargeStatus, Line
from worker.billing.cycles import TRANSITIONS as CYCLE_TRANSITIONS
from worker.billing.cycles import CycleRow, CycleStatus
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.grants import Grant, order_of_use
from worker.billing.journal import Journal, Rows
from worker.billing.known import Known
from worker.billing.ledger import Transfer
from worker.billing.policy import policy_of
from worker.billing.refunds import Refund, RefundStatus
from worker.billing.rollover import roll_to
from worker.billing.usage import UsageKey, usage_of
from worker.storage.post import (
    BOOK_CHANGES,
    CHARGE_CHANGES,
    CYCLE_CHANGES,
    FIX_CHANGES,
    GRANT_CHANGES,
    LINE_CHANGES,
)

Key = tuple[str, str]
KEPT = BOOK_CHANGES  # due_at follows from the rest


@dataclass
class Memory:
    """The tables, by their primary keys."""

    books: dict[str, Book] = field(default_factory=dict)
    fixes: dict[Key, Fix] = field(default_factory=dict)
    grants: dict[Key, Grant] = field(default_factory=dict)
    cycles: dict[tuple[str, int], CycleRow] = field(default_factory=dict)
    charges: dict[str, Charge] = field(default_factory=dict)
    lines: dict[Key, Line] = field(default_factory=dict)
    refunds: dict[str, Refund] = field(default_factory=dict)
    events: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    claims: dict[str, str] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    usage: dict[UsageKey, list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0, 0, 0, 0])
    )
    waiting: list[tuple[str, str, str]] = field(default_factory=list)
    quarantine: list[tuple[str, str]] = field(default_factory=list)

    def settle(self, arrivals: Sequence[Arrival], now: datetime) -> Journal:
        """One batch: sift, open, decide, post."""
        seen = Known(events=dict(self.events))
        repeated = [each for each in arrivals if seen.repeats(each.event)]
        arrivals = [deepcopy(each) for each in arrivals if not seen.repeats(each.event)]
        customers = {each.event.customer_id for each in arrivals}
        reverts = any(each.event.reverts for each in arrivals)
        known = sorted(customers & self.books.keys())
        books = {each: self.open(each, with_backlog=reverts) for each in known}
        journal = decide_batch(arrivals, books, self.known(arrivals), now)
        journal.repeat(repeated)
        self.post(journal)
        return journal

    def settle_backlog(self, customer_id: str, now: datetime) -> Journal:
        """What the sweep does for a customer with held fixes."""
        journal = decide_batch([], {customer_id: self.open(customer_id)}, Known(), now)
        self.post(journal)
        return journal

    @contextmanager
    def transaction(self, customer_id: str, now: datetime) -> Iterator[tuple[Journal, Book]]:
        """One life's look at a customer: what it writes is posted at the end."""
        book = self.open(customer_id, with_backlog=True)
        journal = Journal({customer_id: book}, Known(), now)
        roll_to(journal, book, journal.time_of(book))
        yield journal, book
        self.post(journal)

    def open(self, customer_id: str, *, with_backlog: bool = False) -> Book:
        book = copy(self.books[customer_id])
        version = book.plans.pinned(book.plan, book.plan_version)
        book.price, book.policy = version.price, policy_of(version)
        if not self.cycles_of(customer_id):
            self.cycles[customer_id, book.cycle] = first_cycle(book)
        mine = [each for each in self.grants.values() if each.customer_id == customer_id]
        book.grants = sorted((copy(each) for each in mine if each.remaining), key=order_of_use)
        charges = [each for each in self.charges.values() if each.customer_id == customer_id]
        book.open_charge = only(each for each in charges if each.status is ChargeStatus.OPEN)
        book.charge_in_flight = only(each for each in charges if each.status in IN_FLIGHT)
        book.fresh_charge_id = f"ch_{customer_id}_{len(charges)}"
        book.backlog = []
        if book.held and (with_backlog or book.backlog_may_settle()):
            book.backlog = sorted(
                (copy(each) for each in self.held(customer_id)),
                key=lambda each: (each.deployed_at, each.fix_id),
            )
        return book

    def cycles_of(self, customer_id: str) -> list[CycleRow]:
        mine = [each for each in self.cycles.values() if each.customer_id == customer_id]
        return sorted(mine, key=lambda each: each.number)

    def standing_lines(self, charge_id: str) -> list[Line]:
        mine = [each for each in self.lines.values() if each.charge_id == charge_id]
        return [copy(each) for each in mine if each.removed_at is None]

    def fixes_on(self, lines: Iterable[Line]) -> list[Fix]:
        return [copy(self.fixes[each.customer_id, each.fix_id]) for each in lines]

    def brought(self, payment_intent: str) -> int:
        """How much of this payment no charge explained and is still here."""
        came = sum(
            each.amount
            for each in self.transfers
            if each.kind == "unapplied_in" and each.source_key == payment_intent
        )
        return came - sum(
            each.from_unapplied
            for each in self.refunds.values()
            if each.payment_intent == payment_intent and each.status is not RefundStatus.FAILED
        )

    def held(self, customer_id: str) -> list[Fix]:
        mine = [each for each in self.fixes.values() if each.customer_id == customer_id]
        return [each for each in mine if each.outcome is FixOutcome.HELD]

    def known(self, arrivals: Iterable[Arrival]) -> Known:
        events = [each.event for each in arrivals]
        fixes = {
            (each.customer_id, each.fix_id): copy(self.fixes[each.customer_id, each.fix_id])
            for each in events
            if (each.customer_id, each.fix_id) in self.fixes
        }
        paid = {(each.customer_id, each.grant_id or "") for each in fixes.values()}
        derived = {each.fix_id for each in events if each.fix_id.startswith(DERIVED_PREFIX)}
        return Known(
            fixes=fixes,
            events=dict(self.events),
            claims={key: owner for key, owner in self.claims.items() if key in derived},
            grants={key: copy(self.grants[key]) for key in paid & self.grants.keys()},
            money_gone={key for key, each in fixes.items() if self.is_money_gone(each)},
        )

    def is_money_gone(self, fix: Fix) -> bool:
        """Written off, or given back to the card with its whole charge, or by itself."""
        charge = self.charges.get(fix.charge_id or "")
        if charge is None or fix.outcome is not FixOutcome.CHARGED:
            return False
        returned = 0 < charge.asked_amount == charge.returned
        by_itself = any(
            (each.customer_id, each.fix_id) == (fix.customer_id, fix.fix_id)
            and each.status not in (RefundStatus.REFUSED, RefundStatus.FAILED)
            for each in self.refunds.values()
        )
        return charge.status is ChargeStatus.VOID or returned or by_itself

    def post(self, journal: Journal) -> None:
        put(self.fixes, journal.fixes, FIX_CHANGES)
        put(self.grants, journal.grants, GRANT_CHANGES)
        self.post_cycles(journal)
        for charge_id, owed in journal.charges.changed.items():
            check_transition(TRANSITIONS, self.charges[str(charge_id)].status, owed.status)
        put(self.charges, journal.charges, CHARGE_CHANGES)
        for line in journal.lines.new.values():
            assert (line.customer_id, line.fix_id) not in self.lines
            self.lines[line.customer_id, line.fix_id] = copy(line)
        for line in journal.lines.changed.values():
            for name in LINE_CHANGES:
                setattr(self.lines[line.customer_id, line.fix_id], name, getattr(line, name))
        for recorded in journal.events:
            key = (recorded.customer_id, recorded.source, recorded.event_id)
            assert key not in self.events
            self.events[key] = recorded.body_hash
        for event, _ in journal.waiting:
            self.events[event.customer_id, event.source, event.id] = event.body_hash
            self.waiting.append((event.customer_id, event.source, event.id))
        for claim in journal.claims:
            assert claim.fix_id not in self.claims
            self.claims[claim.fix_id] = claim.customer_id
        sources = {(each.customer_id, each.kind, each.source_key) for each in self.transfers}
        for each in journal.transfers:
            assert (each.customer_id, each.kind, each.source_key) not in sources
            self.transfers.append(each)
        for customer_id in journal.touched:
            for name in KEPT:
                setattr(self.books[customer_id], name, getattr(journal.books[customer_id], name))
        for usage_key, counts in usage_of(journal.moves).items():
            row = self.usage[usage_key]
            row[:] = [old + new for old, new in zip(row, counts, strict=True)]
            assert min(row) >= 0
        self.quarantine += [(each.reason, each.entry.key) for each in journal.quarantined]

    def post_cycles(self, journal: Journal) -> None:
        """Closed ones take nothing more, and each stands where the last one ended."""
        for each in journal.transfers:
            counted_in = self.cycles.get((each.customer_id, each.cycle))
            assert counted_in is None or counted_in.status is not CycleStatus.CLOSED
        for key, row in journal.cycles.changed.items():
            check_transition(CYCLE_TRANSITIONS, self.cycles[key].status, row.status)  # type: ignore[index]
        put(self.cycles, journal.cycles, CYCLE_CHANGES)
        for customer_id in journal.touched:
            check_cycles(self.cycles_of(customer_id))

    def contents(self) -> dict[str, Any]:
        """Everything, in a form that says where two runs differ."""
        return {
            "transfers": [each._asdict() for each in sorted(self.transfers)],
            "books": {key: contents_of(self.books[key]) for key in sorted(self.books)},
            "cycles": {key: asdict(self.cycles[key]) for key in sorted(self.cycles)},
            "fixes": {key: asdict(self.fixes[key]) for key in sorted(self.fixes)},
            "grants": {key: asdict(self.grants[key]) for key in sorted(self.grants)},
            "charges": {key: asdict(self.charges[key]) for key in sorted(self.charges)},
            "lines": {key: asdict(self.lines[key]) for key in sorted(self.lines)},
            "usage": {key: row for key, row in sorted(self.usage.items()) if any(row)},
            "claims": dict(sorted(self.claims.items())),
            "waiting": sorted(self.waiting),
            "quarantine": sorted(self.quarantine),
        }


def contents_of(book: Book) -> dict[str, Any]:
    """Without the catalogue, which is the same for all."""
    contents = asdict(replace(book, plans=Catalogue({})))
    del contents["plans"]
    return contents


def only(charges: Iterable[Charge]) -> Charge | None:
    """The schema has room for one."""
    found = list(charges)
    assert len(found) < 2
    return copy(found[0]) if found else None


def first_cycle(book: Book) -> CycleRow:
    """What is made together with a customer."""
    key = book.customer_id, book.cycle
    return CycleRow(*key, book.cycle_start, book.cycle_end, CycleStatus.OPEN)


def check_transition(allowed: Mapping[Any, Sequence[str]], old: StrEnum, new: StrEnum) -> None:
    """As the trigger does."""
    assert new is old or new in allowed[old], f"{old} to {new}"


def check_cycles(rows: list[CycleRow]) -> None:
    """As the keys and checks of the table do."""
    for before, after in pairwise(rows):
        assert (after.number, after.starts_at) == (before.number + 1, before.ends_at)
    statuses = Counter(each.status for each in rows)
    assert statuses[CycleStatus.OPEN] <= 1
    assert statuses[CycleStatus.CLOSING] <= 1
    for each in rows:
        assert each.starts_at < each.ends_at
        is_closed = each.status is CycleStatus.CLOSED
        assert is_closed == (each.closed_at is not None) == (each.last_seq is not None)


def put(table: dict[Any, Any], rows: Rows[Any], columns: tuple[str, ...]) -> None:
    """Insert the new rows, update these columns of the changed ones; a key is there once."""
    for key, row in rows.new.items():
        assert key not in table
        table[key] = copy(row)
    for key, row in rows.changed.items():
        for name in columns:
            setattr(table[key], name, getattr(row, name))
