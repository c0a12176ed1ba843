"""Opening books: lock the customers, read what the rules need to know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Table

from schemas.events import DERIVED_PREFIX, Event
from schemas.ids import new_id
from schemas.plans import load_plans
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.disputes import Dispute, Funds
from worker.billing.fix import Fix, FixOutcome
from worker.billing.grants import Grant, order_of_use
from worker.billing.journal import Claim
from worker.billing.known import EventKey, Known, key_of
from worker.billing.refunds import Refund, RefundStatus
from worker.storage import bulk, tables
from worker.storage.post import in_row

# How much of a backlog of held fixes one batch takes on; the sweep comes back for the rest.
BACKLOG_READ_MAX = 500

CUSTOMER = ("customer_id",)
FIX = ("customer_id", "fix_id")
EVENT = ("customer_id", "source", "event_id")
GRANT = ("customer_id", "grant_id")
CHARGE = ("customer_id", "charge_id")

USABLE = "WHERE grants.has_credits"
LIVE = f"WHERE charges.{tables.LIVE}"


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
    plans = load_plans()
    wanted = {(customer_id,) for customer_id in customer_ids}
    with bulk.at_once(tx):  # one after the other, so what follows the books is of after the lock
        found = bulk.find(tx, tables.books, Book, CUSTOMER, wanted, end, plans=plans)
        grants = bulk.find(tx, tables.grants, Grant, CUSTOMER, wanted, USABLE)
        charges = bulk.find(tx, tables.charges, Charge, CUSTOMER, wanted, LIVE)
    books = {book.customer_id: book for book in found}
    # A customer may have come in between, whose book is left out.
    for grant in grants:
        if grant.customer_id in books:
            books[grant.customer_id].grants.append(grant)
    for charge in charges:
        if charge.customer_id in books:
            keep(books[charge.customer_id], charge)
    for book in books.values():
        book.use(plans.pinned(book.plan, book.plan_version))
        book.fresh_charge_id = new_id("ch")
        book.grants.sort(key=order_of_use)
        book.kept = in_row(book)
    return books


def keep(book: Book, charge: Charge) -> None:
    """A customer has at most one charge that takes lines and one that is being collected."""
    if charge.status is ChargeStatus.OPEN:
        book.open_charge = charge
    else:
        book.charge_in_flight = charge


def oldest_held(tx: Connection, customer_id: str) -> list[Fix]:
    oldest = f"WHERE outcome = 'held' ORDER BY deployed_at, fix_id LIMIT {BACKLOG_READ_MAX}"
    return list(bulk.find(tx, tables.fixes, Fix, CUSTOMER, [(customer_id,)], oldest))


def known_fixes(tx: Connection, events: Sequence[Event], books: Collection[str]) -> Known:
    """What is recorded already about these events and their fixes; of reverted ones, what paid.

    Of customers with a book nothing waits: opening it has taken that.
    """
    fix_keys = {(event.customer_id, event.fix_id) for event in events}
    derived = {(fix_id,) for _, fix_id in fix_keys if fix_id.startswith(DERIVED_PREFIX)}
    strangers = [event for event in events if event.customer_id not in books]
    with bulk.at_once(tx):
        found = bulk.find(tx, tables.fixes, Fix, FIX, fix_keys)
        recorded = look_up(tx, tables.events, events)
        waiting = look_up(tx, tables.waiting_fixes, strangers)
        claims = bulk.find(tx, tables.claims, Claim, ("fix_id",), derived)
    fixes = {(fix.customer_id, fix.fix_id): fix for fix in found}
    reverted = {(event.customer_id, event.fix_id) for event in events if event.reverts}
    paid = [fixes[key] for key in reverted if key in fixes]
    grant_keys = {(fix.customer_id, fix.grant_id) for fix in paid if fix.grant_id is not None}
    return Known(
        fixes=fixes,
        events=hashes(recorded) | hashes(waiting),
        claims={claim.fix_id: claim.customer_id for claim in claims},
        grants={
            (grant.customer_id, grant.grant_id): grant
            for grant in bulk.find(tx, tables.grants, Grant, GRANT, grant_keys)
        },
        money_gone=money_gone(tx, [fix for fix in paid if fix.outcome is FixOutcome.CHARGED]),
    )


def recorded_events(tx: Connection, events: Iterable[Event]) -> dict[EventKey, bytes]:
    """Their body hashes."""
    return hashes(look_up(tx, tables.events, events))


def look_up(tx: Connection, table: Table, events: Iterable[Event]) -> Iterator[Seen]:
    return bulk.find(tx, table, Seen, EVENT, set(map(key_of, events)))


def hashes(seen: Iterator[Seen]) -> dict[EventKey, bytes]:
    return {each[:3]: each.body_hash for each in seen}


class Seen(NamedTuple):
    """An event that came before."""

    customer_id: str
    source: str
    event_id: str
    body_hash: bytes


def money_gone(tx: Connection, charged: list[Fix]) -> set[tuple[str, str]]:
    """Of these fixes, those for which we have no money: written off, or gone back to the card."""
    charge_keys = {(fix.customer_id, fix.charge_id or "") for fix in charged}
    fix_keys = {(fix.customer_id, fix.fix_id) for fix in charged}
    unpaid = {
        charge.charge_id
        for charge in bulk.find(tx, tables.charges, Charge, CHARGE, charge_keys)
        if charge.status is ChargeStatus.VOID or 0 < charge.asked_amount == charge.returned
    }
    returned = {
        (refund.customer_id, refund.fix_id or "")
        for refund in bulk.find(tx, tables.refunds, Refund, FIX, fix_keys)
        if refund.status not in (RefundStatus.REFUSED, RefundStatus.FAILED)
    }
    unpaid |= {
        dispute.charge_id or ""
        for dispute in bulk.find(tx, tables.disputes, Dispute, CHARGE, charge_keys)
        if dispute.funds == Funds.LOST
    }
    return returned | {(f.customer_id, f.fix_id) for f in charged if f.charge_id in unpaid}
