"""Giving credits: a new grant in a customer's book."""

from __future__ import annotations

from datetime import datetime

from worker.billing.book import Book
from worker.billing.grants import PRIORITY, Grant, order_of_use
from worker.billing.journal import Journal


def give(
    journal: Journal,
    book: Book,
    source: str,
    grant_id: str,
    credits: int,
    expires_at: datetime | None,
    now: datetime,
) -> Grant:
    """A new grant. `grant_id` is its key: the schema has room for it once."""
    grant = Grant(
        book.customer_id, grant_id, source, PRIORITY[source], credits, credits, expires_at, now
    )
    journal.grants.add((grant.customer_id, grant_id), grant)
    put_in_order(book, grant)
    journal.touched.add(book.customer_id)
    journal.transfers.append(
        book.move("grant", credits, grant_id, happened_at=now, recorded_at=now, grant_id=grant_id)
    )
    return grant


def put_in_order(book: Book, grant: Grant) -> None:
    book.grants = sorted(
        [each for each in book.grants if each.grant_id != grant.grant_id] + [grant],
        key=order_of_use,
    )
