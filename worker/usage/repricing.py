"""What history would have cost under another catalogue. It only reads.

Every ledger is replayed twice: under the catalogue in use, which must give what was billed, and
under the candidate.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from sqlalchemy import Connection, Engine, Row, select, text

from schemas.money import Money
from schemas.plans import BadPlans, Catalogue
from worker.billing.cycles import Cycle
from worker.billing.pricing import TAKEN, Bill, Replay, Settled, Step, begin
from worker.billing.subscriptions import GRANTING, included_key
from worker.billing.terms import Invoiced, Terms
from worker.storage.tables import books, cycles

TOGETHER = 100  # customers of one query
READ_AHEAD = 2000  # transfers


class Repriced(NamedTuple):
    """One customer. `problem`: why the ledger could not be reproduced; the rest is void then."""

    customer_id: str
    billed: Money
    candidate: Money
    fixes: int  # that settled in the window
    held: int  # of those, so many that the candidate has neither a credit nor a price for
    problem: str | None = None

    @property
    def difference(self) -> Money:
        return self.candidate - self.billed


class Window(NamedTuple):
    """From `start` up to, and not including, `end`; business time."""

    start: datetime
    end: datetime

    def has(self, at: datetime) -> bool:
        return self.start <= at < self.end


class Catalogues(NamedTuple):
    """Under which a ledger was written, and under which it is read."""

    in_use: Catalogue
    candidate: Catalogue


@dataclass(slots=True)
class Comparison:
    """One customer's ledger under both catalogues."""

    in_use: Replay
    candidate: Replay
    window: Window
    billed: int = 0
    cost: int = 0
    fixes: int = 0
    problem: str | None = None

    def take(self, step: Step) -> None:
        """Nothing more is taken of a ledger that could not be reproduced so far."""
        if self.problem is not None:
            return
        try:
            known = self.in_use.take(step)
        except BadPlans as error:
            self.problem = str(error)
            return
        if known is not None and known.replay != known.ledger:
            self.problem = told(step, known, self.in_use.book.currency)
        bill = self.candidate.take(step)
        if bill is not None and self.window.has(bill.at):
            self.billed, self.cost = self.billed + bill.ledger, self.cost + bill.replay
            self.fixes += bill.is_fix

    def result(self) -> Repriced:
        book = self.candidate.book
        return Repriced(
            book.customer_id,
            Money(self.billed, book.currency),
            Money(self.cost, book.currency),
            self.fixes,
            sum(self.window.has(each.recorded_at) for each in book.backlog),
            self.problem,
        )


def told(step: Step, bill: Bill, currency: str) -> str:
    ledger, replay = Money(bill.ledger, currency), Money(bill.replay, currency)
    return (
        f"transfer {step.seq} ({step.kind} {step.source_key}) cost {ledger}; "
        f"the catalogue in use says {replay}"
    )


def reprice(
    engine: Engine, catalogues: Catalogues, window: Window, customer_id: str | None = None
) -> Iterator[Repriced]:
    """Every customer, or the one, in order of id; raises BadPlans for a candidate that lacks."""
    with snapshot(engine) as tx:
        after = ""
        while page := customers_after(tx, after, customer_id):
            after = page[-1].customer_id
            yield from reprice_page(tx, page, catalogues, window)


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as tx, tx.begin():
        tx.execute(text("SET LOCAL statement_timeout = 0"))
        yield tx


class Customer(NamedTuple):
    """Whose ledger it is, and its currency."""

    customer_id: str
    currency: str


def customers_after(tx: Connection, after: str, customer_id: str | None) -> list[Customer]:
    """The next page."""
    page = select(books.c.customer_id, books.c.currency).where(books.c.customer_id > after)
    if customer_id is not None:
        page = page.where(books.c.customer_id == customer_id)
    rows = tx.execute(page.order_by(books.c.customer_id).limit(TOGETHER))
    return [Customer(*row) for row in rows]


def reprice_page(
    tx: Connection, page: Sequence[Customer], catalogues: Catalogues, window: Window
) -> Iterator[Repriced]:
    customer_ids = [each.customer_id for each in page]
    spans = cycles_of(tx, customer_ids)
    compared = {
        each.customer_id: compare(each, spans[each.customer_id], catalogues, window)
        for each in page
    }
    with closing(steps_of(tx, customer_ids)) as steps:
        for customer_id, step in steps:
            compared[customer_id].take(step)
    yield from (each.result() for each in compared.values())


def compare(
    customer: Customer, spans: Sequence[Cycle], catalogues: Catalogues, window: Window
) -> Comparison:
    in_use, candidate = (
        begin(Terms(*customer, catalogue, catalogues.in_use), spans) for catalogue in catalogues
    )
    return Comparison(in_use, candidate, window)


def cycles_of(tx: Connection, customer_ids: Sequence[str]) -> dict[str, list[Cycle]]:
    rows = tx.execute(
        select(cycles.c.customer_id, cycles.c.starts_at, cycles.c.ends_at)
        .where(cycles.c.customer_id.in_(customer_ids))
        .order_by(cycles.c.customer_id, cycles.c.number)
    )
    return {
        customer_id: [Cycle(row.starts_at, row.ends_at) for row in group]
        for customer_id, group in groupby(rows, attrgetter("customer_id"))
    }


# When a fix settled stands in the fix until it is taken back, and for good in its charge's line.
STEPS = """
    SELECT t.customer_id, t.seq, t.kind, t.amount, t.source_key, t.recorded_at, t.grant_id,
        CASE WHEN t.kind = 'charge' THEN l.added_at
            WHEN t.kind = 'consume' AND f.outcome = 'reverted' THEN NULL
            WHEN t.fix_id IS NOT NULL THEN f.settled_at ELSE t.happened_at END AS at,
        f.fix_id, f.plan, f.plan_version, f.deployed_at, f.outcome = 'reverted' AS reverted,
        g.source, coalesce(g.first_expired_at, g.expires_at) AS expires_at,
        i.period_start, i.period_end,
        s.subscription_id, s.anchor, o.plan AS sold, o.plan_version AS sold_version,
        EXISTS (SELECT FROM grants AS own WHERE own.customer_id = t.customer_id
            AND own.source = 'included' AND own.origin = i.invoice_id) AS gives_apart
    FROM transfers AS t
    LEFT JOIN fixes AS f ON f.customer_id = t.customer_id AND f.fix_id = t.fix_id
    LEFT JOIN charge_lines AS l ON t.kind = 'charge'
        AND l.customer_id = t.customer_id AND l.fix_id = t.fix_id
    LEFT JOIN grants AS g ON t.kind IN ('grant', 'roll_in')
        AND g.customer_id = t.customer_id AND g.grant_id = t.grant_id
    LEFT JOIN invoices AS i ON i.customer_id = t.customer_id AND i.reason = ANY(:granting)
        AND i.invoice_id = CASE WHEN t.kind = 'invoice' THEN t.source_key
            WHEN g.source = 'included' THEN g.origin END
    LEFT JOIN subscriptions AS s
        ON s.customer_id = t.customer_id AND s.subscription_id = i.subscription_id
    LEFT JOIN subscription_orders AS o
        ON o.customer_id = t.customer_id AND o.order_id = s.order_id AND o.wish = 'begin'
    WHERE t.customer_id = ANY(:customer_ids) AND t.kind = ANY(:kinds)
    ORDER BY t.customer_id, t.seq
"""


def steps_of(tx: Connection, customer_ids: Sequence[str]) -> Generator[tuple[str, Step]]:
    """All that ever moved of what a catalogue has a say in, in order of the ledgers."""
    wanted = {
        "customer_ids": list(customer_ids),
        "kinds": list(TAKEN),
        "granting": list(GRANTING),
    }
    streaming = {"yield_per": READ_AHEAD}
    with tx.execute(text(STEPS), wanted, execution_options=streaming) as rows:
        for row in rows:
            yield row.customer_id, step_of(row)


def step_of(row: Row[tuple[object, ...]]) -> Step:
    fix = None
    if row.fix_id is not None:
        fix = Settled(row.fix_id, row.plan, row.plan_version, row.deployed_at, row.reverted)
    return Step(
        row.seq,
        row.kind,
        row.amount,
        row.source_key,
        row.recorded_at,
        row.at,
        row.grant_id,
        fix,
        row.source,
        row.expires_at,
        invoiced_of(row),
    )


def invoiced_of(row: Row[tuple[object, ...]]) -> Invoiced | None:
    """None for what no plan of ours was sold with."""
    if row.sold is None:
        return None
    return Invoiced(
        row.sold,
        row.sold_version,
        row.anchor,
        row.period_start,
        row.period_end,
        row.gives_apart,
        included_key(row.subscription_id, row.period_start),
    )
