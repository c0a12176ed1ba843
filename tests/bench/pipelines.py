"""Events as pipelines send them, in the kinds a run is made of."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

from redis import Redis

from producers.publish import Accepted, publish
from schemas.events import REVERTED, Event, FixData, new_event
from tests.bench.population import customer

AT_ONCE = 1000


class Pipelines:
    """Makes events: every number of a fix is used once, every run of a seed is the same."""

    def __init__(self, customers: int, seed: int = 1) -> None:
        self.customers = customers
        self.random = random.Random(seed)
        self.numbers = count()

    def spread(self, events: int) -> list[Event]:
        """A customer at random for each."""
        return [
            self.deployed(customer(self.random.randrange(self.customers))) for _ in range(events)
        ]

    def hot(self, events: int) -> list[Event]:
        """All of one customer, who has credits; the half of a second one, who has none."""
        return [self.deployed(customer(0)) for _ in range(events)]

    def repeated(self, events: int) -> list[Event]:
        """Nine of ten were sent before."""
        once = self.spread(events // 10)
        sent = once + [self.random.choice(once) for _ in range(events - len(once))]
        self.random.shuffle(sent)
        return sent

    def mixed(self, events: int) -> list[Event]:
        """Of a hundred: ten sent twice, five reverts, two of nobody we know."""
        made: list[Event] = []
        for fix in self.spread(events):
            chance = self.random.random()
            if made and chance < 0.1:
                made.append(self.random.choice(made))
            elif made and chance < 0.15:
                made.append(reverting(self.random.choice(made)))
            elif chance < 0.17:
                made.append(self.deployed(f"unknown-{next(self.numbers)}"))
            else:
                made.append(fix)
        return made

    def deployed(self, customer_id: str) -> Event:
        number = next(self.numbers)
        data = FixData(
            customer_id=customer_id,
            fix_id=f"fix-{number}",
            repository=f"org/repo-{number % 5}",
            commit_sha="0123456789abcdef0123456789abcdef01234567",
            pull_request=number + 1,
        )
        return new_event(source="github.com/org/repo", time=datetime.now(UTC), data=data)


def reverting(event: Event) -> Event:
    return new_event(source=event.source, time=datetime.now(UTC), data=event.data, type=REVERTED)


def fill(redis: Redis, events: Sequence[Event]) -> None:
    for part in parts(events):
        answers = publish(part, redis=redis)
        assert all(isinstance(each, Accepted) for each in answers), answers[0]


def parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for first in range(0, len(events), AT_ONCE):
        yield events[first : first + AT_ONCE]
