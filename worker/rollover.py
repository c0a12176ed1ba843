"""The life of a cycle: it ends, takes its last fixes for an hour, and is closed.

An event that is settled brings its customer's book up to its own time, so all this happens without
a beat, too. The sweep does it for those for whom nothing comes in. It goes no further than the
watermark: what was accepted before must be settled before, or it would find its credits expired.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf
from time import monotonic

from sqlalchemy import Engine
from structlog import get_logger

from schemas.inbox import partition_of
from worker.billing.cycles import SWEPT_WITHIN
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.rollover import catch_up
from worker.clock import Clock
from worker.inbox import Inbox
from worker.storage.books import open_books
from worker.storage.cycles import due_books, parked_since
from worker.storage.post import post

log = get_logger()

TOGETHER = 100  # customers of one transaction


def roll_over_due(
    engine: Engine, inbox: Inbox, clock: Clock, *, seconds: float = inf, all_now: bool = False
) -> int:
    """Every customer whose time has come, page by page, within so many seconds.

    `all_now`: also those who would be taken in their turn within the next minutes. Returns how
    many books time has changed.
    """
    settled = settled_until(inbox)
    up_to = clock.now() + (SWEPT_WITHIN if all_now else timedelta(0))
    after, changed, end = None, 0, monotonic() + seconds
    while monotonic() < end:
        with engine.begin() as tx:
            page = due_books(tx, up_to, TOGETHER, after)
        if not page:
            break
        after = page[-1]
        theirs = [each.customer_id for each in page if partition_of(each.customer_id) in settled]
        changed += roll_over(theirs, engine, settled, clock)
    return changed


def settled_until(inbox: Inbox) -> dict[int, datetime]:
    """The watermark of each partition that can be read, asked before anything else is."""
    inbox.leave_out_broken()
    return {number: inbox.settled_until(number) for number in inbox.streams.values()}


def roll_over(
    customer_ids: Sequence[str], engine: Engine, settled: dict[int, datetime], clock: Clock
) -> int:
    """Some customers in one transaction; one whose book cannot be brought up holds up no other."""
    try:
        return bring_up(customer_ids, engine, settled, clock)
    except Exception:
        if len(customer_ids) == 1:
            log.error("rollover_failed", customer=customer_ids[0], exc_info=True)
            return 0
    return sum(roll_over([each], engine, settled, clock) for each in customer_ids)


def bring_up(
    customer_ids: Sequence[str], engine: Engine, settled: dict[int, datetime], clock: Clock
) -> int:
    with engine.begin() as tx:
        journal = Journal(open_books(tx, customer_ids), Known(), clock.now())
        parked = parked_since(tx, customer_ids)
        for customer_id, book in journal.books.items():
            until = min(
                journal.now,
                settled[partition_of(customer_id)],
                parked.get(customer_id, journal.now),
            )
            catch_up(journal, book, until + book.clock_offset)
        changed = len(journal.touched)
        # Its grants may have been used up since it was last written: then nothing is due so soon.
        moved = (each for each in journal.books.values() if each.due_at > journal.now)
        journal.touched.update(each.customer_id for each in moved)
        post(tx, journal)
    return changed
