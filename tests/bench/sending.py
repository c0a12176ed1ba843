"""One process that sends single events on a schedule, whatever becomes of them (an open loop).

python -m tests.bench.sending DOOR BROKER RATE EVENTS FIRST
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count

from celery import Celery

from producers.publish import Accepted, connect, publish
from schemas.events import Event
from tests.bench import celery_peer
from tests.bench.bed import CUSTOMERS
from tests.bench.pipelines import Pipelines

SENDERS = 4  # one alone waits for the disk longer than a millisecond
LEAD = 0.2  # seconds until the first is due: all are ready by then

Send = Callable[[Event], None]


def on_schedule(send: Send, events: Sequence[Event], begin: float, rate: float, nth: int) -> None:
    """The share of one sender; who is late sends at once, and the schedule stays."""
    for number in range(nth, len(events), SENDERS):
        time.sleep(max(0.0, begin + number / rate - time.time()))
        send(events[number])


def sender(door: str, url: str, opened: ExitStack) -> Send:
    """A door of its own for each."""
    if door == "celery":
        app = opened.enter_context(Celery("peer", broker=url))
        producer = opened.enter_context(app.producer_pool.acquire())
        return lambda event: celery_peer.send(app, event, producer)
    redis = opened.enter_context(connect(url))

    def send(event: Event) -> None:
        assert isinstance(publish([event], redis=redis)[0], Accepted)

    return send


def main(door: str, url: str, rate: str, events: str, first: str) -> None:
    pipelines = Pipelines(CUSTOMERS, seed=int(first))
    pipelines.numbers = count(int(first))
    made = pipelines.spread(int(events))
    with ExitStack() as opened, ThreadPoolExecutor(SENDERS) as pool:
        sends = [sender(door, url, opened) for _ in range(SENDERS)]
        begin = time.time() + LEAD
        parts = [
            pool.submit(on_schedule, send, made, begin, float(rate), nth)
            for nth, send in enumerate(sends)
        ]
        for part in parts:
            part.result()
    print(json.dumps({"begin": begin, "seconds": time.time() - begin}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
