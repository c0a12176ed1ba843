"""The backlog: held fixes settle oldest first, as soon as something can pay for them."""

from __future__ import annotations

from worker.billing.book import Book
from worker.billing.decide import decide_backlog
from worker.billing.entries import release
from worker.billing.journal import Journal
from worker.billing.outcome import Held


def settle_backlog(journal: Journal, book: Book) -> None:
    """Until nothing can pay for the next one.

    A fix that nobody has agreed to pay for does not stand in the way of those that were accepted.
    """
    place = 0
    while place < len(book.backlog):
        fix = book.backlog[place]
        payment = decide_backlog(book, fix, journal.time_of(book))
        if not isinstance(payment, Held):
            journal.released[payment.name] += 1
            release(journal, book, book.backlog.pop(place), payment)
        elif book.accepted_before(fix):
            place += 1
        else:
            return
