"""Publishing: one XADD per event, acknowledged when it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from producers.spool import Spool
from schemas.events import Event
from schemas.inbox import DOOR, EVENT, TRACEPARENT, partition_of, stream_of

CHUNK = 500  # events a round trip; bounds what one lost reply leaves in doubt


@dataclass(frozen=True, slots=True)
class Accepted:
    """The inbox has it; it will be settled."""

    event: Event


@dataclass(frozen=True, slots=True)
class Spooled:
    """No door answered; it lies on this machine's disk until the next publish."""

    event: Event


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not taken, and why. Send the same event again once that is put right."""

    event: Event
    why: str


Published = Accepted | Spooled | Refused


def connect(url: str) -> Redis:
    """A connection that gives up in seconds: a pipeline must not hang on us."""
    return Redis.from_url(url, protocol=2, socket_timeout=5, socket_connect_timeout=3)


def publish(
    events: Sequence[Event], *, redis: Redis, spool: Spool | None = None, door: str = "redis"
) -> list[Published]:
    """Append to the inbox. Whatever is not Accepted may still have arrived: keep the event's id.

    Sending an event again is always safe, so nothing is retried here behind the caller's back.
    """
    results: list[Published] = []
    for start in range(0, len(events), CHUNK):
        results += publish_chunk(events[start : start + CHUNK], redis, spool, door)
    return results


def publish_chunk(
    events: Sequence[Event], redis: Redis, spool: Spool | None, door: str
) -> list[Published]:
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for event in events:
                append(pipeline, event.customer_id, event.to_bytes(), event.traceparent, door)
            replies = pipeline.execute(raise_on_error=False)
    except RedisError as error:
        return [undelivered(event, error, spool) for event in events]
    return [
        undelivered(event, reply, spool) if isinstance(reply, Exception) else Accepted(event)
        for event, reply in zip(events, replies, strict=True)
    ]


def append(redis: Redis, customer_id: str, body: bytes, traceparent: str | None, door: str) -> Any:
    """One entry of the inbox."""
    fields: dict[Any, Any] = {EVENT: body, DOOR: door}
    if traceparent:
        fields[TRACEPARENT] = traceparent
    return redis.xadd(stream_of(partition_of(customer_id)), fields)


def undelivered(event: Event, error: Exception, spool: Spool | None) -> Published:
    """A store that answers "no" is told to the caller; one that doesn't answer, to the spool."""
    if spool is None or (isinstance(error, ResponseError) and "OOM" not in str(error)):
        return Refused(event, f"the inbox did not take it: {error}")
    spool.keep(event)
    return Spooled(event)
