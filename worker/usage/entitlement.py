"""Whether a fix that is deployed now would be paid: by the rules that settle it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from schemas.listings import Entitlement
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.decide import decide_money, decide_payment
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.outcome import Charged, Credited, Held
from worker.billing.rollover import catch_up
from worker.storage.books import oldest_held, read_book


def entitlement(
    tx: Connection, customer_id: str, now: datetime, as_of: datetime
) -> Entitlement | None:
    """None for a customer we do not know."""
    book = read_book(tx, customer_id)
    if book is None:
        return None
    if book.held and book.backlog_may_settle():
        book.backlog = oldest_held(tx, customer_id)
    at = now + book.clock_offset
    settle_what_is_due(book, now, at)
    payment, left = decide_payment(book, at), credits_left(book, at)
    return Entitlement(
        customer_id=customer_id,
        as_of=as_of,
        pays_by={Credited: "credit", Charged: "money", Held: "nothing"}[type(payment)],
        price=payment.price if isinstance(payment, Charged) else None,
        why_not=payment.why if isinstance(payment, Held) else None,
        credits_left=left,
        covered=0 if isinstance(payment, Held) else covered(book, left),
    )


def settle_what_is_due(book: Book, now: datetime, at: datetime) -> None:
    """As it is done before every fix; what this writes goes nowhere."""
    journal = Journal({book.customer_id: book}, Known(), now)
    catch_up(journal, book, at)
    settle_backlog(journal, book)


def credits_left(book: Book, at: datetime) -> int:
    return sum(grant.remaining for grant in book.grants if grant.usable(at))


def covered(book: Book, credits: int) -> int | None:
    """How many fixes the credits pay, and then money as far as the cap; None: as many as come."""
    payment = decide_money(book)
    if isinstance(payment, Held):
        return credits
    assert isinstance(payment, Charged)  # noqa: S101 - money pays, or nothing does
    if book.spending_cap is None:
        return None
    return credits + (book.spending_cap - book.spent) // payment.price.amount
