"""What Stripe keeps of a payment, a refund or a dispute: our cost, not the customer's."""

from __future__ import annotations

from worker.billing.book import Book
from worker.billing.journal import Journal
from worker.billing.stripe_objects import StripeFee


def take_fee(journal: Journal, book: Book, fee: StripeFee) -> bool:
    """Leaves what we have of their payments; False if this ledger cannot hold it.

    It is in another currency where Stripe pays us out in one; then only Stripe's reports have it.
    """
    amount = fee.money.amount
    if fee.money.currency != book.currency or book.fees + amount < 0:
        return False
    kind = "fee" if amount > 0 else "fee_returned"
    journal.move(book, kind, abs(amount), fee.transaction_id, happened_at=fee.taken_at)
    return True
