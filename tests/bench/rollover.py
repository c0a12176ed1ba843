"""The midnight at which the cycles of everyone end: how fast, and in what memory."""

from __future__ import annotations

from sqlalchemy import text

from tests.bench.bed import CUSTOMERS, Bed, measured, vacuum
from tests.bench.figures import Effort, Figures
from tests.builders import MARCH
from tests.stack import Database, connected

# Everyone has a card and three credits that expire with the cycle.
CROWD = (
    "INSERT INTO customers (customer_id, livemode, created_at)"
    " SELECT 'c-' || n, false, :start FROM generate_series(1, :size) AS n",
    "INSERT INTO books (customer_id, plan, plan_version, currency, head, has_payment_method,"
    " due_at, cycle_start, cycle_end, credits, issued)"
    " SELECT customer_id, 'payg', '2026-01-01', 'usd', decode(repeat('00', 32), 'hex'), true,"
    " :end, :start, :end, 3, -3 FROM customers",
    "INSERT INTO cycles (customer_id, number, starts_at, ends_at, status)"
    " SELECT customer_id, 1, :start, :end, 'open' FROM customers",
    "INSERT INTO grants (customer_id, grant_id, source, priority, granted, remaining,"
    " expires_at, recorded_at)"
    " SELECT customer_id, 'gift', 'operator', 40, 3, 3, :end, :start FROM customers",
)


def measure(bed: Bed, effort: Effort, figures: Figures) -> None:
    size = effort.of(CUSTOMERS)
    for _ in range(effort.rounds):
        with bed.databases.fresh() as database:
            fill(database, size)
            vacuum(database)
            bed.redis.flushall()
            found = measured("midnight", database.worker_url, bed.valkey.url)
        assert found["ended"] == size
        figures.add("rollover.cycles", found["cycles"], "cycles/s")
        figures.add("rollover.statements", found["statements"], "statements/s")
        figures.add("rollover.peak", found["peak_mib"], "MiB")


def fill(database: Database, size: int) -> None:
    with connected(database.owner_url, None) as owner, owner.begin() as tx:
        for statement in CROWD:
            tx.execute(text(statement), {"start": MARCH.start, "end": MARCH.end, "size": size})
