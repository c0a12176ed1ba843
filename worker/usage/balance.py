"""What a customer had at some moment: every transfer from the first one on, and no snapshot."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, case, func, select

from schemas.answers import BalanceAnswer, GrantBalance
from schemas.money import Money
from worker.billing.book import Book
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.ledger import CREDIT_ACCOUNTS, Transfer
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


def booked(tx: Connection, customer_id: str, at: datetime) -> list[Transfer]:
    own = case(
        (transfers.c.kind.in_(BY_TIME), transfers.c.happened_at), else_=transfers.c.recorded_at
    )
    lapse = func.min(transfers.c.happened_at).filter(transfers.c.kind.in_(LAPSES))
    lapsed = lapse.over(partition_by=transfers.c.grant_id, order_by=transfers.c.seq, rows=(0, None))
    moved = (
        select(transfers, func.least(own, lapsed).label("effective"))
        .where(transfers.c.customer_id == customer_id)
        .subquery()
    )
    return [Transfer(*row[:-1]) for row in tx.execute(select(moved).where(moved.c.effective <= at))]


def due(book: Book, at: datetime) -> list[Transfer]:
    """What time had done by then and the sweep has not booked yet."""
    journal = Journal({book.customer_id: book}, Known(), at - book.clock_offset)
    catch_up(journal, book, at)
    return journal.transfers


def totals(moved: list[Transfer]) -> tuple[Counter[str], Counter[str]]:
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
