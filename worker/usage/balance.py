"""What a customer had at some moment: every transfer from the first one on, and no snapshot."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, case, func, or_, select

from schemas.answers import BalanceAnswer, GrantBalance
from schemas.money import Money
from worker.billing.book import Book
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.ledger import CREDIT_ACCOUNTS
from worker.billing.rollover import catch_up
from worker.storage.books import read_book
from worker.storage.tables import transfers

# These take effect at their own moment, however late they were booked. What a grant had paid for
# before it lapsed cannot come later than that: an entry accepted in time may be settled late.
BY_TIME = ("expire", "roll_out", "roll_in")
LAPSES = ("expire", "roll_out")


class InTheFuture(ValueError):
    """Nobody knows that balance yet."""


def balance_at(
    tx: Connection, customer_id: str, at: datetime | None, now: datetime
) -> BalanceAnswer | None:
    """None for a customer we do not know; `at` and `now` by the customer's business clock."""
    book = read_book(tx, customer_id)
    if book is None:
        return None
    now += book.clock_offset
    at = at or now
    if at > now:
        raise InTheFuture(f"at: {at:%Y-%m-%d %H:%M:%SZ} lies ahead of {now:%Y-%m-%d %H:%M:%SZ}")
    balances, grants = totals(booked(tx, customer_id, at) + due(book, at))
    return BalanceAnswer(
        customer_id=customer_id,
        at=at,
        credits=balances["credits"],
        grants=[
            GrantBalance(grant_id=grant_id, credits=left)
            for grant_id, left in sorted(grants.items())
            if left
        ],
        owed=Money(balances["receivable"], book.currency),
        own_money=Money(-balances["unapplied"], book.currency),
    )


class Moved(NamedTuple):
    """What went from one account to another, be it in one transfer or in many."""

    from_account: str
    to_account: str
    grant_id: str | None
    amount: int


def booked(tx: Connection, customer_id: str, at: datetime) -> list[Moved]:
    mine = transfers.c.customer_id == customer_id
    lapsed = (
        select(transfers.c.grant_id, func.max(transfers.c.seq).label("seq"))
        .where(mine, transfers.c.kind.in_(LAPSES), transfers.c.happened_at <= at)
        .group_by(transfers.c.grant_id)
        .subquery()
    )
    effective = case(
        (transfers.c.kind.in_(BY_TIME), transfers.c.happened_at), else_=transfers.c.recorded_at
    )
    between = (transfers.c.from_account, transfers.c.to_account, transfers.c.grant_id)
    sums = (
        select(*between, func.sum(transfers.c.amount))
        .outerjoin(lapsed, lapsed.c.grant_id == transfers.c.grant_id)
        .where(mine, or_(effective <= at, transfers.c.seq <= lapsed.c.seq))
        .group_by(*between)
    )
    return [Moved(*row[:3], int(row[3])) for row in tx.execute(sums)]


def due(book: Book, at: datetime) -> list[Moved]:
    """What time had done by then and the sweep has not booked yet."""
    if at < book.next_due:
        return []
    journal = Journal({book.customer_id: book}, Known(), at - book.clock_offset)
    catch_up(journal, book, at)
    return [
        Moved(each.from_account, each.to_account, each.grant_id, each.amount)
        for each in journal.transfers
    ]


def totals(moved: list[Moved]) -> tuple[Counter[str], Counter[str]]:
    """By account, and the credits of each grant."""
    balances: Counter[str] = Counter()
    grants: Counter[str] = Counter()
    for each in moved:
        balances[each.from_account] -= each.amount
        balances[each.to_account] += each.amount
        if each.to_account in CREDIT_ACCOUNTS and each.grant_id is not None:
            came = each.to_account == "credits"
            grants[each.grant_id] += each.amount if came else -each.amount
    return balances, grants
