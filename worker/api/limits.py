"""How often one may ask: by key, and for wrong keys by address.

In the memory of each process, so two processes allow twice as much. The library for it (`limits`)
keeps an entry for every address it has seen in a minute, however many those are; this does not.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from threading import Lock

from schemas.problems import RATE_LIMITED, TOO_MANY_GUESSES
from worker.api.problems import Refusal
from worker.storage.api_keys import ApiKey

BURST_SECONDS = 10  # one may be so far ahead of one's rate
BATCH_MAX = 1000  # events of one request
GUESSES = 20  # wrong keys of an address, all at once or in a minute
READS_PER_SECOND = 200.0
EVENTS_PER_SECOND = 2000.0
REMEMBERED_MAX = 10_000  # keys or addresses; the one that was idle longest is forgotten
ROUNDING = 1e-6  # seconds

Now = Callable[[], float]


class Rate:
    """Token buckets, each a single number: when it is full again (GCRA)."""

    def __init__(
        self, per_second: float, burst: float, now: Now = time.monotonic, room: int = REMEMBERED_MAX
    ) -> None:
        self.per_second = per_second
        self.burst = burst
        self.now = now
        self.room = room
        self.full_at: OrderedDict[str, float] = OrderedDict()
        self.lock = Lock()

    def take(self, name: str, count: int = 1) -> float:
        """0 if so many may be taken, which they then are; else in how many seconds they may."""
        now = self.now()
        with self.lock:
            full_at = max(self.full_at.get(name, now), now) + count / self.per_second
            wait = full_at - now - self.burst / self.per_second
            if wait > ROUNDING:
                return wait
            self.full_at[name] = full_at
            self.full_at.move_to_end(name)
            if len(self.full_at) > self.room:
                self.full_at.popitem(last=False)
        return 0.0

    def wait(self, name: str) -> float:
        """In how many seconds one may be taken."""
        now = self.now()
        full_at = max(self.full_at.get(name, now), now)
        return max(0.0, full_at - now + (1 - self.burst) / self.per_second)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process."""

    reading: Rate
    publishing: Rate
    guessing: Rate = field(default_factory=lambda: Rate(GUESSES / 60, GUESSES))
    good: OrderedDict[bytes, None] = field(default_factory=OrderedDict)  # digests of keys

    def refuse_guess(self, presented: str, address: str) -> None:
        """429 for an address that guesses, unless this key was good before."""
        wait = self.guessing.wait(address)
        if wait > 0 and digest(presented) not in self.good:
            many = "Too many unknown API keys came from your address."
            raise Refusal(
                HTTPStatus.TOO_MANY_REQUESTS, many, kind=TOO_MANY_GUESSES, retry_after=wait
            )

    def note_guess(self, presented: str, address: str) -> None:
        self.good.pop(digest(presented), None)  # it was revoked since
        self.guessing.take(address)

    def note_good(self, presented: str) -> None:
        self.good[digest(presented)] = None
        if len(self.good) > REMEMBERED_MAX:
            self.good.popitem(last=False)

    def ask(self, key: ApiKey) -> None:
        """One request that is not about publishing."""
        spend(self.reading, key, 1, "requests")

    def publish(self, key: ApiKey, events: int) -> None:
        """So many events, all or none."""
        spend(self.publishing, key, events, "events")


def limits_of(reads: float | None = None, events: float | None = None) -> Limits:
    """With these rates per second, or the usual ones."""
    reads, events = reads or READS_PER_SECOND, events or EVENTS_PER_SECOND
    return Limits(
        Rate(reads, max(reads * BURST_SECONDS, 1)),
        Rate(events, max(events * BURST_SECONDS, BATCH_MAX)),
    )


def spend(rate: Rate, key: ApiKey, count: int, what: str) -> None:
    wait = rate.take(key.key_id, count)
    if wait > 0:
        much = f"This key may send {rate.per_second:g} {what} a second."
        raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, much, kind=RATE_LIMITED, retry_after=wait)


def digest(presented: str) -> bytes:
    """Keys themselves are not kept."""
    return sha256(presented.encode()).digest()


@lru_cache(maxsize=1024)
def address_of(host: str | None) -> str:
    """Whoever has one IPv6 address has the 2⁶⁴ next to it."""
    try:
        found = ip_address(host or "")
    except ValueError:
        return host or ""
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped or IPv6Address(int(found) >> 64 << 64))
    return str(found)
