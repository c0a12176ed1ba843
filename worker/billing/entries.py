"""What a payment writes: the fix, the credit or the money that moved, the line on the charge."""

from __future__ import annotations

from bisect import insort
from datetime import datetime

from schemas.events import DERIVED_PREFIX
from schemas.money import Money
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Line
from worker.billing.cycles import cycle_for, month_of
from worker.billing.dunning import due_at
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.grants import Grant
from worker.billing.journal import Claim, Counted, Journal, Move
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
    now = journal.time_of(book)
    cycle, late = cycle_for(fix.deployed_at, now)
    fix.cycle_start, fix.late = cycle.start, fix.late or late
    fix.plan, fix.plan_version = book.plan, book.plan_version
    pay(journal, book, fix, payment)
    journal.fixes.change((fix.customer_id, fix.fix_id), fix)
    journal.moves.append(Move(fix, before, counted(fix)))


def new_fix(journal: Journal, book: Book, arrival: Arrival) -> Fix:
    event, now = arrival.event, journal.time_of(book)
    cycle, late = cycle_for(event.time, now)
    data = event.data
    return Fix(
        customer_id=data.customer_id,
        fix_id=data.fix_id,
        outcome=FixOutcome.HELD,
        held_why=None,
        repository=data.repository,
        commit_sha=data.commit_sha,
        pull_request=data.pull_request,
        finding=data.finding,
        deployed_at=event.time,
        recorded_at=now,
        settled_at=None,
        cycle_start=cycle.start,
        late=late,
        plan=book.plan,
        plan_version=book.plan_version,
        price=None,
        currency=None,
        grant_id=None,
        charge_id=None,
        source=event.source,
        event_id=event.id,
    )


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
    now = journal.time_of(book)
    fix.held_why, fix.settled_at = None, now
    if isinstance(payment, Credited):
        consume(journal, book, fix, payment.grant, now)
    else:
        charge(journal, book, fix, payment.price, now)


def consume(journal: Journal, book: Book, fix: Fix, grant: Grant, now: datetime) -> None:
    grant.remaining -= 1
    journal.grants.change((grant.customer_id, grant.grant_id), grant)
    fix.outcome, fix.grant_id = FixOutcome.CREDITED, grant.grant_id
    journal.transfers.append(
        book.move(
            "consume",
            1,
            fix.fix_id,
            happened_at=fix.deployed_at,
            recorded_at=now,
            fix_id=fix.fix_id,
            grant_id=grant.grant_id,
        )
    )


def charge(journal: Journal, book: Book, fix: Fix, price: Money, now: datetime) -> None:
    """A line on the open charge; the price is pinned here."""
    owed = book.open_charge or open_charge(journal, book)
    journal.charges.change(owed.charge_id, owed)
    owed.amount += price.amount
    owed.due_at = owed.due_at or due_at(book.policy, now)  # it may have been carried over
    cycle_start = month_of(now).start
    book.spent, book.spent_cycle = book.spent_in(cycle_start) + price.amount, cycle_start
    fix.outcome, fix.charge_id = FixOutcome.CHARGED, owed.charge_id
    fix.price, fix.currency = price.amount, price.currency
    line = Line(book.customer_id, owed.charge_id, fix.fix_id, price.amount, now)
    journal.lines.add((line.charge_id, line.fix_id), line)
    journal.transfers.append(
        book.move(
            "charge",
            price.amount,
            fix.fix_id,
            happened_at=fix.deployed_at,
            recorded_at=now,
            fix_id=fix.fix_id,
            charge_id=owed.charge_id,
        )
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
        due_at=due_at(book.policy, now),
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
