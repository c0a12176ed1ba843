"""What an explanation rests on: the rows about one fix or one charge.

Every look is by a key that has an index, and there are as many looks whatever is found.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Table, func, literal, select

from worker.billing.charges import Line
from worker.billing.contests import Contest
from worker.billing.cycles import Cycle
from worker.billing.fix import Fix
from worker.billing.grants import Grant
from worker.billing.journal import Recorded
from worker.billing.refunds import BOOKED, RefundStatus
from worker.billing.reverts import REVERT
from worker.storage.charges import ChargeKey
from worker.storage.collection import Collection, belongs_to, collection_of
from worker.storage.contests import contests_about
from worker.storage.grants import GRANT_COLUMNS
from worker.storage.linked import Linked, transfers_of_charge, transfers_of_fix
from worker.storage.tables import (
    books,
    charge_lines,
    cycles,
    events,
    fixes,
    grants,
    quarantine,
    refunds,
    waiting_fixes,
)

EVENTS_MAX = 100  # of one fix; a producer may repeat itself for ever
LINES_MAX = 1000
SEARCHED_MAX = 10_000  # bodies of one customer that may wait or stand in quarantine


class FixKey(NamedTuple):
    """Which fix."""

    customer_id: str
    fix_id: str


class Account(NamedTuple):
    """What is said of a customer in every explanation."""

    currency: str


class Aside(NamedTuple):
    """An entry that was not settled: it waits for its customer, or stands in quarantine."""

    quarantine_id: str | None
    reason: str | None
    detail: str | None
    body: bytes
    door: str
    key_id: str | None
    traceparent: str | None
    accepted_at: datetime
    recorded_at: datetime | None
    replayed_at: datetime | None


class Share(NamedTuple):
    """A line's part of its charge, in minor units; what was refunded for single fixes is off."""

    whole: int
    before: int  # of the lines that come first, by fix id
    own: int

    def of(self, amount: int) -> int:
        """This line's part of an amount: over all lines they add up to it exactly."""
        if not self.whole:
            return 0
        within = min(amount, self.whole)
        ends = (within * (self.before + part) // self.whole for part in (self.own, 0))
        return next(ends) - next(ends)


class FixEvidence(NamedTuple):
    """All rows about one fix; `fix` is None where none was settled."""

    key: FixKey
    account: Account | None
    fix: Fix | None
    cycle: tuple[int, Cycle] | None
    events: list[Recorded]
    waiting: list[Aside]
    refused: list[Aside]
    grants: list[Grant]
    collection: Collection | None
    share: Share
    contests: list[Contest]
    transfers: list[Linked]


class Lines(NamedTuple):
    """Some lines of a charge, and the sums over all of them."""

    shown: list[Line]
    number: int
    amount: int
    removed: int
    removed_amount: int


class ChargeEvidence(NamedTuple):
    """All rows about one charge."""

    key: ChargeKey
    collection: Collection
    lines: Lines
    transfers: list[Linked]


def evidence_of_fix(tx: Connection, key: FixKey) -> FixEvidence:
    """Whatever is known of it, which may be nothing."""
    fix, cycle = fix_in_cycle(tx, key)
    charge_id = fix.charge_id if fix else None
    collection = collection_of(tx, ChargeKey(key.customer_id, charge_id or ""))
    return FixEvidence(
        key,
        account_of(tx, key.customer_id),
        fix,
        cycle,
        events_about(tx, key),
        set_aside(tx, waiting_fixes, key),
        set_aside(tx, quarantine, key),
        grants_of(tx, key, fix),
        collection,
        share_of(tx, key, charge_id),
        contests_about(tx, *key),
        transfers_of_fix(tx, *key, collection),
    )


def evidence_of_charge(tx: Connection, key: ChargeKey) -> ChargeEvidence | None:
    collection = collection_of(tx, key)
    lines = lines_of(tx, key)
    if collection is None:
        return None
    on_it = [line.fix_id for line in lines.shown]
    return ChargeEvidence(key, collection, lines, transfers_of_charge(tx, collection, on_it))


def account_of(tx: Connection, customer_id: str) -> Account | None:
    row = tx.execute(select(books.c.currency).where(books.c.customer_id == customer_id)).first()
    return Account(*row) if row else None


def fix_in_cycle(tx: Connection, key: FixKey) -> tuple[Fix | None, tuple[int, Cycle] | None]:
    """The fix, with the number and the span of the cycle in which it counts."""
    within = (cycles.c.customer_id == fixes.c.customer_id) & (
        cycles.c.starts_at == fixes.c.cycle_start
    )
    row = (
        tx.execute(
            select(fixes, cycles.c.number, cycles.c.ends_at)
            .outerjoin(cycles, within)
            .where(fixes.c.customer_id == key.customer_id, fixes.c.fix_id == key.fix_id)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None, None
    found = dict(row)
    number, end = found.pop("number"), found.pop("ends_at")
    fix = Fix(**found)
    return fix, (number, Cycle(fix.cycle_start, end)) if number else None


def events_about(tx: Connection, key: FixKey) -> list[Recorded]:
    """As they came in; of very many the newest."""
    newest = (
        select(events)
        .where(events.c.customer_id == key.customer_id, events.c.fix_id == key.fix_id)
        .order_by(events.c.recorded_at.desc(), events.c.accepted_at.desc(), events.c.event_id)
        .limit(EVENTS_MAX)
    )
    found = [Recorded(**row) for row in tx.execute(newest).mappings()]
    return sorted(found, key=lambda each: (each.recorded_at, each.accepted_at))


def set_aside(tx: Connection, table: Table, key: FixKey) -> list[Aside]:
    """Entries whose body has the fix id somewhere in it; whoever reads them looks closer.

    Only the newest are searched: no index knows what is in a body, and there may be very many.
    """
    columns = [table.c[name] for name in Aside._fields if name in table.c]
    newest = (
        select(*columns)
        .where(table.c.customer_id == key.customer_id)
        .order_by(table.c.accepted_at.desc())
        .limit(SEARCHED_MAX)
        .subquery()
    )
    place = func.position(literal(key.fix_id.encode()).op("IN")(newest.c.body))
    found = select(newest).where(place > 0).order_by(newest.c.accepted_at.desc()).limit(EVENTS_MAX)
    nothing = dict.fromkeys(Aside._fields)
    return [Aside(**{**nothing, **row}) for row in tx.execute(found).mappings()][::-1]


def grants_of(tx: Connection, key: FixKey, fix: Fix | None) -> list[Grant]:
    """The one that paid for it, and the one that it earned when it was taken back."""
    wanted = [fix.grant_id if fix else None, REVERT + key.fix_id]
    rows = tx.execute(
        select(*GRANT_COLUMNS)
        .where(grants.c.customer_id == key.customer_id, grants.c.grant_id.in_(wanted))
        .order_by(grants.c.recorded_at)
    )
    return [Grant(**row) for row in rows.mappings()]


def share_of(tx: Connection, key: FixKey, charge_id: str | None) -> Share:
    """Where the fix's line lies among those that stand on its charge."""
    named = (
        select(func.sum(refunds.c.amount - refunds.c.from_unapplied))
        .where(
            refunds.c.customer_id == charge_lines.c.customer_id,
            refunds.c.charge_id == charge_lines.c.charge_id,
            refunds.c.fix_id == charge_lines.c.fix_id,
            refunds.c.status.in_([each for each in BOOKED if each is not RefundStatus.FAILED]),
        )
        .scalar_subquery()
    )
    left = charge_lines.c.price - func.coalesce(named, 0)
    own = charge_lines.c.fix_id
    sums = (
        func.sum(left),
        func.sum(left).filter(own < key.fix_id),
        func.sum(left).filter(own == key.fix_id),
    )
    row = tx.execute(
        select(*(func.coalesce(each, 0) for each in sums)).where(
            *belongs_to(charge_lines, ChargeKey(key.customer_id, charge_id or "")),
            charge_lines.c.removed_at.is_(None),
        )
    ).one()
    return Share(*map(int, row))


def lines_of(tx: Connection, key: ChargeKey) -> Lines:
    rows = tx.execute(
        select(charge_lines)
        .where(*belongs_to(charge_lines, key))
        .order_by(charge_lines.c.fix_id)
        .limit(LINES_MAX)
    )
    shown = [Line(**row) for row in rows.mappings()]
    gone = charge_lines.c.removed_at.is_not(None)
    price = func.sum(charge_lines.c.price)
    sums = tx.execute(
        select(
            func.count(),
            func.coalesce(price, 0),
            func.count().filter(gone),
            func.coalesce(price.filter(gone), 0),
        ).where(*belongs_to(charge_lines, key))
    ).one()
    return Lines(shown, *map(int, sums))
