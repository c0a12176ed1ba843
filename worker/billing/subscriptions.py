"""Subscriptions: their invoices are money of the ledger like any other."""

from __future__ import annotations

from worker.billing.book import Book
from worker.billing.journal import Journal
from worker.billing.stripe_objects import StripeInvoice

PAID = "paid"


def take_invoice(
    journal: Journal, book: Book, seen: StripeInvoice, was: str | None, already_here: bool
) -> bool:
    """A paid invoice is earned and paid in one; `was` is the status we knew.

    Its payment may have come first, when nothing explained it yet: then that money pays. False: it
    cannot be booked, for it is in another currency or that money is spent; reconcile parks it.
    """
    if seen.status != PAID or was == PAID or not seen.money.amount:
        return True
    if seen.money.currency != book.currency:
        return False
    if already_here and -book.unapplied < seen.money.amount:
        return False
    journal.move(book, "invoice", seen.money.amount, seen.invoice_id)
    if already_here:
        journal.move(book, "apply", seen.money.amount, seen.invoice_id)
    else:
        journal.move(book, "pay", seen.money.amount, seen.payment_intent or seen.invoice_id)
    return True
