"""Statements, and the part of the ledger that each is written from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, text, update
from sqlalchemy.dialects.postgresql import insert

from schemas.answers import Statement, StatementSummary
from worker.billing.cycles import CycleStatus
from worker.billing.reverts import REVERT
from worker.storage.tables import books, cycles, statements


class CycleKey(NamedTuple):
    """One cycle of a customer."""

    customer_id: str
    number: int


class Moved(NamedTuple):
    """All transfers of one kind."""

    kind: str
    transfers: int
    amount: int


class Granted(NamedTuple):
    """Credits that were granted, by what for."""

    source: str
    grants: int
    credits: int


class Fixed(NamedTuple):
    """Fixes by one of their features; `amount`: charged, less what was taken back unpaid."""

    name: str  # a repository; a day, as ISO 8601 has it; a plan and its version
    credited: int
    charged: int
    reverted: int
    amount: int


class Paid(NamedTuple):
    """One payment, refund, dispute, or use of the customer's own money."""

    kind: str
    amount: int
    happened_at: datetime
    source_key: str


class CycleLedger(NamedTuple):
    """What the ledger holds of one cycle."""

    key: CycleKey
    starts_at: datetime
    ends_at: datetime
    currency: str
    moved: Sequence[Moved]
    granted: Sequence[Granted] = ()
    repositories: Sequence[Fixed] = ()
    days: Sequence[Fixed] = ()
    plans: Sequence[Fixed] = ()
    paid: Sequence[Paid] = ()
    status: CycleStatus = CycleStatus.CLOSED


class Unwritten(NamedTuple):
    """A cycle that has no statement yet."""

    number: int
    ends_at: datetime
    status: str


# A cycle's transfers are found by their place in the ledger: an index would cost every fix.
COUNTED = """
    t.customer_id = :customer_id AND t.cycle = :number AND t.seq BETWEEN :first_seq AND :last_seq
"""
SEQ_MAX = 2**63 - 1
MOVED = f"""
    SELECT kind, count(*), sum(amount)::bigint FROM transfers AS t WHERE {COUNTED}
    GROUP BY kind ORDER BY kind
"""  # noqa: S608
GRANTED = f"""
    SELECT g.source, count(*), sum(t.amount)::bigint
    FROM transfers AS t JOIN grants AS g USING (customer_id, grant_id)
    WHERE {COUNTED} AND kind = 'grant' GROUP BY g.source ORDER BY g.source
"""  # noqa: S608
# A fix that was reverted after it was paid moved nothing of its own: a credit was granted for it.
FIXED = f"""
    SELECT f.repository, t.day::text, f.plan || ' ' || f.plan_version,
        count(*) FILTER (WHERE kind = 'consume'), count(*) FILTER (WHERE kind = 'charge'),
        count(*) FILTER (WHERE kind NOT IN ('consume', 'charge')),
        coalesce(sum(CASE kind WHEN 'charge' THEN amount WHEN 'uncharge' THEN -amount END), 0)
            ::bigint
    FROM (
        SELECT customer_id, fix_id, kind, amount, (happened_at AT TIME ZONE 'UTC')::date AS day
        FROM transfers AS t
        WHERE {COUNTED} AND kind IN ('consume', 'charge', 'give_back', 'uncharge')
        UNION ALL
        SELECT customer_id, substr(grant_id, {len(REVERT) + 1}), kind, 0,
            (happened_at AT TIME ZONE 'UTC')::date
        FROM transfers AS t JOIN grants AS g USING (customer_id, grant_id)
        WHERE {COUNTED} AND kind = 'grant' AND g.source = 'revert'
    ) AS t JOIN fixes AS f USING (customer_id, fix_id)
    GROUP BY GROUPING SETS ((f.repository), (t.day), (f.plan, f.plan_version)) ORDER BY 1, 2, 3
"""  # noqa: S608
PAID = f"""
    SELECT CASE WHEN kind IN ('pay', 'unapplied_in') THEN 'payment'
            WHEN kind = 'refund_unapplied' THEN 'refund'
            WHEN kind = 'refund_unapplied_failed' THEN 'refund_failed' ELSE kind END AS what,
        sum(amount)::bigint, min(happened_at), source_key
    FROM transfers AS t
    WHERE {COUNTED} AND kind IN ('pay', 'unapplied_in', 'apply', 'unapply', 'refund',
        'refund_failed', 'refund_unapplied', 'refund_unapplied_failed', 'dispute_opened',
        'dispute_won', 'dispute_lost', 'write_off')
    GROUP BY what, source_key ORDER BY min(seq)
"""  # noqa: S608


def ledger_of(tx: Connection, key: CycleKey) -> CycleLedger:
    """All that a statement is written from; of an open cycle, what there is so far."""
    tx.execute(text("SET LOCAL statement_timeout = 0"))  # a million fixes take a while
    row = tx.execute(
        select(cycles, books.c.currency)
        .join(books, books.c.customer_id == cycles.c.customer_id)
        .where(cycles.c.customer_id == key.customer_id, cycles.c.number == key.number)
    ).one()
    nothing_moved = row.last_seq is not None and row.last_seq < row.first_seq
    if nothing_moved:
        return CycleLedger(key, row.starts_at, row.ends_at, row.currency, [])
    wanted = {**key._asdict(), "first_seq": row.first_seq, "last_seq": row.last_seq or SEQ_MAX}
    fixed = tx.execute(text(FIXED), wanted).all()
    return CycleLedger(
        key,
        row.starts_at,
        row.ends_at,
        row.currency,
        moved=[Moved(*each) for each in tx.execute(text(MOVED), wanted)],
        granted=[Granted(*each) for each in tx.execute(text(GRANTED), wanted)],
        repositories=[Fixed(each[0], *each[3:]) for each in fixed if each[0] is not None],
        days=[Fixed(each[1], *each[3:]) for each in fixed if each[1] is not None],
        plans=[Fixed(each[2], *each[3:]) for each in fixed if each[2] is not None],
        paid=[Paid(*each) for each in tx.execute(text(PAID), wanted)],
        status=CycleStatus(row.status),
    )


def read_statement(tx: Connection, key: CycleKey) -> Statement | None:
    body = tx.scalar(
        select(statements.c.body).where(
            statements.c.customer_id == key.customer_id, statements.c.number == key.number
        )
    )
    return None if body is None else Statement.model_validate(body)


def list_statements(
    tx: Connection, customer_id: str, limit: int, before: int | None = None
) -> list[StatementSummary]:
    """The newest first; with `before`, those with a lower number."""
    wanted = [statements.c.body[name].label(name) for name in ("cycle", "fixes", "money")]
    newest = (
        select(statements.c.number, *wanted, statements.c.recorded_at.label("written_at"))
        .where(statements.c.customer_id == customer_id)
        .order_by(statements.c.number.desc())
        .limit(limit)
    )
    if before is not None:
        newest = newest.where(statements.c.number < before)
    rows = tx.execute(newest).mappings()
    return [StatementSummary.model_validate(dict(row)) for row in rows]


def unwritten_cycles(tx: Connection, customer_id: str) -> list[Unwritten]:
    """The oldest first; the last is open. None at all: there is no such customer."""
    rows = tx.execute(
        select(cycles.c.number, cycles.c.ends_at, cycles.c.status)
        .where(cycles.c.customer_id == customer_id, cycles.c.stated_at.is_(None))
        .order_by(cycles.c.number)
    )
    return [Unwritten(*row) for row in rows]


def add_statement(tx: Connection, key: CycleKey, statement: Statement, now: datetime) -> bool:
    """False if there is one already; what was written stays."""
    row = {**key._asdict(), "body": statement.model_dump(mode="json"), "recorded_at": now}
    added = tx.execute(
        insert(statements).values(row).on_conflict_do_nothing().returning(statements.c.number)
    )
    tx.execute(
        update(cycles)
        .where(cycles.c.customer_id == key.customer_id, cycles.c.number == key.number)
        .values(stated_at=now)
    )
    return added.first() is not None
