"""What the span, the log line and the metrics of full batches alone cost, an event.

python -m tests.bench.observing
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter

from structlog import get_logger

from schemas.inbox import PARTITIONS, Entry
from worker import telemetry
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.process import collect_garbage_seldom
from worker.settler import BATCH

log = get_logger()

BATCHES = 50


def main() -> None:
    telemetry.write_logs("INFO")
    telemetry.serve_metrics("bench", None, "127.0.0.1")
    collect_garbage_seldom()
    now = datetime.now(UTC)
    entries = [
        Entry(f"{number % PARTITIONS}/{number}-0", b"", "redis", now) for number in range(BATCH)
    ]
    journal = Journal({}, Known(), now)
    for number, entry in enumerate(entries):
        journal.verdicts[entry.key] = ("credited", "charged")[number % 2]
    begun = perf_counter()
    for _ in range(BATCHES):
        observe(journal, entries)
    seconds = perf_counter() - begun
    print(json.dumps({"micros": 1e6 * seconds / (BATCHES * BATCH)}))  # noqa: T201


def observe(journal: Journal, entries: Sequence[Entry]) -> None:
    """As a settler does around a batch."""
    begun = perf_counter()
    with telemetry.batch_span("settle", (entry.traceparent for entry in entries)):
        log.info("batch_settled", entries=len(entries), **journal.tally)
    telemetry.settled(journal, entries, perf_counter() - begun, datetime.now(UTC))


if __name__ == "__main__":
    main()
