"""A journal: everything a decision wants written, as rows of the tables it goes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from schemas.events import Event
from schemas.inbox import Entry
from worker.billing.book import Book
from worker.billing.charges import Charge, Line
from worker.billing.cycles import CycleRow
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.grants import Grant
from worker.billing.known import Known
from worker.billing.ledger import Transfer
from worker.billing.outcome import Unchanged

Row = TypeVar("Row")


class Rows(Generic[Row]):
    """Rows of one table, kept apart by whether the table has them yet."""

    def __init__(self) -> None:
        self.new: dict[Hashable, Row] = {}
        self.changed: dict[Hashable, Row] = {}

    def add(self, key: Hashable, row: Row) -> None:
        self.new[key] = row

    def change(self, key: Hashable, row: Row) -> None:
        if key not in self.new:
            self.changed[key] = row


class Recorded(NamedTuple):
    """An event we have taken in, and what it did."""

    customer_id: str
    source: str
    event_id: str
    type: str
    fix_id: str
    body_hash: bytes
    verdict: str
    door: str
    key_id: str | None
    traceparent: str | None
    happened_at: datetime
    accepted_at: datetime
    recorded_at: datetime


class Quarantined(NamedTuple):
    """Something that cannot be settled, kept with the bytes it came as."""

    entry: Entry
    event: Event | None  # as far as it could be read
    reason: str
    detail: str


class Claim(NamedTuple):
    """A derived fix id belongs to the first customer it was billed to."""

    fix_id: str
    customer_id: str


class Counted(NamedTuple):
    """Where a fix stands in the usage answers."""

    cycle_start: datetime
    outcome: FixOutcome
    amount: int  # minor units charged


class Move(NamedTuple):
    """A fix that changed its place in the usage answers."""

    fix: Fix
    before: Counted | None
    after: Counted


@dataclass(slots=True)
class Journal:
    """Written by `post` in one transaction; nothing in it is in the database yet."""

    books: dict[str, Book]
    known: Known
    now: datetime
    touched: set[str] = field(default_factory=set)  # customers whose book row changes
    events: list[Recorded] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    fixes: Rows[Fix] = field(default_factory=Rows)
    grants: Rows[Grant] = field(default_factory=Rows)
    charges: Rows[Charge] = field(default_factory=Rows)
    lines: Rows[Line] = field(default_factory=Rows)
    cycles: Rows[CycleRow] = field(default_factory=Rows)
    claims: list[Claim] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    waiting: list[Arrival] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)  # entry key → what became of it
    released: Counter[str] = field(default_factory=Counter)  # held fixes by what paid

    def move(
        self,
        book: Book,
        kind: str,
        amount: int,
        source_key: str,
        *,
        happened_at: datetime | None = None,
        cycle: int | None = None,
        fix_id: str | None = None,
        grant_id: str | None = None,
        charge_id: str | None = None,
    ) -> None:
        """A transfer, of now and of the open cycle unless told otherwise."""
        self.touched.add(book.customer_id)
        self.transfers.append(
            book.move(
                kind,
                amount,
                source_key,
                happened_at=happened_at or self.time_of(book),
                recorded_at=self.recorded_at(book),
                cycle=cycle,
                fix_id=fix_id,
                grant_id=grant_id,
                charge_id=charge_id,
            )
        )

    def refuse(self, refused: list[Quarantined]) -> None:
        """These go to quarantine."""
        self.quarantined += refused
        self.verdicts.update({each.entry.key: "quarantined" for each in refused})

    def repeat(self, arrivals: Iterable[Arrival]) -> None:
        """These came before."""
        keys = (arrival.entry.key for arrival in arrivals)
        self.verdicts.update(dict.fromkeys(keys, Unchanged.name))

    @property
    def tally(self) -> Counter[str]:
        """How many entries had which verdict."""
        return Counter(self.verdicts.values())

    def time_of(self, book: Book) -> datetime:
        """This customer's business time: of the entry that is being settled, else of now."""
        return book.time or self.recorded_at(book)

    def recorded_at(self, book: Book) -> datetime:
        """When what is decided now gets known to us, by this customer's clock."""
        return self.now + book.clock_offset
