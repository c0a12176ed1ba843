"""Publishing to the inbox: one XADD per event, acknowledged when it is on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from producers.doors import Answered, Undelivered, deliver
from producers.spool import Spool
from schemas.events import Event
from schemas.inbox import DOOR, EVENT, KEY_ID, SIGNATURE, TRACEPARENT, partition_of, stream_of
from schemas.receipts import receipt

if TYPE_CHECKING:
    from producers.signing import Signer  # whoever signs has imported cryptography

# "Not now", said by a store that is full, failing over or cut off from its disk or replicas.
LATER = (OutOfMemoryError, ReadOnlyError, ClusterDownError, MasterDownError, TryAgainError)
LATER_CODES = ("MISCONF", "NOREPLICAS")


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
    """A connection that gives up in seconds, and never sends twice by itself."""
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=5,
        socket_connect_timeout=3,
        retry=Retry(NoBackoff(), 0),
    )


def publish(
    events: Sequence[Event],
    *,
    redis: Redis,
    spool: Spool | None = None,
    signer: Signer | None = None,
) -> list[Published]:
    """Append to the inbox. Whatever is not Accepted may still have arrived: keep the event's id.

    Sending an event again is always safe, so nothing is retried here behind the caller's back.
    """
    answers = deliver(events, [lambda chunk: append_all(chunk, redis, signer=signer)], spool)
    return [published(event, answer) for event, answer in zip(events, answers, strict=True)]


def published(event: Event, answer: Answered) -> Published:
    if isinstance(answer, Undelivered):
        return Refused(event, answer.why)
    if answer.status == "spooled":
        return Spooled(event)
    if answer.status == "refused":
        return Refused(event, answer.detail or "")
    return Accepted(event)


def append_all(
    events: Sequence[Event], redis: Redis, door: str = "redis", signer: Signer | None = None
) -> list[Answered]:
    """The Redis door: all in one round trip."""
    try:
        with redis.pipeline(transaction=False) as pipeline:
            for event in events:
                body = event.to_bytes()
                append(pipeline, event.customer_id, body, event.traceparent, door, signer)
            replies = pipeline.execute(raise_on_error=False)
    except RedisError as error:
        return [answered(event, error) for event in events]
    return [answered(event, reply) for event, reply in zip(events, replies, strict=True)]


def append(
    redis: Redis,
    customer_id: str,
    body: bytes,
    traceparent: str | None,
    door: str,
    signer: Signer | None = None,
) -> Any:
    """One entry of the inbox, signed where there is a key."""
    partition = partition_of(customer_id)
    signature = (signer.key_id, signer.sign(partition, body)) if signer else None
    return append_signed(redis, partition, body, traceparent, door, signature)


def append_signed(
    redis: Redis,
    partition: int,
    body: bytes,
    traceparent: str | None,
    door: str,
    signature: tuple[str | bytes, bytes] | None,
) -> Any:
    """One entry of the inbox, as its producer signed it."""
    fields: dict[Any, Any] = {EVENT: body, DOOR: door}
    if traceparent:
        fields[TRACEPARENT] = traceparent
    if signature:
        fields[KEY_ID], fields[SIGNATURE] = signature
    return redis.xadd(stream_of(partition), fields)


def answered(event: Event, reply: object) -> Answered:
    """A store that says "no" is told to the caller; one that is silent or busy, to the spool."""
    if not isinstance(reply, Exception):
        return receipt(event, "accepted")
    why = f"the inbox did not take it: {reply}"
    return receipt(event, "refused", why) if is_definite(reply) else Undelivered(event, why)


def is_definite(error: Exception) -> bool:
    if isinstance(error, (AuthenticationError, AuthorizationError)):
        return True
    passing = isinstance(error, LATER) or str(error).startswith(LATER_CODES)
    return isinstance(error, ResponseError) and not passing
