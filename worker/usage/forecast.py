"""What a cycle will come to, if fixes go on as they did so far."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from schemas.answers import FixCounts, Forecast, MoneyAnswer
from schemas.money import Money
from schemas.plans import PlanVersion
from worker.billing.book import Book

TOO_EARLY = timedelta(hours=1)  # to tell a pace
ASSUMED = (
    "Fixes go on at the pace of the cycle so far, rounded to whole fixes; nothing is reverted, "
    "no credits come or expire, and what is held stays held."
)


class Pace(NamedTuple):
    """What is known of the open cycle. Money is of one currency."""

    elapsed: timedelta
    whole: timedelta
    credited: int  # fixes so far
    charged: int
    money: Money  # for them
    subscription: Money  # paid in this cycle
    due: Money  # of the subscription, unpaid yet
    credits: int  # that are left
    price: Money | None  # of a fix without one; None: it is held
    room: int | None  # minor units below the spending cap


def forecast(pace: Pace) -> Forecast | None:
    """Credits are used first, then money as far as the cap allows; None if it is too early."""
    if pace.elapsed < TOO_EARLY:
        return None
    fixes = pace.credited + pace.charged
    more = at_pace(fixes, pace.elapsed, pace.whole) - fixes
    by_credit = min(more, pace.credits)
    by_money = by_card(more - by_credit, pace)
    paid = pace.money + pace.subscription
    price = pace.price or Money(0, pace.money.currency)
    return Forecast(
        fixes=fixes,
        money=paid,
        fixes_by_end=fixes + more,
        credits_by_end=pace.credited + by_credit,
        held_by_end=more - by_credit - by_money,
        money_by_end=paid + pace.due + price * by_money,
        assumes=ASSUMED,
    )


def at_pace(fixes: int, elapsed: timedelta, whole: timedelta) -> int:
    """fixes × whole / elapsed, halves up; in whole microseconds, so it is exact."""
    return max(fixes, (2 * fixes * whole + elapsed) // (2 * elapsed))


def by_card(fixes: int, pace: Pace) -> int:
    """For how many of them money may be taken."""
    if pace.price is None:
        return 0
    return fixes if pace.room is None else min(fixes, max(0, pace.room) // pace.price.amount)


def pace_of(book: Book, version: PlanVersion, fixes: FixCounts, money: MoneyAnswer) -> Pace:
    """Of a book that was brought up to now."""
    assert book.time is not None  # noqa: S101 - it was
    nothing = Money(0, book.currency)
    payable = book.has_payment_method and not book.past_due and not book.unpaid_period
    return Pace(
        elapsed=book.time - book.cycle_start,
        whole=book.cycle_end - book.cycle_start,
        credited=fixes.credited,
        charged=fixes.charged,
        money=money.charged,
        subscription=money.subscription,
        due=(version.subscription or nothing) if book.unpaid_period else nothing,
        credits=sum(each.remaining for each in book.grants),
        price=book.price if payable else None,
        room=None if book.spending_cap is None else book.spending_cap - book.spent,
    )
