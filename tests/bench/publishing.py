"""What publishing costs: one event at a time, in bulk, and as a command of a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

from producers.publish import Accepted, connect, publish
from schemas.events import Event
from schemas.inbox import DOOR, EVENT, partition_of, stream_of
from tests.bench.bed import CUSTOMERS, Bed
from tests.bench.figures import Effort, Figures
from tests.bench.pipelines import Pipelines, fill

SINGLY = 1000
IN_BULK = 20_000
COMMANDS = 20

COMMAND = (
    *(str(Path(sys.executable).with_name("fixbill")), "publish", "--customer", "c-1"),
    *("--fix-id", "CVE-2026-1234", "--repository", "org/repo", "--commit", "0123456789abcdef"),
)
BARE_IMPORTS = (sys.executable, "-c", "import redis, pydantic")


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    pipelines = Pipelines(CUSTOMERS)
    for _ in range(effort.rounds):
        bed.redis.flushall()
        singly(pipelines.spread(effort.of(SINGLY)), bed, figures)
        events = pipelines.spread(effort.of(IN_BULK))
        begun = perf_counter()
        fill(bed.redis, events)
        figures.add("publishing.bulk", len(events) / (perf_counter() - begun), "events/s")
        commands(effort.of(COMMANDS), bed, figures)


def singly(events: Sequence[Event], bed: Bed, figures: Figures) -> None:
    """The two take turns, an event each: every call waits for the disk."""
    bare = [(stream_of(partition_of(each.customer_id)), each.to_bytes()) for each in events]
    ours = theirs = 0.0
    with connect(bed.valkey.url) as redis:
        for event, (stream, body) in zip(events, bare, strict=True):
            begun = perf_counter()
            redis.xadd(stream, {EVENT: body, DOOR: "redis"})
            between = perf_counter()
            (answer,) = publish([event], redis=redis)
            ours += perf_counter() - between
            theirs += between - begun
            assert isinstance(answer, Accepted), answer
    figures.add("publishing.single", len(events) / ours, "events/s")
    figures.add("publishing.xadd", len(events) / theirs, "events/s")


def commands(times: int, bed: Bed, figures: Figures) -> None:
    """As a deploy job runs it; the two take turns."""
    environment = {"PATH": os.environ["PATH"], "REDIS_URL": bed.valkey.url}
    both = [(ran(BARE_IMPORTS, environment), ran(COMMAND, environment)) for _ in range(times)]
    bare_imports, command = map(median, zip(*both, strict=True))
    figures.add("publishing.bare_imports", bare_imports, "ms")
    figures.add("publishing.command", command, "ms")


def ran(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """In how many milliseconds."""
    begun = perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (perf_counter() - begun)
