"""The inbox as the worker sees it: read, acknowledge, measure, trim."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry
from structlog import get_logger

from schemas.inbox import (
    CONSUMER,
    DOOR,
    EVENT,
    GROUP,
    PARTITIONS,
    TRACEPARENT,
    Entry,
    stream_of,
)

log = get_logger()

BLOCK_MS = 1000
# Entries stay readable longer than the newest restorable backup is old, for a restore to re-read.
RETENTION = timedelta(hours=48)


def connect(url: str) -> Redis:
    """The time-out leaves room for the blocking read; nothing is sent twice behind our back."""
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=5,
        socket_connect_timeout=3,
        socket_keepalive=True,
        health_check_interval=10,
        retry=Retry(NoBackoff(), 0),
    )


@dataclass(frozen=True, slots=True)
class Depth:
    """What has been accepted and is not settled yet."""

    entries: int
    oldest: datetime | None


class Inbox:
    """Some partitions of the inbox, read through the one consumer group."""

    def __init__(self, redis: Redis, partitions: Sequence[int] = range(PARTITIONS)) -> None:
        self.redis = redis
        self.streams = {stream_of(number).encode(): number for number in partitions}

    def create_groups(self) -> None:
        """At 0, never at `$`: a group that vanished with its stream must miss nothing."""
        for stream in self.streams:
            try:
                self.redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    def pending(self, count: int) -> list[Entry]:
        """Entries that were delivered before and never acknowledged."""
        return self._read("0", count, None)

    def fresh(self, count: int) -> list[Entry]:
        """New entries; waits about a second for the first one."""
        return self._read(">", count, BLOCK_MS)

    def _read(self, position: str, count: int, block: int | None) -> list[Entry]:
        wanted: dict[Any, Any] = dict.fromkeys(self.streams, position)
        each = max(1, count // len(self.streams))  # Redis counts per stream
        try:
            found: Any = self.redis.xreadgroup(GROUP, CONSUMER, wanted, count=each, block=block)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self.create_groups()
            return []
        read = [
            entry_of(self.streams[stream], key, fields)
            for stream, entries in found or []
            for key, fields in entries
        ]
        return self._without_trimmed(read)

    def _without_trimmed(self, read: list[Entry]) -> list[Entry]:
        """An entry that was trimmed while pending comes back without its fields."""
        gone = [entry for entry in read if not entry.body]
        if gone:
            log.error("entries_trimmed_unsettled", entries=[entry.key for entry in gone])
            self.acknowledge(gone)
        return [entry for entry in read if entry.body]

    def acknowledge(self, entries: Iterable[Entry]) -> None:
        """Only after the commit. The entries themselves are kept for RETENTION."""
        keys: defaultdict[int, list[str]] = defaultdict(list)
        for entry in entries:
            partition, _, key = entry.key.partition("/")
            keys[int(partition)].append(key)
        with self.redis.pipeline(transaction=False) as pipeline:
            for number, each in keys.items():
                pipeline.xack(stream_of(number), GROUP, *each)
            pipeline.execute()

    def depth(self) -> Depth:
        """Entries not yet settled, and when the oldest of them was accepted."""
        oldest = [self.oldest_unsettled(number) for number in self.streams.values()]
        count = sum(self._unsettled(stream) for stream in self.streams)
        return Depth(count, min((at for at in oldest if at), default=None))

    def _unsettled(self, stream: bytes) -> int:
        group = self._group(stream)
        if group is None:
            return int(self.redis.xlen(stream))
        return int(group["pending"]) + int(group["lag"] or 0)

    def _group(self, stream: bytes) -> dict[str, Any] | None:
        try:
            groups: Any = self.redis.xinfo_groups(stream)
        except ResponseError:  # no such stream
            return None
        return next((each for each in groups if each["name"] == GROUP.encode()), None)

    def oldest_unsettled(self, partition: int) -> datetime | None:
        """When the oldest entry that is not yet settled was accepted."""
        stream = stream_of(partition).encode()
        group = self._group(stream)
        if group is None:
            first: Any = self.redis.xrange(stream, count=1)
            return time_of(first[0][0]) if first else None
        if group["pending"]:
            summary: Any = self.redis.xpending(stream, GROUP)
            if summary["min"]:
                return time_of(summary["min"])
        after = group["last-delivered-id"].decode()
        unread: Any = self.redis.xrange(stream, min=f"({after}", count=1)
        return time_of(unread[0][0]) if unread else None

    def settled_until(self, partition: int) -> datetime:
        """The watermark: everything accepted before it is settled. Advances while idle."""
        seconds, micros = self.redis.time()
        # Asked before the entries: what is accepted in between is later than this anyway. No finer
        # than an entry's stamp, or one of the same millisecond would seem to be before it.
        idle_until = datetime.fromtimestamp(seconds + micros // 1000 / 1000, UTC)
        return self.oldest_unsettled(partition) or idle_until

    def trim(self, now: datetime) -> None:
        """Forget entries older than RETENTION, but never one that is not settled."""
        for stream, number in self.streams.items():
            limit = now - RETENTION
            oldest = self.oldest_unsettled(number)
            keep_from = min(limit, oldest) if oldest else limit
            self.redis.xtrim(stream, minid=str(int(keep_from.timestamp() * 1000)), approximate=True)

    def weaknesses(self) -> list[str]:
        """What in this store's settings would break the promise that nothing accepted is lost."""
        found: Any = self.redis.config_get(
            "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy"
        )
        return [
            f"{name} is {found.get(name)!r}; set it to {wanted!r}"
            for name, wanted in SAFE_SETTINGS.items()
            if found.get(name) != wanted
        ]


TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

LAST_MS = 253_370_764_800_000  # the beginning of the year 9999

SAFE_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


def entry_of(partition: int, key: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """Without fields it was trimmed; one that merely lacks the event gets an unreadable body."""
    body = fields.get(EVENT) or b"no event" if fields else b""
    fields = fields or {}
    door = fields.get(DOOR, b"")
    traceparent = fields.get(TRACEPARENT, b"")
    return Entry(
        key=f"{partition}/{key.decode()}",
        body=body,
        door=door.decode() if door.isalpha() and len(door) <= 16 else "redis",
        accepted_at=time_of(key),
        traceparent=traceparent.decode() if TRACE.fullmatch(traceparent) else None,
    )


def time_of(key: bytes) -> datetime:
    """A stream id begins with the milliseconds at which the entry was accepted.

    Whoever appends may choose the id: what no date can be is taken for the last that can.
    """
    return datetime.fromtimestamp(min(int(key.split(b"-")[0]), LAST_MS) / 1000, UTC)
