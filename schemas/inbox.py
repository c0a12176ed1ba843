"""Names and layout of the inbox: the Redis streams every door appends to."""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

# Part of the contract: producers choose the stream, so this number can't change without them.
PARTITIONS = 16

GROUP = "settlers"
CONSUMER = "settler"

# Fields of a stream entry.
EVENT = b"e"  # the event's exact bytes
DOOR = b"d"  # how it came in: redis, http, celery …
TRACEPARENT = b"t"  # W3C trace context of the producer
KEY_ID = b"k"  # of the producer's key that signed it
SIGNATURE = b"s"  # Ed25519, over `signed_bytes`

EVENT_BYTES_MAX = 64 * 1024  # far above any real event; bounds the memory of a batch


class Entry(NamedTuple):
    """What came through a door, as it came."""

    key: str  # unique over all doors: partition and stream id, or where it was parked
    body: bytes
    door: str
    accepted_at: datetime
    traceparent: str | None = None
    key_id: str | None = None
    signature: bytes | None = None

    @property
    def partition(self) -> int | None:
        """Where it lay in the inbox; None for what came by another way."""
        number, _, _ = self.key.partition("/")
        return int(number) if number.isdecimal() else None


def partition_of(customer_id: str) -> int:
    """One customer's events share a partition, so they are settled in the order they came."""
    return int.from_bytes(sha256(customer_id.encode()).digest()[:4], "big") % PARTITIONS


def stream_of(partition: int) -> str:
    """The braces are a Redis Cluster hash tag."""
    return f"inbox:{{{partition}}}"


def signed_bytes(partition: int, body: bytes) -> bytes:
    """What a producer signs: with the partition in it, no entry can be moved to another stream."""
    return b"fixbill.inbox.v1\x00%d\x00%s" % (partition, body)
