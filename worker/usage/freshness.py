"""How fresh an answer is."""

from __future__ import annotations

from datetime import datetime

from redis.exceptions import RedisError
from sqlalchemy import BindParameter, Connection, bindparam, func, select
from structlog import get_logger

from schemas.inbox import partition_of
from worker.inbox import Inbox
from worker.storage.prepared import Prepared
from worker.storage.tables import books, parked_entries

log = get_logger()

CUSTOMER: BindParameter[str] = bindparam("customer_id")
PARKED = (
    select(func.min(parked_entries.c.accepted_at))
    .where(parked_entries.c.customer_id == CUSTOMER)
    .scalar_subquery()
)
ACCEPTED = Prepared(
    select(books.c.accepted_at, books.c.cycle_start, PARKED).where(books.c.customer_id == CUSTOMER)
)


def watermark(inbox: Inbox, customer_id: str) -> datetime | None:
    """Everything accepted before it is settled; ask before reading. None: the inbox is away."""
    try:
        return inbox.settled_until(partition_of(customer_id))
    except RedisError:
        log.warning("inbox_unreadable", exc_info=True)
        return None


def fresh_until(tx: Connection, customer_id: str, as_of: datetime | None) -> datetime | None:
    """The watermark of an answer that is read in this snapshot; None for a customer unknown to us.

    Without a word from the inbox, the last entry that was settled says it.
    """
    for accepted_at, cycle_start, parked in ACCEPTED.rows(tx, customer_id=customer_id):
        return before_parked(as_of or accepted_at or cycle_start, parked)
    return None


def before_parked(known: datetime, parked: datetime | None) -> datetime:
    """What was parked while the inbox was away is accepted too, and not settled yet."""
    return min(known, parked) if parked else known
