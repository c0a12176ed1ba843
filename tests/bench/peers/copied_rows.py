"""(c) The rows that a settled run left, by COPY into the same tables: the limit without any logic.

As many transactions as the settler needs, each with a share of every table; the constraints and
indexes are the product's.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import psycopg

TABLES = ("events", "transfers", "fixes", "charges", "charge_lines", "usage")
BATCH = 1000  # events

OUT = "COPY (SELECT * FROM {} WHERE {} ORDER BY {}) TO STDOUT"
IN = "COPY {} FROM STDIN"


def rows_of(source: psycopg.Connection, table: str, settled: int) -> Iterator[list[bytes]]:
    """The lines of a table, in as many parts as there are batches."""
    only = "kind <> 'grant'" if table == "transfers" else "true"
    with source.cursor().copy(OUT.format(table, only, "random()").encode()) as copy:
        lines = b"".join(copy).splitlines(keepends=True)
    parts = -(-settled // BATCH)
    for part in range(parts):
        yield lines[part::parts]


def copy(source_url: str, target_url: str) -> float:
    """Events a second."""
    with psycopg.connect(source_url) as source, psycopg.connect(target_url) as target:
        counted = source.execute("SELECT count(*) FROM fixes").fetchone()
        settled: int = counted[0] if counted else 0
        batches = list(zip(*(rows_of(source, each, settled) for each in TABLES), strict=True))
        begun = perf_counter()
        for batch in batches:
            for table, lines in zip(TABLES, batch, strict=True):
                with target.cursor().copy(IN.format(table).encode()) as copy:
                    copy.write(b"".join(lines))
            target.commit()
        return settled / (perf_counter() - begun)
