"""What a million events leave behind: in the settler's memory, and in what comes after them."""

from __future__ import annotations

from tests.bench.answers import usage_times
from tests.bench.bed import CUSTOMERS, Bed, measured, vacuum
from tests.bench.figures import Effort, Figures, p99
from tests.bench.population import customer
from tests.bench.stream import Stream
from tests.stack import Database

FEW = 10_000  # events of the database to compare with
ASKED, TIMES = [customer(number) for number in range(8)], 50  # whose usage is asked, how often

Sample = tuple[int, float, float]  # settled, seconds, MiB


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    """The long run is done once: its figures are of so many events that they need no second."""
    stream, few, many = Stream(CUSTOMERS), effort.of(FEW), effort.of(effort.events)
    with bed.populated() as small, bed.populated() as large:
        age(bed, stream, large, many, figures)
        settle(bed, stream, small, few)
        found = measured("verifying", large.worker_url)
        figures.add("aging.verify", found["seconds"] * 1e6 / found["transfers"], "s/1m transfers")
        figures.add("aging.verify_peak", found["peak_mib"], "MiB")
        sizes = {"10k": small, "1m": large}
        for database in sizes.values():
            vacuum(database)  # or autovacuum comes in between
        for _ in range(4 * effort.rounds):  # short runs: the machine's moods weigh more than size
            for name, database in sizes.items():
                rate = settle(bed, stream, database, few)
                figures.add(f"growth.settle.{name}", rate, "events/s")
        for _ in range(effort.rounds):
            for name, database in sizes.items():
                figures.add(f"growth.usage.{name}", usage_p99(bed, database), "ms")


def age(bed: Bed, stream: Stream, database: Database, events: int, figures: Figures) -> None:
    """One settler that goes on and on; it grows as it warms up, and after that it must not."""
    bed.redis.flushall()
    with stream.flowing(bed.redis, events):
        found = measured("long_run", database.worker_url, bed.valkey.url, events)
    samples: list[Sample] = found["samples"]
    warm = next(mib for settled, _, mib in samples if settled >= events / 10)
    settled, seconds, resident = samples[-1]
    figures.samples["memory"] = [(each, mib) for each, _, mib in samples]
    figures.add("aging.settle", settled / seconds, "events/s")
    figures.add("aging.rss", resident, "MiB")
    figures.add("aging.memory_growth", resident / warm, "times")


def settle(bed: Bed, stream: Stream, database: Database, events: int) -> float:
    bed.redis.flushall()
    stream.publish(bed.redis, events)
    found = measured("draining", database.worker_url, bed.valkey.url)
    assert found["entries"] == events
    return events / float(found["seconds"])


def usage_p99(bed: Bed, database: Database) -> float:
    times = usage_times(bed, database, ASKED, TIMES)
    return 1000 * p99([each for some in times.values() for each in some])
