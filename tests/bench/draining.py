"""One process that settles the inbox until it is empty, as a worker's settlers do.

python -m tests.bench.draining DATABASE_URL REDIS_URL
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from redis import Redis
from sqlalchemy import Engine

from schemas.inbox import GROUP, PARTITIONS, stream_of
from tests.stack import connected
from worker import inbox, telemetry
from worker.clock import Clock
from worker.process import collect_garbage_seldom
from worker.settings import settings
from worker.settler import Settler, partitions_of
from worker.storage.engine import WORKER


def drain(database: str, redis: str) -> dict[str, float]:
    """With as many settlers as a worker has, turn after turn, as long as anything is left."""
    settlers = settings().settlers
    with connected(database, WORKER) as engine, inbox.connect(redis) as client:
        with engine.connect():
            pass  # a worker has its connection before the events come
        collect_garbage_seldom()
        entries = unsettled(client)
        begun = perf_counter()
        with ThreadPoolExecutor(settlers) as pool:
            for each in [pool.submit(settle_all, engine, client, n) for n in range(settlers)]:
                each.result()
        return {
            "entries": entries,
            "seconds": perf_counter() - begun,
        }


def settle_all(engine: Engine, redis: Redis, number: int) -> None:
    settler = Settler(engine, redis, Clock(), trust_redis=True)
    mine = partitions_of(number, settings().settlers)
    while unsettled(redis):
        settler.turn(mine, lambda: unsettled(redis) == 0)


def unsettled(redis: Redis) -> int:
    """Asked in one round trip: a fraction of a millisecond beside a batch."""
    with redis.pipeline(transaction=False) as pipeline:
        for number in range(PARTITIONS):
            pipeline.xlen(stream_of(number))
            pipeline.xinfo_groups(stream_of(number))
        replies = pipeline.execute(raise_on_error=False)
    return sum(map(left, replies[::2], replies[1::2]))


def left(length: Any, groups: Any) -> int:
    for group in [] if isinstance(groups, Exception) else groups:
        if group["name"] == GROUP.encode():
            return int(group["pending"]) + int(group["lag"] or 0)
    return int(length)


def main(database: str, redis: str) -> None:
    telemetry.write_logs("INFO")
    telemetry.serve_metrics("bench", None, "127.0.0.1")
    print(json.dumps(drain(database, redis)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
