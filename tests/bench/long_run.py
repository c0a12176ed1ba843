"""One settler through very many events: how much memory it has on the way.

python -m tests.bench.long_run DATABASE_URL REDIS_URL EVENTS
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from redis import Redis

from schemas.inbox import GROUP, PARTITIONS, stream_of
from tests.bench.resources import resident_mib
from tests.stack import connected
from worker import inbox, telemetry
from worker.clock import Clock
from worker.process import collect_garbage_seldom
from worker.settler import Settler
from worker.storage.engine import WORKER

SECONDS = 1.0  # between two looks at the memory


@dataclass
class Watch:
    """Asked between batches whether to stop; looks at the clock and at the memory meanwhile."""

    redis: Redis
    wanted: int
    begun: float = field(default_factory=perf_counter)
    samples: list[tuple[int, float, float]] = field(default_factory=list)

    def __call__(self) -> bool:
        settled, seconds = settled_so_far(self.redis), perf_counter() - self.begun
        reached = settled >= self.wanted
        if reached or not self.samples or seconds - self.samples[-1][1] >= SECONDS:
            self.samples.append((settled, seconds, resident_mib()))
        return reached


def settled_so_far(redis: Redis) -> int:
    """Also of what was trimmed since: Redis counts what the group has ever read."""
    with redis.pipeline(transaction=False) as pipeline:
        for number in range(PARTITIONS):
            pipeline.xinfo_groups(stream_of(number))
        replies: list[Any] = pipeline.execute(raise_on_error=False)
    groups = [each for reply in replies if not isinstance(reply, Exception) for each in reply]
    ours = [each for each in groups if each["name"] == GROUP.encode()]
    return sum((each["entries-read"] or 0) - each["pending"] for each in ours)


def main(database: str, redis: str, events: str) -> None:
    telemetry.write_logs("INFO")
    telemetry.serve_metrics("bench", None, "127.0.0.1")
    with connected(database, WORKER) as engine, inbox.connect(redis) as client:
        settler = Settler(engine, client, Clock(), trust_redis=True)
        collect_garbage_seldom()
        watch = Watch(client, int(events))
        while not watch():
            settler.turn(range(PARTITIONS), watch)
    print(json.dumps({"samples": watch.samples}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
