"""The usage of the current cycle, and the warnings that follow from it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import BindParameter, Connection, bindparam, func, select

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
from worker.storage.prepared import Prepared
from worker.storage.tables import charges, invoices, usage
from worker.usage.forecast import forecast, pace_of
from worker.usage.freshness import CUSTOMER, PARKED, before_parked
from worker.usage.report import COUNTS_SOMETHING, SUMS, groups_of
from worker.usage.transactions import newest_transactions

LOW_CREDIT = 2
NEAR_CAP = 0.8  # of the spending cap
TRANSACTIONS = 10

START: BindParameter[datetime] = bindparam("start")  # of the cycle
PAID_CHARGES = select(func.sum(charges.c.amount - charges.c.dropped)).where(
    charges.c.customer_id == CUSTOMER,
    charges.c.paid_at >= START,  # set on those that are paid, and no others
)
PAID_INVOICES = select(func.sum(invoices.c.amount)).where(
    invoices.c.customer_id == CUSTOMER,
    invoices.c.status == PAID,
    invoices.c.period_start >= START,
)
PAYMENTS = Prepared(select(PAID_CHARGES.scalar_subquery(), PAID_INVOICES.scalar_subquery(), PARKED))
BY_REPOSITORY = Prepared(
    select(usage.c.repository, *SUMS)
    .where(usage.c.customer_id == CUSTOMER, usage.c.cycle_start == START, COUNTS_SOMETHING)
    .group_by(usage.c.repository)
    .order_by(usage.c.repository)
)


def current_usage(
    tx: Connection, customer_id: str, now: datetime, as_of: datetime | None
) -> Usage | None:
    """None for a customer we do not know. Without `as_of` the last settled entry says how fresh.

    The book is brought up to now as the sweep will do it, so an answer is right without it.
    """
    book = read_book(tx, customer_id)
    if book is None:
        return None
    known = as_of or book.accepted_at or book.cycle_start
    catch_up(Journal({customer_id: book}, Known(), now), book, now + book.clock_offset)
    version = book.plans.pinned(book.plan, book.plan_version)
    within = {"customer_id": customer_id, "start": book.cycle_start}
    ((paid, subscription, parked),) = PAYMENTS.rows(tx, **within)
    repositories = groups_of(RepositoryUsage, BY_REPOSITORY.rows(tx, **within), book.currency)
    fixes, money = total_of(repositories), money_answer(book, paid, subscription, repositories)
    credit = credit_answer(book)
    limits = limits_of(book)
    return Usage(
        customer_id=customer_id,
        as_of=before_parked(known, parked),
        plan=plan_answer(book, version),
        cycle=CycleAnswer(number=book.cycle, start=book.cycle_start, end=book.cycle_end),
        fixes=fixes,
        held_now=book.held,
        repositories=repositories,
        credits=credit,
        money=money,
        transactions=newest_transactions(tx, customer_id, TRANSACTIONS),
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


def money_answer(
    book: Book, paid: int | None, subscription: int | None, repositories: list[RepositoryUsage]
) -> MoneyAnswer:
    return MoneyAnswer(
        charged=sum((each.charged for each in repositories), Money(0, book.currency)),
        paid=Money(int(paid or 0), book.currency),
        subscription=Money(int(subscription or 0), book.currency),
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
