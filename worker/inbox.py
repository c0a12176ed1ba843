"""The inbox as the worker sees it: read, acknowledge, measure, trim."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, ResponseError
from redis.retry import Retry
from structlog import get_logger

from schemas.events import printable
from schemas.inbox import (
    CONSUMER,
    DOOR,
    EVENT,
    GROUP,
    KEY_ID,
    PARTITIONS,
    SIGNATURE,
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
        self.read_counts: dict[bytes, int] | None = None  # what Redis should say the group has read

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
        counts, self.read_counts = self.read_counts or self._counts(), None
        entries = self._read(">", count, BLOCK_MS)
        for stream in map(stream_in, entries):
            if stream in counts:
                counts[stream] += 1
        self.read_counts = counts  # left unknown where the reply was lost, and with it a number
        return entries

    def _read(self, position: str, count: int, block: int | None) -> list[Entry]:
        try:
            found = self._shared_out(position, count, block)
        except ResponseError as error:
            goes_on = self.leave_out_broken()
            if "NOGROUP" in str(error):
                self.create_groups()
            elif not goes_on:
                raise
            return self._read(position, count, block)
        read = [
            entry_of(self.streams[stream], key, fields)
            for stream, entries in found
            for key, fields in entries
        ]
        return self._without_trimmed(read)

    def _shared_out(self, position: str, count: int, block: int | None) -> Any:
        """So many entries of each stream; what the others leave goes to those that have more."""
        wanted: dict[Any, Any] = dict.fromkeys(self.streams, position)
        each = max(1, count // len(self.streams))  # Redis counts per stream
        found: Any = self.redis.xreadgroup(GROUP, CONSUMER, wanted, each, block) or []
        more = [stream for stream, entries in found if len(entries) == each]
        left = count - sum(len(entries) for _, entries in found)
        # What is pending would be read from its beginning again.
        if position == ">" and more and left >= len(more):
            wanted = dict.fromkeys(more, position)
            with suppress(ResponseError):  # the next read meets it again, with nothing in hand
                found += self.redis.xreadgroup(GROUP, CONSUMER, wanted, left // len(more)) or []
        return found

    def leave_out_broken(self) -> bool:
        """Go on with the others: no stream may stop them. False if none is broken, or all are."""
        broken = self.broken()
        sound = {each: number for each, number in self.streams.items() if each not in broken}
        if not broken or not sound:
            return False
        log.error("streams_left_out", streams=[each.decode() for each in broken])
        self.streams = sound
        return True

    def broken(self) -> list[bytes]:
        """Whoever may write to the store can put something else in a stream's place."""
        with self.redis.pipeline(transaction=False) as pipeline:
            for stream in self.streams:
                pipeline.xlen(stream)
            lengths = pipeline.execute(raise_on_error=False)
        pairs = zip(self.streams, lengths, strict=True)
        return [stream for stream, length in pairs if "WRONGTYPE" in str(length)]

    def _without_trimmed(self, read: list[Entry]) -> list[Entry]:
        """An entry that was trimmed while pending comes back without its fields."""
        gone = [entry for entry in read if not entry.body]
        if gone:
            log.error("entries_trimmed_unsettled", entries=[entry.key for entry in gone])
            self.acknowledge(gone)
        return [entry for entry in read if entry.body]

    def acknowledge(self, entries: Iterable[Entry]) -> int:
        """Only after the commit. The entries themselves are kept for RETENTION.

        Returns how many were deleted, beside these, before they could be handed out. Only an XADD
        that trims does that: see docs/decisions/0017.
        """
        keys: defaultdict[bytes, list[str]] = defaultdict(list)
        for entry in entries:
            keys[stream_in(entry)].append(entry.key.partition("/")[2])
        with self.redis.pipeline(transaction=False) as pipeline:
            for stream, each in keys.items():
                pipeline.xack(stream, GROUP, *each)
                pipeline.xinfo_groups(stream)
            replies = pipeline.execute()
        return self._lost(read_counts(keys, replies[1::2]))

    def _lost(self, found: dict[bytes, int]) -> int:
        if self.read_counts is None:
            return 0
        expected = self.read_counts
        self.read_counts = expected | found
        return sum(max(count - expected.get(stream, count), 0) for stream, count in found.items())

    def _counts(self) -> dict[bytes, int]:
        with self.redis.pipeline(transaction=False) as pipeline:
            for stream in self.streams:
                pipeline.xinfo_groups(stream)
            return read_counts(self.streams, pipeline.execute(raise_on_error=False))

    def depth(self) -> Depth:
        """Entries not yet settled, and when the oldest of them was accepted."""
        self.leave_out_broken()
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
        return ours(groups)

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
        self.leave_out_broken()
        for stream, number in self.streams.items():
            limit = now - RETENTION
            oldest = self.oldest_unsettled(number)
            keep_from = min(limit, oldest) if oldest else limit
            self.redis.xtrim(stream, minid=str(int(keep_from.timestamp() * 1000)), approximate=True)

    def weaknesses(self) -> list[str]:
        """What in this store's settings would break the promise that nothing accepted is lost."""
        try:
            found: Any = self.redis.config_get(*SAFE_SETTINGS)
        except NoPermissionError:
            return ["its settings may not be looked at; allow this user CONFIG GET"]
        return [
            f"{name} is {found.get(name)!r}; set it to {wanted!r}"
            for name, wanted in SAFE_SETTINGS.items()
            if found.get(name) != wanted
        ] + [
            f"{stream.decode()} holds no stream and is left out: delete it, then publish again "
            "what was accepted there and is not settled"
            for stream in self.broken()
        ]


TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

LAST_MS = 253_370_764_800_000  # the beginning of the year 9999

SAFE_SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}


def read_counts(streams: Iterable[bytes], replies: Iterable[Any]) -> dict[bytes, int]:
    """How many entries the group has ever read of these, where Redis knows."""
    return {
        stream: int(group["entries-read"])
        for stream, reply in zip(streams, replies, strict=True)
        if (group := ours(reply)) and group["entries-read"] is not None
    }


def ours(groups: Any) -> dict[str, Any] | None:
    """Our group among those of a stream; an error instead of them means there are none."""
    found = [] if isinstance(groups, Exception) else groups
    return next((each for each in found if each["name"] == GROUP.encode()), None)


def stream_in(entry: Entry) -> bytes:
    """Where it lies; every entry that was read lies in some partition."""
    return stream_of(int(entry.key.partition("/")[0])).encode()


def entry_of(partition: int, key: bytes, fields: dict[bytes, bytes] | None) -> Entry:
    """Without fields it was trimmed; one that merely lacks the event gets an unreadable body."""
    body = fields.get(EVENT) or b"no event" if fields else b""
    fields = fields or {}
    door = fields.get(DOOR, b"")
    traceparent = fields.get(TRACEPARENT, b"")
    key_id = fields.get(KEY_ID)
    return Entry(
        key=f"{partition}/{key.decode()}",
        body=body,
        door=door.decode() if door.isalpha() and len(door) <= 16 else "redis",
        accepted_at=time_of(key),
        traceparent=traceparent.decode() if TRACE.fullmatch(traceparent) else None,
        key_id=None if key_id is None else printable(key_id.decode("ascii", "replace")),
        signature=fields.get(SIGNATURE),
    )


def time_of(key: bytes) -> datetime:
    """A stream id begins with the milliseconds at which the entry was accepted.

    Whoever appends may choose the id: what no date can be is taken for the last that can.
    """
    return datetime.fromtimestamp(min(int(key.split(b"-")[0]), LAST_MS) / 1000, UTC)
