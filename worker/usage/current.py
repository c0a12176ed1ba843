"""The usage of the current cycle, and the warnings that follow from it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, func, select

from schemas.answers import (
    Caution,
    CreditAnswer,
    CycleAnswer,
    FixCounts,
    GrantAnswer,
    Limits,
    MoneyAnswer,
    PlanAnswer,
    RepositoryUsage,
    Usage,
)
from schemas.money import Money
from schemas.plans import PlanVersion
from worker.billing.book import Book
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.rollover import catch_up
from worker.billing.subscriptions import PAID
from worker.storage.books import read_book
from worker.storage.tables import charges, invoices
from worker.usage.forecast import forecast, pace_of
from worker.usage.freshness import fresh_until
from worker.usage.lists import Window
from worker.usage.report import grouped, rows_of_cycle
from worker.usage.transactions import list_transactions

LOW_CREDIT = 2
NEAR_CAP = 0.8  # of the spending cap
TRANSACTIONS = 10


def current_usage(
    tx: Connection, customer_id: str, now: datetime, as_of: datetime | None
) -> Usage | None:
    """None for a customer we do not know. Without `as_of` the last settled entry says how fresh.

    The book is brought up to now as the sweep will do it, so an answer is right without it.
    """
    book = read_book(tx, customer_id)
    fresh = fresh_until(tx, customer_id, as_of)
    if book is None or fresh is None:
        return None
    catch_up(Journal({customer_id: book}, Known(), now), book, now + book.clock_offset)
    version = book.plans.pinned(book.plan, book.plan_version)
    repositories = usage_by_repository(tx, customer_id, book)
    fixes, money = total_of(repositories), money_answer(tx, book, repositories)
    credit = credit_answer(book)
    limits = limits_of(book)
    return Usage(
        customer_id=customer_id,
        as_of=fresh,
        plan=plan_answer(book, version),
        cycle=CycleAnswer(number=book.cycle, start=book.cycle_start, end=book.cycle_end),
        fixes=fixes,
        held_now=book.held,
        repositories=repositories,
        credits=credit,
        money=money,
        transactions=list_transactions(tx, customer_id, Window(TRANSACTIONS)).items,
        limits=limits,
        forecast=forecast(pace_of(book, version, fixes, money)),
        warnings=warnings_of(book, credit, limits),
    )


def plan_answer(book: Book, version: PlanVersion) -> PlanAnswer:
    return PlanAnswer(
        code=book.plan,
        title=book.plans.title(book.plan),
        version=version.effective,
        price_per_fix=version.price,
        subscription_price=version.subscription,
        subscription_status=book.subscription_status,
        paid_until=book.paid_until,
        ends_at=book.cycle_end if book.ends_with_period else None,
        standing=standing_of(book),
    )


def standing_of(book: Book) -> Literal["good", "past_due", "parked"]:
    if book.parked_at is not None:
        return "parked"
    return "past_due" if book.past_due or book.subscription_status == "past_due" else "good"


def usage_by_repository(tx: Connection, customer_id: str, book: Book) -> list[RepositoryUsage]:
    rows = rows_of_cycle(customer_id, book.cycle_start)
    return grouped(tx, rows, RepositoryUsage, book.currency)


def total_of(repositories: list[RepositoryUsage]) -> FixCounts:
    return FixCounts(
        **{
            outcome: sum(getattr(each.fixes, outcome) for each in repositories)
            for outcome in FixOutcome
        }
    )


def credit_answer(book: Book) -> CreditAnswer:
    usable = [
        GrantAnswer(
            grant_id=grant.grant_id,
            source=grant.source,
            granted=grant.granted,
            remaining=grant.remaining,
            expires_at=grant.expires_at,
        )
        for grant in book.grants
        if grant.remaining
    ]
    return CreditAnswer(balance=sum(grant.remaining for grant in usable), grants=usable)


def money_answer(tx: Connection, book: Book, repositories: list[RepositoryUsage]) -> MoneyAnswer:
    paid = tx.scalar(
        select(func.coalesce(func.sum(charges.c.amount - charges.c.dropped), 0)).where(
            charges.c.customer_id == book.customer_id,
            charges.c.paid_at >= book.cycle_start,  # set on those that are paid, and no others
        )
    )
    subscription = select(func.sum(invoices.c.amount)).where(
        invoices.c.customer_id == book.customer_id,
        invoices.c.status == PAID,
        invoices.c.period_start >= book.cycle_start,
    )
    return MoneyAnswer(
        charged=sum((each.charged for each in repositories), Money(0, book.currency)),
        paid=Money(int(paid or 0), book.currency),
        subscription=Money(int(tx.scalar(subscription) or 0), book.currency),
        open=Money(book.receivable, book.currency),
    )


def limits_of(book: Book) -> Limits:
    cap = book.spending_cap
    return Limits(
        spending_cap=None if cap is None else Money(cap, book.currency),
        spent=Money(book.spent, book.currency),
    )


def warnings_of(book: Book, credit: CreditAnswer, limits: Limits) -> list[Caution]:
    """What the customer should know before it costs or stops something."""
    found = []
    if book.parked_at is not None:
        message = f"Nothing is collected at present: {book.parked_why}."
        found.append(Caution(code="parked", message=message))
    if book.past_due:
        found.append(Caution(code="past_due", message="A payment failed; new fixes are held."))
    if book.unpaid_period:
        message = "The subscription's invoice is not paid yet; what credits don't cover is held."
        found.append(Caution(code="unpaid_period", message=message))
    if not book.has_payment_method:
        message = "Without a payment method, fixes are held once the credits are used up."
        found.append(Caution(code="no_payment_method", message=message))
    payable = book.has_payment_method and not book.past_due and not book.unpaid_period
    price = book.price if payable else None
    if price is not None and credit.balance == 0 and not book.revenue:
        found.append(Caution(code="first_charge", message=before_the_first(price, limits)))
    elif credit.balance <= LOW_CREDIT:
        found.append(Caution(code="low_credit", message=few_left(credit.balance, price)))
    if book.held:
        message = f"{number_of(book.held, 'fix waits', 'fixes wait')} for a credit or a payment."
        found.append(Caution(code="held_fixes", message=message))
    cap = limits.spending_cap
    if cap is not None and limits.spent.amount >= NEAR_CAP * cap.amount:
        message = f"{limits.spent} of the {cap} spending cap is used; what would exceed it is held."
        found.append(Caution(code="near_cap", message=message))
    return found


def before_the_first(price: Money, limits: Limits) -> str:
    cap = limits.spending_cap
    within = f"the spending cap is {cap}" if cap else "no spending cap is set"
    return f"No credit is left: the next fix is the first that costs money, {price}; {within}."


def few_left(balance: int, price: Money | None) -> str:
    """`price` is what a fix costs then; without one it is held."""
    then = f"each fix costs {price}" if price else "new fixes are held"
    if balance == 0:
        return f"No credit is left; {then}."
    return f"{number_of(balance, 'credit is left', 'credits are left')}; after that {then}."


def number_of(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
