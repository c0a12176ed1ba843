"""The ledger out of the database, in order, and into a file that proves itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine, Result, Select, Table, func, select, text

from worker.billing.ledger import ACCOUNTS, Transfer
from worker.storage.engine import snapshot
from worker.storage.tables import books, transfers
from worker.usage.chain import Head, noting_heads
from worker.usage.offline import FORMAT, Header, Verdict, line_of

ROWS_AT_ONCE = 2000


class ExportProblem(ValueError):
    """What is to be exported is not there; the message says what."""


@contextmanager
def moment(engine: Engine) -> Iterator[Connection]:
    """A snapshot, however long it takes to look at."""
    with snapshot(engine) as tx:
        tx.execute(text("SET LOCAL statement_timeout = 0"))
        yield tx


def ledger_in_order(tx: Connection, customer_ids: Sequence[str] = ()) -> Iterator[Transfer | Head]:
    """Of these customers, or of all: each one's transfers in order, then the head of their book."""
    heads = select(*(books.c[name] for name in ("customer_id", "seq", "head", *ACCOUNTS)))
    return merge(
        map(Transfer._make, in_order(tx, select(transfers), transfers, customer_ids)),
        map(head_from, in_order(tx, heads, books, customer_ids)),
        key=attrgetter("customer_id"),
    )


def in_order(
    tx: Connection, rows: Select[Any], table: Table, customer_ids: Sequence[str]
) -> Result[Any]:
    """By the bytes of the customer's id, the same on every machine; a few at a time."""
    if customer_ids:
        rows = rows.where(table.c.customer_id.in_(customer_ids))
    rows = rows.order_by(table.c.customer_id.collate("C"), table.c.seq)
    return tx.execute(rows, execution_options={"yield_per": ROWS_AT_ONCE})


def head_from(row: Any) -> Head:
    customer_id, seq, head, *balances = row
    return Head(customer_id, seq, head, dict(zip(ACCOUNTS, balances, strict=True)))


def export(engine: Engine, file: BinaryIO, customer_ids: Sequence[str] = ()) -> Verdict:
    """Write the ledger of one moment, as it is; what it holds. Raises ExportProblem."""
    digest, fingerprint, lines = sha256(), sha256(), 0
    with moment(engine) as tx:
        header = header_of(tx, customer_ids)
        ledger = noting_heads(ledger_in_order(tx, customer_ids), fingerprint)
        for line in map(line_of, chain([header], ledger)):
            digest.update(line)
            file.write(line)
            lines += 1
    file.write(line_of(digest.hexdigest()))
    moved = lines - 1 - header.customers
    return Verdict([], header.as_of, header.customers, moved, fingerprint.hexdigest())


def header_of(tx: Connection, customer_ids: Sequence[str]) -> Header:
    known = tx.scalars(select(books.c.customer_id).where(books.c.customer_id.in_(customer_ids)))
    unknown = {*customer_ids} - {*known}
    if unknown:
        raise ExportProblem(f"there is no customer {', '.join(sorted(unknown))}")
    all_of_them = select(func.count()).select_from(books)
    count = len({*customer_ids}) or tx.scalars(all_of_them).one()
    return Header(FORMAT, tx.scalars(select(func.now())).one(), count)
