"""Opening books: lock the customers, read what the rules need to know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from schemas.events import DERIVED_PREFIX, Event
from schemas.ids import new_id
from schemas.plans import load_plans
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Why
from worker.billing.disputes import Funds
from worker.billing.fix import Fix, FixOutcome
from worker.billing.grants import Grant, order_of_use
from worker.billing.known import Known
from worker.billing.policy import policy_of
from worker.billing.refunds import RefundStatus
from worker.storage import bulk, tables

# How much of a backlog of held fixes one batch takes on; the sweep comes back for the rest.
BACKLOG_READ_MAX = 500

CUSTOMER = ("customer_id",)
FIX = ("customer_id", "fix_id")
EVENT = ("customer_id", "source", "event_id")
GRANT = ("customer_id", "grant_id")
CHARGE = ("customer_id", "charge_id")


def open_books(
    tx: Connection, customer_ids: Iterable[str], *, with_backlog: bool = False
) -> dict[str, Book]:
    """Lock these customers, in id order, and read their books; unknown ones are left out.

    A backlog is read where something could pay for it, or when what follows may bring that.
    """
    in_order = "ORDER BY books.customer_id FOR UPDATE OF books"  # one order everywhere: no deadlock
    books = read_books(tx, customer_ids, in_order)
    for book in books.values():
        if book.held and (with_backlog or book.backlog_may_settle()):
            book.backlog = oldest_held(tx, book.customer_id)
    return books


def read_book(tx: Connection, customer_id: str) -> Book | None:
    """To look at, not to change: nothing is locked, and the backlog is left out."""
    return read_books(tx, [customer_id], "").get(customer_id)


def read_books(tx: Connection, customer_ids: Iterable[str], end: str) -> dict[str, Book]:
    wanted = {(customer_id,) for customer_id in customer_ids}
    books = {
        row["customer_id"]: book_from(row)
        for row in bulk.find(tx, tables.books, CUSTOMER, wanted, end)
    }
    locked = [(customer_id,) for customer_id in books]
    for row in bulk.find(tx, tables.grants, CUSTOMER, locked, "WHERE grants.remaining > 0"):
        books[row["customer_id"]].grants.append(Grant(**row))
    for row in bulk.find(tx, tables.charges, CUSTOMER, locked, f"WHERE charges.{tables.LIVE}"):
        keep(books[row["customer_id"]], charge_from(row))
    for book in books.values():
        book.grants.sort(key=order_of_use)
    return books


def keep(book: Book, charge: Charge) -> None:
    """A customer has at most one charge that takes lines and one that is being collected."""
    if charge.status is ChargeStatus.OPEN:
        book.open_charge = charge
    else:
        book.charge_in_flight = charge


def oldest_held(tx: Connection, customer_id: str) -> list[Fix]:
    oldest = f"WHERE outcome = 'held' ORDER BY deployed_at, fix_id LIMIT {BACKLOG_READ_MAX}"
    rows = bulk.find(tx, tables.fixes, CUSTOMER, [(customer_id,)], oldest)
    return [fix_from(row) for row in rows]


def known_fixes(tx: Connection, events: Iterable[Event]) -> Known:
    """What is recorded already about these events and their fixes."""
    events = list(events)
    event_keys = {(event.customer_id, event.source, event.id) for event in events}
    fix_keys = {(event.customer_id, event.fix_id) for event in events}
    derived = {(fix_id,) for _, fix_id in fix_keys if fix_id.startswith(DERIVED_PREFIX)}
    fixes = [fix_from(row) for row in bulk.find(tx, tables.fixes, FIX, fix_keys)]
    grant_keys = {(fix.customer_id, fix.grant_id) for fix in fixes if fix.grant_id is not None}
    return Known(
        fixes={(fix.customer_id, fix.fix_id): fix for fix in fixes},
        events={
            (row["customer_id"], row["source"], row["event_id"]): row["body_hash"]
            for table in (tables.events, tables.waiting_fixes)
            for row in bulk.find(tx, table, EVENT, event_keys)
        },
        claims={
            row["fix_id"]: row["customer_id"]
            for row in bulk.find(tx, tables.claims, ("fix_id",), derived)
        },
        grants={
            (row["customer_id"], row["grant_id"]): Grant(**row)
            for row in bulk.find(tx, tables.grants, GRANT, grant_keys)
        },
        money_gone=money_gone(tx, [fix for fix in fixes if fix.outcome is FixOutcome.CHARGED]),
    )


def money_gone(tx: Connection, charged: list[Fix]) -> set[tuple[str, str]]:
    """Of these fixes, those for which we have no money: written off, or gone back to the card."""
    charge_keys = {(fix.customer_id, fix.charge_id or "") for fix in charged}
    fix_keys = {(fix.customer_id, fix.fix_id) for fix in charged}
    unpaid = {
        row["charge_id"]
        for row in bulk.find(tx, tables.charges, CHARGE, charge_keys)
        if row["status"] == ChargeStatus.VOID or 0 < row["asked_amount"] == row["returned"]
    }
    returned = {
        (row["customer_id"], row["fix_id"])
        for row in bulk.find(tx, tables.refunds, FIX, fix_keys)
        if row["status"] not in (RefundStatus.REFUSED, RefundStatus.FAILED)
    }
    unpaid |= {
        row["charge_id"]
        for row in bulk.find(tx, tables.disputes, CHARGE, charge_keys)
        if row["funds"] == Funds.LOST
    }
    return returned | {(f.customer_id, f.fix_id) for f in charged if f.charge_id in unpaid}


def book_from(row: dict[str, Any]) -> Book:
    plans = load_plans()
    version = plans.pinned(row["plan"], row["plan_version"])
    row["kept_due_at"] = row.pop("due_at")
    return Book(
        **row,
        plans=plans,
        price=version.price,
        policy=policy_of(version),
        open_charge=None,
        fresh_charge_id=new_id("ch"),
    )


def charge_from(row: dict[str, Any]) -> Charge:
    known = {"status": ChargeStatus(row["status"]), "due_why": Why(row["due_why"])}
    return Charge(**row | known)


def fix_from(row: dict[str, Any]) -> Fix:
    return Fix(**row | {"outcome": FixOutcome(row["outcome"])})
