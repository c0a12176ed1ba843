"""Money back to a card: who may ask for it, and what each of Stripe's words does to the books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from schemas.money import Money
from worker.billing.answers import Answer, AnswerKind
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.dunning import ASK_AGAIN, doubled
from worker.billing.grants import Grant
from worker.billing.journal import Journal
from worker.billing.stripe_objects import StripeRefund


class RefundStatus(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"  #: to be sent, or sent and not answered
    PENDING = "pending"  #: Stripe has taken the money and is sending it
    SUCCEEDED = "succeeded"  #: on its way to the card
    FAILED = "failed"  #: the bank would not take it; the money is back with us
    REFUSED = "refused"  #: Stripe would not do it, whatever the reason; nothing moved


#: How a refund may move on; the schema refuses every other way.
TRANSITIONS = {
    RefundStatus.REQUESTED: (
        RefundStatus.PENDING,
        RefundStatus.SUCCEEDED,
        RefundStatus.FAILED,
        RefundStatus.REFUSED,
    ),
    RefundStatus.PENDING: (RefundStatus.SUCCEEDED, RefundStatus.FAILED),
    RefundStatus.SUCCEEDED: (RefundStatus.FAILED,),
    RefundStatus.FAILED: (),
    RefundStatus.REFUSED: (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED),
}
BOOKED = (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED)

# docs.stripe.com/api/refunds/object, status
BY_STRIPE_STATUS = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.SUCCEEDED,
    "failed": RefundStatus.FAILED,
    "canceled": RefundStatus.FAILED,
}


class RefundProblem(ValueError):
    """This refund may not be made; the message says why."""


@dataclass(slots=True)
class Refund:
    """`amount` is in minor units of `currency`."""

    customer_id: str
    refund_id: str
    charge_id: str | None
    payment_intent: str
    fix_id: str | None
    amount: int
    currency: str
    status: RefundStatus
    requested_at: datetime  # business time
    started_at: datetime  # wall time
    reason: str | None = None
    stripe_refund: str | None = None
    code: str | None = None
    message: str | None = None
    due_at: datetime | None = None
    leased_until: datetime | None = None
    tried: bool = False
    waits: int = 0
    from_unapplied: int = 0  # the part that was the customer's unapplied money


def check_returnable(charge: Charge, amount: int, under_way: int, disputed: bool) -> None:
    """Raises RefundProblem unless so much of what the card paid may go back."""
    if charge.status is not ChargeStatus.PAID or charge.payment_intent is None:
        raise RefundProblem(f"charge {charge.charge_id} is {charge.status}: no card has paid it")
    if disputed:
        raise RefundProblem(
            f"the payment of {charge.charge_id} is disputed: its bank decides where the money goes"
        )
    left = charge.asked - Money(charge.returned + under_way, charge.currency)
    if not left.amount:
        raise RefundProblem(f"nothing is left to return of {charge.asked}")
    if not 0 < amount <= left.amount:
        wanted = Money(amount, charge.currency)
        raise RefundProblem(f"amount: {wanted} is not within the {left} left of {charge.asked}")


def take_refund(
    journal: Journal,
    book: Book,
    charge: Charge | None,
    refund: Refund,
    seen: StripeRefund,
    brought: int,
) -> bool:
    """Follow Stripe: book what went back, and reverse it if it failed. True: the money went now.

    `brought` is how much unapplied money the payment had brought, in minor units.
    """
    status = BY_STRIPE_STATUS.get(seen.status, RefundStatus.PENDING)
    went_now = refund.status not in BOOKED
    failed_now = status is RefundStatus.FAILED and refund.status is not RefundStatus.FAILED
    refund.stripe_refund, refund.code = seen.stripe_refund, seen.code or refund.code
    if went_now:
        book_return(journal, book, charge, refund, brought)
    if failed_now:
        book_failure(journal, book, charge, refund)
    if status in TRANSITIONS[refund.status]:
        refund.status = status
    refund.due_at, refund.waits = None, 0
    return went_now and not failed_now


def take_refusal(refund: Refund, answer: Answer, now: datetime) -> None:
    """Stripe made no refund, or did not say: what is unknown is asked for again."""
    if refund.status in BOOKED:
        return  # someone else has heard what became of it
    refund.code, refund.message = answer.code, answer.message
    if answer.kind in (AnswerKind.UNKNOWN, AnswerKind.LATER, AnswerKind.READY):
        refund.due_at = now + doubled(refund.waits, *ASK_AGAIN)
        refund.waits += 1
        return
    refund.due_at, refund.status = None, RefundStatus.REFUSED


def book_return(
    journal: Journal, book: Book, charge: Charge | None, refund: Refund, brought: int
) -> None:
    """Of the unapplied money that this payment brought, what is still there goes back first."""
    refund.from_unapplied = min(refund.amount, brought, -book.unapplied)
    move(journal, book, "refund_unapplied", refund.from_unapplied, refund)
    move(journal, book, "refund", refund.amount - refund.from_unapplied, refund)
    if charge is not None:
        charge.returned += refund.amount
        journal.charges.change(charge.charge_id, charge)


def book_failure(journal: Journal, book: Book, charge: Charge | None, refund: Refund) -> None:
    """The bank sent it back: the very transfers are reversed."""
    move(journal, book, "refund_unapplied_failed", refund.from_unapplied, refund)
    move(journal, book, "refund_failed", refund.amount - refund.from_unapplied, refund)
    if charge is not None:
        charge.returned -= refund.amount
        journal.charges.change(charge.charge_id, charge)


def claw_back(journal: Journal, book: Book, refund: Refund, grants: Iterable[Grant]) -> None:
    """Credits that the returned money paid for go, as far as they are unused."""
    for grant in grants:
        if grant.remaining:
            move_credits(journal, book, "claw_back", grant.remaining, refund, grant)
            grant.remaining = 0


class Bought(NamedTuple):
    """Credits that a payment has bought, at this price each, and what of it went back before."""

    grant: Grant
    price: int
    returned: int


def claw_back_bought(journal: Journal, book: Book, refund: Refund, bought: Bought) -> None:
    """As many as the money that has gone back by now paid for, as far as they are unused."""
    gone = (bought.returned + refund.amount) // bought.price - bought.returned // bought.price
    number = min(bought.grant.remaining, gone)
    if number:
        move_credits(journal, book, "claw_back", number, refund, bought.grant)
        bought.grant.remaining -= number


def reissue(
    journal: Journal, book: Book, refund: Refund, clawed: Iterable[tuple[Grant, int]]
) -> None:
    """The refund failed: the credits that went with it come back."""
    for grant, number in clawed:
        move_credits(journal, book, "reissue", number, refund, grant)
        grant.remaining += number


def move(journal: Journal, book: Book, kind: str, amount: int, refund: Refund) -> None:
    if amount:
        source = refund.stripe_refund or refund.refund_id
        journal.move(book, kind, amount, source, fix_id=refund.fix_id, charge_id=refund.charge_id)


def move_credits(
    journal: Journal, book: Book, kind: str, number: int, refund: Refund, grant: Grant
) -> None:
    journal.grants.change((grant.customer_id, grant.grant_id), grant)
    source = f"{refund.stripe_refund}/{grant.grant_id}"
    journal.move(book, kind, number, source, grant_id=grant.grant_id, charge_id=refund.charge_id)
