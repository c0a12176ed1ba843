"""Top-ups: credits that a customer buys by card. Nothing is owed: what is declined is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from worker.billing.answers import Answer, AnswerKind
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.giving import give
from worker.billing.journal import Journal

TOP_UP = "top_up:"  # before its key: the key of its credits, and what Stripe's intent is for


class TopUpStatus(StrEnum):
    """Where a top-up stands."""

    REQUESTED = "requested"  #: to be paid, or tried without a clear answer
    PAID = "paid"  #: the credits are there
    DECLINED = "declined"  #: the card was not charged, and can not be any more


#: How a top-up moves on; the schema refuses every other way. Money that comes all the same counts.
TRANSITIONS = {
    TopUpStatus.REQUESTED: (TopUpStatus.PAID, TopUpStatus.DECLINED),
    TopUpStatus.PAID: (),
    TopUpStatus.DECLINED: (TopUpStatus.PAID,),
}


class TopUpProblem(ValueError):
    """These credits cannot be bought; the message says why."""


@dataclass(slots=True)
class TopUp:
    """`amount` is in minor units of `currency`, for all of the credits."""

    customer_id: str
    top_up_id: str  # the buyer's key: a purchase that is sent twice is made once
    credits: int
    amount: int
    currency: str
    status: TopUpStatus
    requested_at: datetime  # wall time, as all times of a top-up
    due_at: datetime | None
    leased_until: datetime | None = None
    tries: int = 0
    payment_intent: str | None = None
    message: str | None = None  # why it was declined

    @property
    def name(self) -> str:
        return f"{TOP_UP}{self.top_up_id}"


def check_buyable(book: Book) -> None:
    """Raises TopUpProblem."""
    if book.price is None:
        raise TopUpProblem(f"plan {book.plan} has no price, so no credits can be bought")
    if (why := book.why_not_payable()) is not None:
        raise TopUpProblem(why)


def take_payment(journal: Journal, book: Book, top_up: TopUp, answer: Answer) -> bool:
    """Paid is earned, paid and given in one; False if this answer changes nothing."""
    if top_up.status is TopUpStatus.PAID:
        return False
    if answer.kind is AnswerKind.SUCCEEDED:
        top_up.status, top_up.due_at, top_up.message = TopUpStatus.PAID, None, None
        source = answer.payment_intent or top_up.name
        journal.move(book, "top_up", top_up.amount, top_up.name)
        journal.move(book, "pay", top_up.amount, source)
        give(journal, book, "top_up", top_up.name, top_up.credits, None, origin=source)
        settle_backlog(journal, book)
        return True
    # Without an intent of ours there is nothing at Stripe that could be paid yet.
    refused = answer.kind is AnswerKind.OUR_BUG and top_up.payment_intent is None
    if top_up.status is TopUpStatus.REQUESTED and (refused or answer.kind is AnswerKind.CANCELED):
        top_up.status, top_up.due_at = TopUpStatus.DECLINED, None
        why = answer.message or "the payment was cancelled at Stripe"
        top_up.message = top_up.message or why
        return True
    return False
