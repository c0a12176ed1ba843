"""How fresh an answer is."""

from __future__ import annotations

from datetime import datetime

from redis.exceptions import RedisError
from structlog import get_logger

from schemas.inbox import partition_of
from worker.inbox import Inbox

log = get_logger()


def watermark(inbox: Inbox, customer_id: str) -> datetime | None:
    """Everything accepted before it is settled; ask before reading. None: the inbox is away."""
    try:
        return inbox.settled_until(partition_of(customer_id))
    except RedisError:
        log.warning("inbox_unreadable", exc_info=True)
        return None
