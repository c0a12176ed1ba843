"""What a payment writes: the fix, the credit or the money that moved, the line on the charge."""

from __future__ import annotations

from bisect import insort
from datetime import datetime

from schemas.events import DERIVED_PREFIX
from schemas.money import Money
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Line
from worker.billing.cycles import LATE_AFTER
from worker.billing.dunning import due_at
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.grants import Grant
from worker.billing.journal import Claim, Counted, Journal, Move
from worker.billing.ledger import CREDIT_ACCOUNTS, MOVEMENTS
from worker.billing.outcome import Credited, Held, Payment


def settle(journal: Journal, book: Book, arrival: Arrival, payment: Payment) -> None:
    """A fix seen for the first time."""
    fix = new_fix(journal, book, arrival)
    pay(journal, book, fix, payment)
    file_fix(journal, fix)
    if fix.outcome is FixOutcome.HELD:
        hold(book, fix)
    if fix.fix_id.startswith(DERIVED_PREFIX):
        journal.known.claims[fix.fix_id] = fix.customer_id
        journal.claims.append(Claim(fix.fix_id, fix.customer_id))
    journal.moves.append(Move(fix, None, counted(fix)))


def release(journal: Journal, book: Book, fix: Fix, payment: Payment) -> None:
    """A held fix can be paid; it counts in the cycle that is open now."""
    before = counted(fix)
    book.held -= 1
    place(fix, book, journal.time_of(book))
    fix.plan, fix.plan_version = book.plan, book.plan_version
    pay(journal, book, fix, payment)
    journal.fixes.change((fix.customer_id, fix.fix_id), fix)
    journal.moves.append(Move(fix, before, counted(fix)))


def place(fix: Fix, book: Book, now: datetime) -> None:
    """In its cycle; late if that is over."""
    fix.cycle_start = book.cycle_for(fix.deployed_at, now)
    fix.late = fix.late or fix.deployed_at < fix.cycle_start


def new_fix(journal: Journal, book: Book, arrival: Arrival) -> Fix:
    event, data = arrival.event, arrival.event.data
    fix = Fix(
        customer_id=data.customer_id,
        fix_id=data.fix_id,
        outcome=FixOutcome.HELD,
        held_why=None,
        repository=data.repository,
        commit_sha=data.commit_sha,
        pull_request=data.pull_request,
        finding=data.finding,
        deployed_at=event.time,
        recorded_at=journal.recorded_at(book),
        settled_at=None,
        cycle_start=book.cycle_start,
        late=journal.time_of(book) - event.time > LATE_AFTER,
        plan=book.plan,
        plan_version=book.plan_version,
        price=None,
        currency=None,
        grant_id=None,
        charge_id=None,
        source=event.source,
        event_id=event.id,
    )
    place(fix, book, journal.time_of(book))
    return fix


def file_fix(journal: Journal, fix: Fix) -> None:
    key = (fix.customer_id, fix.fix_id)
    journal.fixes.add(key, fix)
    journal.known.fixes[key] = fix
    journal.touched.add(fix.customer_id)


def pay(journal: Journal, book: Book, fix: Fix, payment: Payment) -> None:
    """Move the credit or the money that pays for this fix, if anything does."""
    journal.touched.add(book.customer_id)
    if isinstance(payment, Held):
        fix.held_why = payment.why
        return
    fix.held_why, fix.settled_at = None, journal.time_of(book)
    if isinstance(payment, Credited):
        consume(journal, book, fix, payment.grant)
    else:
        charge(journal, book, fix, payment.price)


def consume(journal: Journal, book: Book, fix: Fix, grant: Grant) -> None:
    grant.remaining -= 1
    journal.grants.change((grant.customer_id, grant.grant_id), grant)
    fix.outcome, fix.grant_id = FixOutcome.CREDITED, grant.grant_id
    book_fix(journal, book, "consume", 1, fix, fix.deployed_at)


def charge(journal: Journal, book: Book, fix: Fix, price: Money) -> None:
    """A line on the open charge; the price is pinned here."""
    now = journal.time_of(book)
    owed = book.open_charge or open_charge(journal, book)
    journal.charges.change(owed.charge_id, owed)
    owed.amount += price.amount
    owed.due_at = owed.due_at or due_at(book, now)  # it may have been carried over
    if now >= book.cycle_start:  # it may have come before a subscription began this cycle
        book.spent += price.amount
    fix.outcome, fix.charge_id = FixOutcome.CHARGED, owed.charge_id
    fix.price, fix.currency = price.amount, price.currency
    line = Line(book.customer_id, owed.charge_id, fix.fix_id, price.amount, now)
    journal.lines.add((line.charge_id, line.fix_id), line)
    book_fix(journal, book, "charge", price.amount, fix, fix.deployed_at)


def book_fix(
    journal: Journal, book: Book, kind: str, amount: int, fix: Fix, happened_at: datetime
) -> None:
    """Money counts in the cycle of its fix, as long as that is not closed.

    A credit counts in the open one: what was left of the cycle before has expired or rolled over.
    """
    in_credits = MOVEMENTS[kind][0] in CREDIT_ACCOUNTS
    journal.move(
        book,
        kind,
        amount,
        fix.fix_id,
        happened_at=happened_at,
        cycle=None if in_credits else book.cycle_of(fix.cycle_start),
        fix_id=fix.fix_id,
        grant_id=fix.grant_id,
        charge_id=fix.charge_id,
    )


def open_charge(journal: Journal, book: Book) -> Charge:
    """The charge that takes the lines from now on."""
    now = journal.time_of(book)
    opened = book.open_charge = Charge(
        book.customer_id,
        book.fresh_charge_id,
        ChargeStatus.OPEN,
        0,
        book.currency,
        opened_at=now,
        due_at=due_at(book, now),
    )
    journal.charges.add(opened.charge_id, opened)
    return opened


def hold(book: Book, fix: Fix) -> None:
    """Join the backlog; beyond the part of it that was read, only the count grows."""
    all_read = book.held == len(book.backlog)
    book.held += 1
    if all_read or (book.backlog and age(fix) < age(book.backlog[-1])):
        insort(book.backlog, fix, key=age)


def age(fix: Fix) -> tuple[datetime, str]:
    return fix.deployed_at, fix.fix_id


def counted(fix: Fix) -> Counted:
    owed = fix.owed
    return Counted(fix.cycle_start, fix.outcome, owed.amount if owed else 0)
