"""Customers to settle for: every second one has credits, the others pay; all have a card."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine, insert

from schemas.plans import load_plans
from worker.billing.cycles import CycleStatus, month_of
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.ledger import NO_HEAD
from worker.clock import Clock
from worker.storage.books import open_books
from worker.storage.post import post
from worker.storage.tables import books, customers, cycles

CREDITS = 1_000_000  # more than any run uses up
AT_ONCE = 1000


def customer(number: int) -> str:
    return f"c-{number}"


def has_credits(number: int) -> bool:
    return number % 2 == 0


def populate(engine: Engine, size: int) -> None:
    """By the product's own writer, so that `verify` holds for them."""
    now = Clock().now()
    for first in range(0, size, AT_ONCE):
        with engine.begin() as tx:
            numbers = range(first, min(first + AT_ONCE, size))
            open_accounts(tx, [customer(number) for number in numbers], now)
            opened = open_books(tx, [customer(each) for each in numbers if has_credits(each)])
            journal = Journal(opened, Known(), now)
            for book in opened.values():
                give(journal, book, "operator", "bench", CREDITS, None)
            post(tx, journal)


def open_accounts(tx: Connection, names: list[str], now: datetime) -> None:
    cycle = month_of(now)
    version = load_plans().in_force("payg", now.date()).effective
    tx.execute(
        insert(customers),
        [{"customer_id": name, "livemode": False, "created_at": now} for name in names],
    )
    book = {
        "plan": "payg",
        "plan_version": version,
        "currency": "usd",
        "head": NO_HEAD,
        "has_payment_method": True,
        "cycle_start": cycle.start,
        "cycle_end": cycle.end,
        "due_at": cycle.end,
    }
    tx.execute(insert(books), [{"customer_id": name} | book for name in names])
    first = {
        "number": 1,
        "starts_at": cycle.start,
        "ends_at": cycle.end,
        "status": CycleStatus.OPEN,
    }
    tx.execute(insert(cycles), [{"customer_id": name} | first for name in names])
