"""Settling a full inbox, beside what one would otherwise do with the same events.

All keep the same books in the same tables, on the same servers.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from time import perf_counter

from sqlalchemy import select

from tests.bench import celery_peer
from tests.bench.bed import CUSTOMERS, Bed, measured
from tests.bench.figures import Effort, Figures
from tests.bench.peers.copied_rows import copy
from tests.bench.pipelines import Pipelines, fill
from tests.stack import Database, connected
from worker.billing.ledger import NO_HEAD, Transfer, chain_hash
from worker.local.postgres import find_programs
from worker.storage.tables import transfers

EVENTS = 20_000
CELERY_EVENTS = 3000
PGBENCH_CLIENTS = 16  # of 4, 8, 16, 32 and 64 the best
PGBENCH_SECONDS = 5
KINDS = ("spread", "hot", "repeated", "mixed")
RATE = "events/s"

TRANSACTION = Path(__file__).with_name("peers") / "transaction.pgbench"


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    for seed in range(effort.rounds):
        events = Pipelines(CUSTOMERS, seed)
        for _ in range(2):  # as short as the runs are, the machine's moods show
            measure_ours(bed, events, effort.of(EVENTS), figures)
        for pool in ("prefork", "threads"):
            with bed.populated() as database:
                some = events.spread(effort.of(CELERY_EVENTS))
                rate = celery_peer.full_queue(bed, database, pool, some)
                figures.add(f"settle.celery_{pool}", rate, RATE)
        with bed.populated() as database:
            rate = transactions(database, effort.of(PGBENCH_SECONDS), PGBENCH_CLIENTS)
            figures.add("settle.pgbench", rate, RATE)


def measure_ours(bed: Bed, events: Pipelines, number: int, figures: Figures) -> None:
    for kind in KINDS:
        with bed.populated() as database:
            fill(bed.redis, getattr(events, kind)(number))
            figures.add(f"settle.{kind}", settled(bed, database), RATE)
            if kind == "spread":
                figures.add("settle.hash_chain", chaining(database), "µs/event")
                figures.add("settle.telemetry", measured("observing")["micros"], "µs/event")
                with bed.databases.fresh(bed.template) as empty:
                    figures.add("settle.copy", copy(database.owner_url, empty.owner_url), RATE)


def settled(bed: Bed, database: Database) -> float:
    run = measured("draining", database.worker_url, bed.valkey.url)
    return float(run["entries"] / run["seconds"])


def chaining(database: Database) -> float:
    """What the hashes alone cost, of the transfers of a run: microseconds each."""
    with connected(database.owner_url, None) as owner, owner.begin() as tx:
        moved = [Transfer(*row) for row in tx.execute(select(transfers))]
    begun = perf_counter()
    for each in moved:
        chain_hash(NO_HEAD, each)
    return 1e6 * (perf_counter() - begun) / len(moved)


def transactions(database: Database, seconds: int, clients: int) -> float:
    """A second, of one event each."""
    program = find_programs(None) / "pgbench"
    load = f"-n -M prepared -c {clients} -j 2 -T {seconds} -D customers={CUSTOMERS}".split()
    command = [str(program), *load, "-f", str(TRANSACTION), database.owner_url]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert done.returncode == 0, done.stderr
    return float(found[1])
