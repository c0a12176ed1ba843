"""Taking a fix back: what it costs to undo depends on what paid for it."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.money import Money
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Line
from worker.billing.entries import book_fix, counted, file_fix, new_fix
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.giving import give, put_in_order
from worker.billing.grants import Grant
from worker.billing.journal import Journal, Move
from worker.billing.outcome import Reverted
from worker.billing.payments import clear_arrears, drop_line

REVERT = "revert:"  # before the fix id: the key of the credit for a fix that was paid in money

# How long a credit is good for that goes back to a grant which has expired meanwhile.
REOPENED_FOR = timedelta(days=30)


def bury(journal: Journal, book: Book, arrival: Arrival) -> None:
    """A tombstone: when the fix is reported later, it is known and costs nothing."""
    fix = new_fix(journal, book, arrival)
    fix.outcome, fix.settled_at = FixOutcome.REVERTED, journal.time_of(book)
    file_fix(journal, fix)
    journal.moves.append(Move(fix, None, counted(fix)))


def take_back(journal: Journal, book: Book, arrival: Arrival, outcome: Reverted) -> None:
    """Undo what paid for the fix, by a transfer of its own."""
    fix, at, now = outcome.fix, arrival.event.time, journal.time_of(book)
    before = counted(fix)
    if outcome.how == "dropped":
        unhold(book, fix)
    elif outcome.how == "given_back":
        give_back(journal, book, fix, at, now)
    elif outcome.how == "uncharged":
        uncharge(journal, book, fix, at, now)
    elif outcome.how == "compensated":
        compensate(journal, book, fix)
    fix.outcome, fix.held_why, fix.settled_at = FixOutcome.REVERTED, None, now
    journal.fixes.change((fix.customer_id, fix.fix_id), fix)
    journal.touched.add(book.customer_id)
    journal.moves.append(Move(fix, before, counted(fix)))


def compensate(journal: Journal, book: Book, fix: Fix) -> None:
    """A credit for a fix that was paid in money; it was bought, so it does not expire."""
    give(journal, book, "revert", f"{REVERT}{fix.fix_id}", 1, None, origin=fix.charge_id)


def unhold(book: Book, fix: Fix) -> None:
    book.held -= 1
    book.backlog = [each for each in book.backlog if each.fix_id != fix.fix_id]


def give_back(journal: Journal, book: Book, fix: Fix, at: datetime, now: datetime) -> None:
    """The credit returns to the grant it came from, which is opened again if it has expired."""
    grant = grant_of(journal, book, fix)
    grant.remaining += 1
    if grant.expires_at is not None and grant.expires_at <= now:
        grant.first_expired_at = grant.first_expired_at or grant.expires_at
        grant.expires_at, grant.rolls_max = now + REOPENED_FOR, 0  # it has had its turn to roll
    put_in_order(book, grant)
    journal.grants.change((grant.customer_id, grant.grant_id), grant)
    book_fix(journal, book, "give_back", 1, fix, at)


def grant_of(journal: Journal, book: Book, fix: Fix) -> Grant:
    """The grant that paid: among those with credits left, else as loaded with the known fixes."""
    for grant in book.grants:
        if grant.grant_id == fix.grant_id:
            return grant
    return journal.known.grants[fix.customer_id, fix.grant_id or ""]


def uncharge(journal: Journal, book: Book, fix: Fix, at: datetime, now: datetime) -> None:
    """It is no longer owed: the line comes off its charge, which may be under collection."""
    owed, price = book.unpaid_charge(fix.charge_id), fix.owed
    assert owed is not None  # noqa: S101 - decide_revert looked
    assert price is not None  # noqa: S101 - the fix is charged
    if owed.status is ChargeStatus.OPEN:
        owed.amount -= price.amount
        journal.charges.change(owed.charge_id, owed)
    else:
        drop_line(journal, book, owed, fix, price.amount)
    if fix.settled_at is not None and fix.settled_at >= book.cycle_start:
        book.spent -= min(book.spent, price.amount)
    remove_line(journal, fix, owed, price, now)
    book_fix(journal, book, "uncharge", price.amount, fix, at)
    clear_arrears(journal, book)


def remove_line(journal: Journal, fix: Fix, owed: Charge, price: Money, now: datetime) -> None:
    key = (owed.charge_id, fix.fix_id)
    line = journal.lines.new.get(key) or Line(
        fix.customer_id, owed.charge_id, fix.fix_id, price.amount, fix.settled_at or now
    )
    line.removed_at = now
    journal.lines.change(key, line)
