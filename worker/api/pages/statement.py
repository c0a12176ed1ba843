"""The page of a statement: the same figures, in the words of whoever pays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import NamedTuple, TypeVar

from schemas.answers import (
    RepositoryUsage,
    Statement,
    StatementBalance,
    StatementCredits,
    StatementMoney,
    StatementRepository,
)
from schemas.money import Money
from worker.api.pages.chart import HEIGHT, WIDTH, chart_of
from worker.api.pages.render import page

SHOWN_MAX = 100  # rows of a list; the JSON has all

SOURCES = {
    "signup": "for signing up",
    "billing_added": "for adding a payment method",
    "included": "included in the plan",
    "revert": "for reverted fixes that you had paid",
    "operator": "given by us",
    "top_up": "bought",
}
PAYMENTS = {
    "payment": "Payment",
    "refund": "Refund",
    "refund_failed": "Refund that failed",
    "dispute_opened": "Taken back by your bank",
    "dispute_won": "Returned by your bank",
    "dispute_lost": "Left with you by your bank",
    "write_off": "Written off",
    "apply": "Paid from your balance",
    "unapply": "Returned to your balance",
}


class Row(NamedTuple):
    """A line of a sum."""

    label: str
    value: object
    is_total: bool = False


def statement_page(statement: Statement, name: str | None) -> str:
    money = statement.money
    return page(
        "statement.html",
        statement=statement,
        customer=name or statement.customer_id,
        last_day=statement.cycle.end - timedelta(microseconds=1),
        total=money.charged - money.reverted + money.subscription + money.top_ups,
        chart=chart_of(statement.cycle, {each.day: each.fixes for each in statement.days}),
        width=WIDTH,
        height=HEIGHT,
        sums=list(sums_of(statement)),
        repositories=busiest(statement.repositories),
        payments=list(reversed(statement.payments[-SHOWN_MAX:])),
        payment_words=PAYMENTS,
        shown_max=SHOWN_MAX,
    )


def sums_of(statement: Statement) -> Iterator[tuple[str, list[Row]]]:
    """Title and lines; a sum in which nothing stands is left out."""
    for title, rows in (
        ("What you owe", owed(statement.money)),
        ("Your credits", credit_rows(statement.credits)),
        ("Your balance with us", balance_rows(statement.balance)),
    ):
        kept = [row for row in rows if row.is_total or not is_nothing(row.value)]
        if not all(is_nothing(row.value) for row in kept):
            yield title, kept


def owed(money: StatementMoney) -> list[Row]:
    return [
        Row("Owed before", money.opening, True),
        Row("Fixes", money.charged),
        Row("Fixes reverted before they were paid", -money.reverted),
        Row("Subscription", money.subscription),
        Row("Credits that you bought", money.top_ups),
        Row("Paid", -money.paid),
        Row("Paid from your balance", -money.paid_from_balance),
        Row("Written off", -money.written_off),
        Row("Owed at the end", money.closing, True),
    ]


def credit_rows(credits: StatementCredits) -> list[Row]:
    return [
        Row("Credits before", credits.opening, True),
        *(
            Row(f"New, {SOURCES.get(source, source)}", number)
            for source, number in credits.granted_for.items()
        ),
        Row("Rolled over from the cycle before", credits.rolled_in),
        Row("Given back for reverted fixes", credits.given_back),
        Row("Given back because a refund failed", credits.reissued),
        Row("Used", -credits.used),
        Row("Rolled over into the next cycle", -credits.rolled_out),
        Row("Expired", -credits.expired),
        Row("Taken back with a refund", -credits.taken_back),
        Row("Credits at the end", credits.closing, True),
    ]


def balance_rows(balance: StatementBalance) -> list[Row]:
    return [
        Row("Balance before", balance.opening, True),
        Row("Paid in without being owed", balance.received),
        Row("Used for what you owed", -balance.used),
        Row("Returned to your card", -balance.returned),
        Row("Balance at the end", balance.closing, True),
    ]


def is_nothing(value: object) -> bool:
    return value == 0 or (isinstance(value, Money) and value.amount == 0)


Repository = TypeVar("Repository", StatementRepository, RepositoryUsage)


def busiest(repositories: Iterable[Repository]) -> list[Repository]:
    """Those with the most fixes first."""

    def order(each: Repository) -> tuple[int, str]:
        return -(each.fixes.credited + each.fixes.charged), each.repository

    return sorted(repositories, key=order)[:SHOWN_MAX]
