"""One process that posts events to the API over a few connections, as fast as they are answered.

python -m tests.bench.posting URL KEY REQUESTS EVENTS_OF_EACH FIRST
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from time import perf_counter
from urllib.parse import urlsplit

from tests.bench.bed import CUSTOMERS
from tests.bench.pipelines import Pipelines

CONNECTIONS = 8
PATH = "/api/v1/billing/track_fix"


def bodies(requests: int, of_each: int, first: int) -> list[bytes]:
    """A single event is no batch of one."""
    pipelines = Pipelines(CUSTOMERS, seed=first)
    pipelines.numbers = count(first)
    if of_each == 1:
        return [event.to_bytes() for event in pipelines.spread(requests)]
    batches = (pipelines.spread(of_each) for _ in range(requests))
    return [b"[%s]" % b",".join(event.to_bytes() for event in batch) for batch in batches]


def post_all(url: str, key: str, bodies: Iterable[bytes]) -> list[float]:
    """Seconds of each; the connection is kept."""
    connection = HTTPConnection(urlsplit(url).netloc)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    took = []
    for body in bodies:
        begun = perf_counter()
        connection.request("POST", PATH, body, headers)
        reply = connection.getresponse()
        text = reply.read()
        took.append(perf_counter() - begun)
        assert reply.status in (202, 207), text
        assert b'"refused"' not in text, text
    connection.close()
    return took


def main(url: str, key: str, requests: str, of_each: str, first: str) -> None:
    made = bodies(int(requests), int(of_each), int(first))
    shares = [made[nth::CONNECTIONS] for nth in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        begun = perf_counter()
        took = [each for part in pool.map(lambda s: post_all(url, key, s), shares) for each in part]
        seconds = perf_counter() - begun
    print(json.dumps({"seconds": seconds, "took": took}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
