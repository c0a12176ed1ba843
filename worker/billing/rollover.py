"""Time passes in a book: credits expire or roll over, a cycle ends and the next one begins.

Whatever notices first, an event or the sweep, brings the book up to its own time before it does
anything else. So it makes no difference who noticed, or how late.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.cycles import CLOSING, CycleRow, CycleStatus, month_of, period_end
from worker.billing.giving import give
from worker.billing.grants import Grant
from worker.billing.journal import Journal

ROLLED = "roll:"  # before the grant id: the key of the credits that rolled over from it


def catch_up(journal: Journal, book: Book, until: datetime) -> None:
    """All that falls due by then, each at its own moment."""
    while (moment := book.next_due) <= until:
        book.time = moment
        if book.closing_start is not None and moment >= book.cycle_start + CLOSING:
            close_cycle(journal, book)
        rolling = list(lapse(journal, book))
        if moment == book.cycle_end:
            roll_over(journal, book)
        for each in rolling:
            roll_in(journal, book, each)
        settle_backlog(journal, book)
    book.time = until


def roll_to(journal: Journal, book: Book, start: datetime) -> None:
    """The cycle that is open then; its credits wait until time comes to them.

    So it is with what is not an event: what was accepted before may still be on its way, and must
    find the credits that were good then.
    """
    while book.cycle_end <= start:
        roll_over(journal, book)


class Rolling(NamedTuple):
    """Credits on their way from an expired grant into the cycle that is open then."""

    grant: Grant
    credits: int


def lapse(journal: Journal, book: Book) -> list[Rolling]:
    """Grants that expire now: what may roll over does, the rest is lost."""
    now = journal.time_of(book)
    lapsed = [each for each in book.grants if each.remaining and not each.usable(now)]
    return [Rolling(grant, lapse_one(journal, book, grant)) for grant in lapsed]


def lapse_one(journal: Journal, book: Book, grant: Grant) -> int:
    """How many credits roll over. A grant can expire again if a credit was given back to it."""
    rolled = min(grant.remaining, grant.rolls_max)
    late = book.closing_start is not None and journal.time_of(book) <= book.cycle_start
    cycle = book.cycle - 1 if late else book.cycle  # the one that they expire with
    source = f"{grant.grant_id}/{grant.expires_at:%Y-%m-%dT%H:%M:%S.%fZ}"
    for kind, number in (("expire", grant.remaining - rolled), ("roll_out", rolled)):
        if number:
            journal.move(book, kind, number, source, cycle=cycle, grant_id=grant.grant_id)
    grant.remaining = grant.rolls_max = 0
    journal.grants.change((grant.customer_id, grant.grant_id), grant)
    book.grants.remove(grant)
    journal.known.grants[grant.customer_id, grant.grant_id] = grant  # as it is now, for a revert
    return rolled


def roll_in(journal: Journal, book: Book, rolling: Rolling) -> None:
    """They come first in the cycle, and expire with it."""
    if rolling.credits:
        give(
            journal,
            book,
            "rolled",
            f"{ROLLED}{rolling.grant.grant_id}",
            rolling.credits,
            book.cycle_end,
            movement="roll_in",
            origin=rolling.grant.grant_id,
        )


def roll_over(journal: Journal, book: Book) -> None:
    """The open cycle ends, and the next one begins under the plan version in force then."""
    close_cycle(journal, book)
    keep_cycle(journal, book, CycleStatus.CLOSING)
    book.cycle, book.closing_start = book.cycle + 1, book.cycle_start
    book.cycle_start, book.spent = book.cycle_end, 0
    if book.ends_with_period:
        leave_plan(book)
    book.cycle_end = cycle_end(book, book.cycle_start)
    take_newest_version(book)
    opened = CycleRow(
        book.customer_id,
        book.cycle,
        book.cycle_start,
        book.cycle_end,
        CycleStatus.OPEN,
        first_seq=book.seq + 1,
    )
    journal.cycles.add((book.customer_id, book.cycle), opened)


def close_cycle(journal: Journal, book: Book) -> None:
    """Nothing goes into the cycle before this one any more."""
    if book.closing_start is None:
        return
    key = (book.customer_id, book.cycle - 1)
    row = journal.cycles.new.get(key) or CycleRow(
        *key, book.closing_start, book.cycle_start, CycleStatus.CLOSED
    )
    row.status, row.closed_at = CycleStatus.CLOSED, journal.recorded_at(book)
    row.last_seq = book.seq
    journal.cycles.change(key, row)
    journal.touched.add(book.customer_id)
    book.closing_start = None


def keep_cycle(journal: Journal, book: Book, status: CycleStatus = CycleStatus.OPEN) -> None:
    """Write the open cycle as the book has it now."""
    key = (book.customer_id, book.cycle)
    row = journal.cycles.new.get(key) or CycleRow(*key, book.cycle_start, book.cycle_end, status)
    row.ends_at, row.status = book.cycle_end, status
    journal.cycles.change(key, row)
    journal.touched.add(book.customer_id)


def end_cycle(journal: Journal, book: Book, at: datetime) -> None:
    """Let the open cycle end now; one that has only just begun takes another end instead."""
    if at > book.cycle_start:
        book.cycle_end = at
        roll_over(journal, book)
    else:
        book.cycle_end = cycle_end(book, book.cycle_start)
        take_newest_version(book)
        keep_cycle(journal, book)


def cycle_end(book: Book, start: datetime) -> datetime:
    """The end of a cycle that begins then: of Stripe's period, else of the month."""
    if book.subscription_id is not None and book.anchor is not None:
        return period_end(book.anchor, start)
    return month_of(start).end


def leave_plan(book: Book) -> None:
    """The subscription is over: from here on the plan is the one its version names."""
    version = book.plans.pinned(book.plan, book.plan_version)
    book.plan = version.after_cancel_plan or book.plan
    book.use(book.plans.in_force(book.plan, book.cycle_start.date()))
    book.subscription_id = book.anchor = book.paid_until = None
    book.subscription_status, book.ends_with_period = "canceled", False


def take_newest_version(book: Book) -> None:
    """A new version applies to cycles that begin under it; a running cycle keeps its own.

    A subscription with another price keeps its version: Stripe goes on charging the old one.
    """
    version = book.plans.in_force(book.plan, book.cycle_start.date())
    pinned = book.plans.pinned(book.plan, book.plan_version)
    if book.subscription_id is None or version.subscription == pinned.subscription:
        book.use(version)
