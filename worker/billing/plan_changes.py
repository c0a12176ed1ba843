"""What a customer's own steps do to their book: signing up, adding a card, changing the plan."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.plans import BadPlans, PlanVersion
from worker.billing.book import Book
from worker.billing.giving import give
from worker.billing.journal import Journal

SIGNUP = "signup"
BILLING_ADDED = "billing_added"


def sign_up(journal: Journal, book: Book, version: PlanVersion) -> None:
    """The credits that come with the account."""
    if version.signup_credits:
        until = expiry(version, journal.time_of(book))
        give(journal, book, SIGNUP, SIGNUP, version.signup_credits, until)


def add_billing(journal: Journal, book: Book, granted: bool) -> None:
    """A payment method: once in a life it brings credits; a trial becomes a paying plan."""
    version = book.plans.pinned(book.plan, book.plan_version)
    book.has_payment_method = True
    journal.touched.add(book.customer_id)
    if version.billing_added_credits and not granted:
        until = expiry(version, journal.time_of(book))
        give(journal, book, BILLING_ADDED, BILLING_ADDED, version.billing_added_credits, until)
    if version.billing_added_plan:
        change_plan(journal, book, version.billing_added_plan)


def change_plan(journal: Journal, book: Book, plan: str) -> None:
    """From now on fixes settle under the version of `plan` that is in force today."""
    take_version(book, plan, book.plans.in_force(plan, journal.time_of(book).date()))
    journal.touched.add(book.customer_id)


def take_version(book: Book, plan: str, version: PlanVersion) -> None:
    """Raises BadPlans for one in another currency."""
    if version.currency not in (None, book.currency):
        raise BadPlans(f"plan {plan} is in {version.currency}, the ledger in {book.currency}")
    book.plan = plan
    book.use(version)


def expiry(version: PlanVersion, now: datetime) -> datetime | None:
    days = version.credits_expire_days
    return None if days is None else now + timedelta(days=days)
