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
    *,
    movement: str = "grant",
    rolls_max: int = 0,
    origin: str | None = None,
) -> Grant:
    """A new grant. `grant_id` is its key: the schema has room for it once."""
    grant = Grant(
        book.customer_id,
        grant_id,
        source,
        PRIORITY[source],
        credits,
        credits,
        expires_at,
        journal.time_of(book),
        rolls_max,
        origin,
    )
    journal.grants.add((grant.customer_id, grant_id), grant)
    put_in_order(book, grant)
    journal.move(book, movement, credits, grant_id, grant_id=grant_id)
    return grant


def put_in_order(book: Book, grant: Grant) -> None:
    book.grants = sorted(
        [each for each in book.grants if each.grant_id != grant.grant_id] + [grant],
        key=order_of_use,
    )
