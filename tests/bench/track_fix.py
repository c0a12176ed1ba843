"""The HTTP door: how much one process of the API takes in, and how long each caller waits."""

from __future__ import annotations

from tests.bench import children
from tests.bench.bed import Bed, measured
from tests.bench.figures import Effort, Figures, p99
from tests.stack import Database, connected
from worker.clock import Clock
from worker.keys import create_key
from worker.storage.engine import WORKER

WARM_UP = 200
REQUESTS = 1500
BATCHES, BATCH = 200, 100


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    for _ in range(effort.rounds):
        with bed.populated() as database, children.api(bed, database) as url:
            key = key_for(database)
            measured("posting", url, key, WARM_UP, 1, 0)
            singly = measured("posting", url, key, effort.of(REQUESTS), 1, 1_000_000)
            batches = measured("posting", url, key, effort.of(BATCHES), BATCH, 2_000_000)
        rate = len(singly["took"]) / singly["seconds"]
        figures.add("track_fix.single", rate, "requests/s")
        figures.add("track_fix.p99", 1000 * p99(singly["took"]), "ms")
        rate = BATCH * len(batches["took"]) / batches["seconds"]
        figures.add("track_fix.batch", rate, "events/s")


def key_for(database: Database) -> str:
    with connected(database.worker_url, WORKER) as engine:
        return create_key("bench", ("publish",), None, None, engine, Clock())
