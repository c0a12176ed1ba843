"""Subscriptions: what Stripe tells of one decides plan, cycle and included credits.

A cycle of such a customer is Stripe's period. It begins unpaid: credits that are left are used,
what they do not cover is held until the invoice of the period is paid.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from schemas.plans import PlanVersion
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.plan_changes import take_version
from worker.billing.rollover import cycle_end, end_cycle, keep_cycle, leave_plan, roll_to
from worker.billing.stripe_objects import Sold, StripeInvoice, StripeSubscription

PAID = "paid"
ENDED = ("canceled", "incomplete_expired")
INCLUDED = "included:"  # before subscription and period: the key of the credits of a paid period
GRANTING = ("subscription_create", "subscription_cycle")  # Stripe's reasons for an invoice


class PaidPeriod(NamedTuple):
    """A period whose invoice is paid, and what its price was made for."""

    invoice_id: str
    sold: Sold
    start: datetime
    end: datetime


def take_invoice(
    journal: Journal, book: Book, seen: StripeInvoice, was: str | None, already_here: bool
) -> bool:
    """A paid invoice is earned and paid in one; `was` is the status we knew.

    Its payment may have come first, when nothing explained it yet: then that money pays. False: it
    cannot be booked, for it is in another currency or that money is spent; reconcile parks it.
    """
    if seen.status != PAID or was == PAID or not seen.money.amount:
        return True
    if seen.money.currency != book.currency:
        return False
    if already_here and -book.unapplied < seen.money.amount:
        return False
    journal.move(book, "invoice", seen.money.amount, seen.invoice_id)
    if already_here:
        journal.move(book, "apply", seen.money.amount, seen.invoice_id)
    else:
        journal.move(book, "pay", seen.money.amount, seen.payment_intent or seen.invoice_id)
    return True


def take_period(
    journal: Journal, book: Book, subscription: StripeSubscription, paid: PaidPeriod, given: bool
) -> None:
    """Stripe has been paid for a period: its credits come, once, and what was held settles.

    `given`: its credits were given before. A period that is over by the time it is paid, or one of
    a subscription that has ended or is not the customer's first, brings its credits and no more.
    """
    is_first = book.subscription_id in (None, subscription.subscription_id)
    is_over = paid.end <= journal.recorded_at(book)
    if is_first and not is_over and subscription.status not in ENDED:
        enter_period(journal, book, subscription, paid)
    if not given:
        until = open_until(book, journal.recorded_at(book)) if is_over else paid.end
        include_credits(journal, book, subscription, paid, until)
    settle_backlog(journal, book)


def enter_period(
    journal: Journal, book: Book, subscription: StripeSubscription, paid: PaidPeriod
) -> None:
    """The customer is on the plan, in the cycle that is Stripe's period."""
    roll_to(journal, book, paid.start)
    if book.subscription_id is None:
        book.subscription_id, book.anchor = subscription.subscription_id, subscription.anchor
        end_cycle(journal, book, paid.start)
        take_version(book, paid.sold.plan, version_of(book, paid))
    follow(journal, book, subscription)
    book.paid_until = max(paid.end, book.paid_until or paid.end)
    if book.cycle_end != paid.end:
        book.cycle_end = paid.end
        keep_cycle(journal, book)


def open_until(book: Book, now: datetime) -> datetime:
    """When the cycle ends that is open now, though the book may not have come to it yet."""
    end = book.cycle_end
    while end <= now:
        end = cycle_end(book, end)
    return end


def include_credits(
    journal: Journal,
    book: Book,
    subscription: StripeSubscription,
    paid: PaidPeriod,
    until: datetime,
) -> None:
    """They expire with the period, or with the open cycle if that is over; then some roll over."""
    version = version_of(book, paid)
    if version.included_credits:
        give(
            journal,
            book,
            "included",
            included_key(subscription.subscription_id, paid.start),
            version.included_credits,
            until,
            rolls_max=version.rollover_credits_max,
            origin=paid.invoice_id,
        )


def version_of(book: Book, paid: PaidPeriod) -> PlanVersion:
    """The newest at the period's start that costs what this subscription does."""
    sold = book.plans.pinned(*paid.sold)
    same = [
        version
        for version in book.plans.plan(paid.sold.plan).versions
        if version.effective <= paid.start.date() and version.subscription == sold.subscription
    ]
    return same[-1] if same else sold


def included_key(subscription_id: str, period_start: datetime) -> str:
    return f"{INCLUDED}{subscription_id}:{period_start:%Y-%m-%dT%H:%M:%SZ}"


def take_subscription(journal: Journal, book: Book, seen: StripeSubscription) -> None:
    """What Stripe says of it now; one that is not the customer's is only noted."""
    if book.subscription_id != seen.subscription_id:
        return
    journal.touched.add(book.customer_id)
    if seen.status in ENDED:
        leave(journal, book, seen)
    else:
        follow(journal, book, seen)
    settle_backlog(journal, book)


def follow(journal: Journal, book: Book, seen: StripeSubscription) -> None:
    book.subscription_id, book.subscription_status = seen.subscription_id, seen.status
    book.anchor, book.ends_with_period = seen.anchor, seen.cancel_at_period_end
    journal.touched.add(book.customer_id)


def leave(journal: Journal, book: Book, seen: StripeSubscription) -> None:
    """It has ended: so does the cycle, and the customer goes on with the plan for such a case."""
    book.subscription_status = seen.status
    at = min(seen.ended_at or journal.recorded_at(book), journal.recorded_at(book))
    if at >= book.cycle_end:
        book.ends_with_period = True
        roll_to(journal, book, at)
    else:
        end_with_plan(journal, book, at)


def end_with_plan(journal: Journal, book: Book, at: datetime) -> None:
    """In the middle of a period; what was included stays until it expires."""
    if at > book.cycle_start:
        book.ends_with_period = True
    else:
        leave_plan(book)
    end_cycle(journal, book, at)
