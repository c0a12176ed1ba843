"""What collecting does to the books: a charge is frozen, and an answer moves it on."""

from __future__ import annotations

from collections.abc import Iterable

from worker.billing.answers import Answer, AnswerKind
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Line, Why, minimum
from worker.billing.dunning import UNDER_WAY, Step
from worker.billing.entries import open_charge
from worker.billing.fix import Fix
from worker.billing.journal import Journal

RETRIED = (ChargeStatus.DECLINED, ChargeStatus.ACTION_REQUIRED)
PAYABLE = (ChargeStatus.OPEN, *RETRIED)  # by the customer's own money, whatever the card says


def begin_attempt(journal: Journal, book: Book, charge: Charge) -> bool:
    """Fix amount and lines for ever; False if there is nothing to ask Stripe for now."""
    if charge.due_at is None or charge.due_at > journal.time_of(book):
        return False
    journal.charges.change(charge.charge_id, charge)
    if charge.status in RETRIED and book.unapplied:
        withdraw(journal, book, charge)  # less is owed than its intent asks for
        return False
    if charge.status is not ChargeStatus.OPEN and not book.has_payment_method:
        wait_for_a_card(charge)
        return False
    if charge.status is ChargeStatus.OPEN and not freeze(journal, book, charge):
        return False
    if charge.status not in (*RETRIED, ChargeStatus.FROZEN):
        return False
    charge.status = ChargeStatus.FROZEN
    return True


def wait_for_a_card(charge: Charge) -> None:
    """One that was unparked meanwhile counts as declined: those are tried with the next card."""
    charge.due_at = None
    if charge.status is ChargeStatus.FROZEN:
        charge.status = ChargeStatus.DECLINED


def try_at_once(journal: Journal, book: Book, charge: Charge, why: Why) -> bool:
    """An attempt beside the schedule, for a new card or an operator; False: none can be made."""
    if charge.status is ChargeStatus.WITHDRAWING:
        charge.resume_at, charge.due_why = journal.time_of(book), why
        journal.charges.change(charge.charge_id, charge)
        return True
    waits = charge.status in RETRIED or (
        charge.status is ChargeStatus.OPEN
        and charge.amount > 0
        and (charge.due_at is None or charge.declined_at is not None)
    )
    if waits:
        charge.due_at, charge.due_why = journal.time_of(book), why
        journal.charges.change(charge.charge_id, charge)
    return waits


def unpark(journal: Journal, book: Book, charge: Charge, answer: str | None) -> None:
    """An operator has looked: it goes on, with another intent if the last one was cancelled."""
    charge.status = ChargeStatus.FROZEN
    charge.due_at, charge.due_why = journal.time_of(book), Why.OPERATOR
    if answer == AnswerKind.CANCELED:
        charge.payment_intent = None
    journal.charges.change(charge.charge_id, charge)


def freeze(journal: Journal, book: Book, charge: Charge) -> bool:
    """Settle the amount, and pay what can be paid without a card; False if that is all of it."""
    if charge.amount == 0:
        charge.status, charge.due_at = ChargeStatus.VOID, None
    elif -book.unapplied >= charge.owed:
        apply_money(journal, book, charge)
        charge.status, charge.due_at = ChargeStatus.PAID, None
        charge.frozen_at = charge.paid_at = journal.time_of(book)
        book.past_due = False
    elif not book.has_payment_method or given_up(book, charge) or not charge.worth_collecting():
        charge.due_at = None  # until there is a card, another one, or another line
    else:
        apply_money(journal, book, charge)
        charge.asked_amount = charge.owed
        charge.status, charge.frozen_at = ChargeStatus.FROZEN, journal.time_of(book)
    return charge.status is ChargeStatus.FROZEN


def given_up(book: Book, charge: Charge) -> bool:
    """It replaces a charge on which the card had no try left; only a new card or a person helps."""
    out_of_tries = book.past_due and charge.declined_at is not None
    return out_of_tries and charge.due_why is Why.SCHEDULED


def apply_money(journal: Journal, book: Book, charge: Charge) -> None:
    """Use the customer's own money first, but leave no rest that is too small for a card."""
    held = -book.unapplied
    usable = held if held >= charge.owed else min(held, charge.owed - minimum(charge.currency))
    amount = min(usable, charge.owed)
    if amount > 0:
        charge.applied += amount
        journal.move(book, "apply", amount, charge.charge_id, charge_id=charge.charge_id)


def take_step(journal: Journal, book: Book, charge: Charge, step: Step, answer: Answer) -> None:
    """Move the charge to where its answer leads; money that came is booked, once."""
    now = journal.time_of(book)
    if step.status is ChargeStatus.DECLINED and step.answered:
        charge.declined_at = charge.declined_at or now
        charge.tries += charge.due_why is Why.SCHEDULED
    if step.answered:
        charge.waits = 0
    elif charge.status in UNDER_WAY:
        charge.waits += 1
    if step.answered and step.status not in (ChargeStatus.WITHDRAWING, ChargeStatus.VOID):
        charge.due_why = Why.SCHEDULED
    charge.status, charge.due_at = step.status, step.due_at
    charge.payment_intent = answer.payment_intent or charge.payment_intent
    journal.charges.change(charge.charge_id, charge)
    journal.touched.add(book.customer_id)
    if step.past_due is not None:
        book.past_due = step.past_due
    if step.status is ChargeStatus.PAID:
        receive(journal, book, charge)


def receive(journal: Journal, book: Book, charge: Charge) -> None:
    """What Stripe collected pays what is still owed; the rest is the customer's own money."""
    charge.paid_at = journal.time_of(book)
    source = charge.payment_intent or charge.charge_id
    paid = min(charge.asked.amount, charge.owed)
    if paid:
        journal.move(book, "pay", paid, source, charge_id=charge.charge_id)
    if surplus := charge.asked.amount - paid:
        journal.move(book, "unapplied_in", surplus, source, charge_id=charge.charge_id)


def withdraw(journal: Journal, book: Book, charge: Charge) -> None:
    """The debt has changed: the intent must be cancelled before another is opened."""
    now = journal.time_of(book)
    if charge.status is not ChargeStatus.WITHDRAWING:
        charge.resume_at = charge.due_at if charge.status is ChargeStatus.DECLINED else now
    charge.status, charge.due_at = ChargeStatus.WITHDRAWING, now
    journal.charges.change(charge.charge_id, charge)


def drop_line(journal: Journal, book: Book, charge: Charge, fix: Fix, price: int) -> None:
    """A line leaves a charge that is being collected; what money of the customer paid comes back.

    If the card is charged all the same, the surplus is the customer's own money.
    """
    if price > charge.owed:
        excess = price - charge.owed
        charge.applied -= excess
        journal.move(book, "unapply", excess, fix.fix_id, charge_id=charge.charge_id)
    charge.dropped += price
    withdraw(journal, book, charge)


def replace(
    journal: Journal, book: Book, charge: Charge, lines: Iterable[Line], fixes: Iterable[Fix]
) -> None:
    """The withdrawn charge can never be paid: its lines go to the open one, or are given up."""
    if charge.applied:
        journal.move(book, "unapply", charge.applied, charge.charge_id, charge_id=charge.charge_id)
        charge.applied = 0
    if charge.write_off:
        give_up(journal, book, charge)
        return
    moved = list(lines)
    if moved:
        take_over(journal, book, charge, moved, fixes)
    charge.dropped = charge.amount
    clear_arrears(journal, book)


def take_over(
    journal: Journal, book: Book, charge: Charge, lines: list[Line], fixes: Iterable[Fix]
) -> None:
    """The replacement keeps its predecessor's place in the schedule: a change buys no new tries."""
    owed = book.open_charge or open_charge(journal, book)
    journal.charges.change(owed.charge_id, owed)
    owed.due_at, owed.due_why = charge.resume_at, charge.due_why
    owed.declined_at, owed.tries = charge.declined_at, charge.tries
    owed.amount += sum(line.price for line in lines)
    for line in lines:
        line.charge_id = owed.charge_id
        journal.lines.change((owed.charge_id, line.fix_id), line)
    for fix in fixes:
        fix.charge_id = owed.charge_id
        journal.fixes.change((fix.customer_id, fix.fix_id), fix)


def give_up(journal: Journal, book: Book, charge: Charge) -> None:
    """Write off what is still owed of a charge; its lines stay where they are."""
    if charge.owed:
        journal.move(book, "write_off", charge.owed, charge.charge_id, charge_id=charge.charge_id)
    charge.status, charge.due_at = ChargeStatus.VOID, None
    journal.charges.change(charge.charge_id, charge)
    clear_arrears(journal, book)


def clear_arrears(journal: Journal, book: Book) -> None:
    """Who owes nothing any more is in good standing."""
    if book.past_due and not book.receivable:
        book.past_due = False
        journal.touched.add(book.customer_id)


def book_unapplied(journal: Journal, book: Book, amount: int, payment_intent: str) -> None:
    """A payment that no charge of ours explains: it is used before any card is charged."""
    journal.move(book, "unapplied_in", amount, payment_intent)
    for charge in (book.charge_in_flight, book.open_charge):
        if charge is not None and charge.due_at is None and charge.status in PAYABLE:
            charge.due_at = journal.time_of(book)
            journal.charges.change(charge.charge_id, charge)
