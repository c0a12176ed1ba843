"""What collecting does to the books: a charge is frozen, and an answer moves it on."""

from __future__ import annotations

from worker.billing.answers import Answer
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.dunning import Step
from worker.billing.journal import Journal


def freeze_charge(journal: Journal, book: Book, charge: Charge) -> bool:
    """Fix amount and lines for ever; False if there is nothing to collect on it now."""
    if charge.status is ChargeStatus.DECLINED:
        return True
    if charge.status is not ChargeStatus.OPEN:
        return False
    journal.charges.change(charge.charge_id, charge)
    if charge.amount == 0:
        charge.status, charge.due_at = ChargeStatus.VOID, None
        return False
    if not charge.worth_collecting():
        charge.due_at = None  # until it takes another line
        return False
    charge.status, charge.frozen_at = ChargeStatus.FROZEN, journal.time_of(book)
    return True


def take_step(journal: Journal, book: Book, charge: Charge, step: Step, answer: Answer) -> None:
    """Move the charge to where its answer leads; money that came is booked, once."""
    charge.status, charge.due_at = step.status, step.due_at
    charge.payment_intent = answer.payment_intent or charge.payment_intent
    journal.charges.change(charge.charge_id, charge)
    if step.past_due is not None and step.past_due != book.past_due:
        book.past_due = step.past_due
        journal.touched.add(book.customer_id)
    if step.status is ChargeStatus.PAID:
        receive(journal, book, charge)


def receive(journal: Journal, book: Book, charge: Charge) -> None:
    now = journal.time_of(book)
    charge.paid_at = now
    journal.touched.add(book.customer_id)
    journal.transfers.append(
        book.move(
            "pay",
            charge.amount,
            charge.payment_intent or charge.charge_id,
            happened_at=now,
            recorded_at=now,
            charge_id=charge.charge_id,
        )
    )
