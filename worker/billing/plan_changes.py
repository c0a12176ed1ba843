"""What a customer's own steps do to their book: signing up, adding a card, changing the plan."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.plans import BadPlans, Catalogue, PlanVersion
from worker.billing.book import Book
from worker.billing.giving import give
from worker.billing.journal import Journal

SIGNUP = "signup"
BILLING_ADDED = "billing_added"


def sign_up(journal: Journal, book: Book, version: PlanVersion) -> None:
    """The credits that come with the account."""
    if version.signup_credits:
        now = journal.time_of(book)
        give(journal, book, SIGNUP, SIGNUP, version.signup_credits, expiry(version, now), now)


def add_billing(journal: Journal, book: Book, catalogue: Catalogue, granted: bool) -> None:
    """A payment method: once in a life it brings credits; a trial becomes a paying plan."""
    version = catalogue.pinned(book.plan, book.plan_version)
    now = journal.time_of(book)
    book.has_payment_method = True
    journal.touched.add(book.customer_id)
    if version.billing_added_credits and not granted:
        until = expiry(version, now)
        give(journal, book, BILLING_ADDED, BILLING_ADDED, version.billing_added_credits, until, now)
    if version.billing_added_plan:
        change_plan(journal, book, catalogue, version.billing_added_plan)


def change_plan(journal: Journal, book: Book, catalogue: Catalogue, plan: str) -> None:
    """From now on fixes settle under the version of `plan` that is in force today."""
    version = catalogue.in_force(plan, journal.time_of(book).date())
    if version.price and version.price.currency != book.currency:
        raise BadPlans(f"plan {plan} is in {version.price.currency}, the ledger in {book.currency}")
    book.plan, book.plan_version, book.price = plan, version.effective, version.price
    journal.touched.add(book.customer_id)


def expiry(version: PlanVersion, now: datetime) -> datetime | None:
    days = version.credits_expire_days
    return None if days is None else now + timedelta(days=days)
