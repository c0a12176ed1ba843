"""Whatever an id is of: the fixes and charges that it leads to, over all customers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, func, literal, or_, select

from schemas.events import BadEvent, Event, parse_event
from worker.storage.charges import ChargeKey
from worker.storage.evidence import FixKey
from worker.storage.tables import (
    attempts,
    charges,
    contests,
    disputes,
    events,
    fixes,
    quarantine,
    refunds,
    transfers,
    waiting_fixes,
)

FOUND_MAX = 20  # more than anybody wants to choose from


class EntryKey(NamedTuple):
    """An entry in quarantine that is about no fix of a customer's, as far as it can be read."""

    customer_id: str | None
    quarantine_id: str


class MoneyKey(NamedTuple):
    """A payment, refund or dispute that is about no fix: an invoice, a top-up, or unexplained."""

    customer_id: str
    reference: str


Subject = FixKey | ChargeKey | EntryKey | MoneyKey
Find = Callable[[Connection, str, str | None], list[Subject]]


def subjects_of(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    """The first kind of id that this can be; several if it is one of several customers."""
    for find in FINDERS:
        found = list(dict.fromkeys(find(tx, name, customer_id)))
        if found:
            return found[:FOUND_MAX]
    return []


def fixes_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    return [FixKey(*row) for row in keys(tx, fixes, "fix_id", "fix_id", name, customer_id)]


def charges_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    return [
        ChargeKey(*row) for row in keys(tx, charges, "charge_id", "charge_id", name, customer_id)
    ]


def events_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    return [FixKey(*row) for row in keys(tx, events, "fix_id", "event_id", name, customer_id)]


def contests_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    return [FixKey(*row) for row in keys(tx, contests, "fix_id", "contest_id", name, customer_id)]


def keys(
    tx: Connection, table: Table, wanted: str, by: str, name: str, customer_id: str | None
) -> Any:
    """Customer and `wanted` of the rows whose `by` is this name."""
    rows = select(table.c.customer_id, table.c[wanted]).where(table.c[by] == name).limit(FOUND_MAX)
    return tx.execute(of_customer(rows, table, customer_id))


def of_customer(rows: Any, table: Table, customer_id: str | None) -> Any:
    return rows if customer_id is None else rows.where(table.c.customer_id == customer_id)


def aside_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    """Entries that wait for their customer or stand in quarantine, by fix, event or own id."""
    found: list[Subject] = []
    for table in (waiting_fixes, quarantine):
        own = table.c.get("quarantine_id", table.c.entry_key)
        place = func.position(literal(name.encode()).op("IN")(table.c.body))
        rows = select(table.c.customer_id, own, table.c.body).where(or_(own == name, place > 0))
        for row in tx.execute(of_customer(rows, table, customer_id).limit(FOUND_MAX)):
            event = event_in(row.body)
            names = {row[1], event.id, event.fix_id} if event else {row[1]}
            if name in names:
                found.append(aside_subject(row.customer_id, row[1], event))
    return found


def aside_subject(customer_id: str | None, own: str, event: Event | None) -> Subject:
    """What nobody has proven to be a customer's is not told as theirs."""
    if event is None or customer_id is None:
        return EntryKey(customer_id, own)
    return FixKey(customer_id, event.fix_id)


def event_in(body: bytes) -> Event | None:
    try:
        return parse_event(body)
    except BadEvent:
        return None


def money_back_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    """Refunds, by our id or Stripe's, and disputes."""
    ours = select(
        refunds.c.customer_id, refunds.c.fix_id, refunds.c.charge_id, refunds.c.refund_id
    ).where(or_(refunds.c.refund_id == name, refunds.c.stripe_refund == name))
    theirs = select(
        disputes.c.customer_id, literal(None), disputes.c.charge_id, disputes.c.dispute_id
    ).where(disputes.c.dispute_id == name)
    rows = [
        *tx.execute(of_customer(ours, refunds, customer_id)),
        *tx.execute(of_customer(theirs, disputes, customer_id)),
    ]
    return [subject_of(*row) for row in rows]


def subject_of(
    customer_id: str, fix_id: str | None, charge_id: str | None, reference: str
) -> Subject:
    if fix_id is not None:
        return FixKey(customer_id, fix_id)
    return ChargeKey(customer_id, charge_id) if charge_id else MoneyKey(customer_id, reference)


def payments_named(tx: Connection, name: str, customer_id: str | None) -> list[Subject]:
    """Stripe's payment intents: of a charge, of an attempt at one, or of something else."""
    for table in (charges, attempts):
        rows = keys(tx, table, "charge_id", "payment_intent", name, customer_id)
        if found := [ChargeKey(*row) for row in rows]:
            return [*found]
    kinds = transfers.c.kind.in_(("pay", "unapplied_in"))
    rows = select(transfers.c.customer_id).where(kinds, transfers.c.source_key == name)
    return [MoneyKey(row[0], name) for row in tx.execute(of_customer(rows, transfers, customer_id))]


FINDERS: tuple[Find, ...] = (
    fixes_named,
    charges_named,
    events_named,
    contests_named,
    aside_named,
    money_back_named,
    payments_named,
)
