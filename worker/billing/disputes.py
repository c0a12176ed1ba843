"""Disputes: the bank takes the money back, then decides who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.billing.book import Book
from worker.billing.journal import Journal


class Funds(StrEnum):
    """Where the disputed money is."""

    OURS = "ours"  #: only an inquiry: nothing was taken
    WITHDRAWN = "withdrawn"  #: with the bank until it is decided
    WON = "won"  #: back with us; final
    LOST = "lost"  #: with the customer; final


FINAL = (Funds.WON, Funds.LOST)
CLOSED = ("warning_closed", "prevented")  # Stripe's words for an inquiry that came to nothing

# docs.stripe.com/api/disputes/object, status. A word we do not know moves nothing.
BY_STRIPE_STATUS = {
    "needs_response": Funds.WITHDRAWN,
    "under_review": Funds.WITHDRAWN,
    "won": Funds.WON,
    "lost": Funds.LOST,
}


@dataclass(slots=True)
class Dispute:
    """`amount` is in minor units of `currency`; `status` is Stripe's word."""

    customer_id: str
    dispute_id: str
    charge_id: str | None
    payment_intent: str
    amount: int
    currency: str
    status: str
    funds: Funds
    reason: str | None
    opened_at: datetime
    recorded_at: datetime


def take_dispute(journal: Journal, book: Book, dispute: Dispute, status: str) -> None:
    """Follow Stripe, however late we hear of it: what was withdrawn, then how it was decided."""
    funds = BY_STRIPE_STATUS.get(status, dispute.funds)
    if dispute.funds in FINAL or funds is dispute.funds:
        dispute.status = dispute.status if dispute.funds in FINAL else status
        return
    dispute.status = status
    if dispute.funds is Funds.OURS:
        move(journal, book, "dispute_opened", dispute)
    if funds in FINAL:
        move(journal, book, f"dispute_{funds}", dispute)
    dispute.funds = funds


def move(journal: Journal, book: Book, kind: str, dispute: Dispute) -> None:
    journal.move(book, kind, dispute.amount, dispute.dispute_id, charge_id=dispute.charge_id)
