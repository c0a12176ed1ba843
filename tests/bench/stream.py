"""A stream of events without an end, made so cheaply that the settler is what takes time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from random import Random
from threading import Event as Signal

from redis import Redis

from schemas.events import FixData, new_event
from schemas.inbox import DOOR, EVENT, partition_of, stream_of
from tests.bench.draining import unsettled
from tests.bench.population import customer
from worker.inbox import RETENTION, Inbox

AT_ONCE = 1000
AHEAD_MAX = 50_000  # events that wait to be settled: as many as may, without being all
TRIMMED_EVERY = 50_000
FIRST = 1_000_000_000  # all numbers have as many digits
CUSTOMER, REPOSITORY = "CUSTOMER", "REPOSITORY"
REPOSITORIES = 5


def template() -> bytes:
    """An event as the product writes it, with gaps for what differs."""
    data = FixData(
        customer_id=CUSTOMER,
        fix_id=f"fix-{FIRST}",
        repository=f"org/{REPOSITORY}",
        commit_sha="0123456789abcdef0123456789abcdef01234567",
        pull_request=FIRST,
    )
    event = new_event(
        id=f"evt_0190000000007000800000{FIRST}",  # as long as those that it makes itself
        source="github.com/org/repo",
        time=datetime.now(UTC),
        data=data,
    )
    body = event.to_bytes().replace(str(FIRST).encode(), b"%(number)d")
    body = body.replace(REPOSITORY.encode(), b"repo-%(repository)d")
    return body.replace(CUSTOMER.encode(), b"%(customer)b")


class Stream:
    """Every number is used once, however often it is asked for more."""

    def __init__(self, customers: int) -> None:
        names = map(customer, range(customers))
        self.customers = [(each.encode(), stream_of(partition_of(each))) for each in names]
        self.random, self.numbers, self.template = Random(1), count(FIRST), template()

    def publish(self, redis: Redis, events: int) -> None:
        """A customer at random for each."""
        with redis.pipeline(transaction=False) as pipeline:
            for name, stream in self.random.choices(self.customers, k=events):
                number = next(self.numbers)
                gaps = {b"number": number, b"repository": number % REPOSITORIES, b"customer": name}
                body = self.template % gaps
                pipeline.xadd(stream, {EVENT: body, DOOR: "redis"})
            pipeline.execute()

    @contextmanager
    def flowing(self, redis: Redis, events: int) -> Iterator[None]:
        """So many, beside the body, and never far ahead of who settles them."""
        over = Signal()
        with ThreadPoolExecutor(1) as pool:
            flow = pool.submit(self.flow, redis, events, over)
            try:
                yield
            finally:
                over.set()
            flow.result()

    def flow(self, redis: Redis, events: int, over: Signal) -> None:
        for published in range(0, events, AT_ONCE):
            self.publish(redis, min(AT_ONCE, events - published))
            if published % TRIMMED_EVERY == 0:
                Inbox(redis).trim(datetime.now(UTC) + RETENTION)  # as if it were two days later
            while unsettled(redis) > AHEAD_MAX and not over.wait(0.05):
                pass
            if over.is_set():
                return
