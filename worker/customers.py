"""The life of a customer's account: created, granted credits, given a card, moved between plans."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from re import fullmatch
from unicodedata import category

from sqlalchemy import Connection, Engine

from schemas.events import ID_PATTERN, ID_RULE
from schemas.money import Money
from schemas.plans import load_plans
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.charges import Why
from worker.billing.giving import give
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.payments import try_at_once
from worker.billing.plan_changes import BILLING_ADDED, SIGNUP, add_billing, sign_up
from worker.billing.reverts import REVERT
from worker.billing.rollover import ROLLED, roll_to
from worker.billing.subscriptions import INCLUDED
from worker.billing.top_ups import TOP_UP
from worker.clock import Clock
from worker.storage.books import open_books
from worker.storage.clock import how_far_ahead
from worker.storage.customers import (
    Customer,
    add_customer,
    find_customer,
    keep_stripe_customer,
    open_first_book,
    set_payment_method,
)
from worker.storage.grants import has_grant
from worker.storage.post import post
from worker.stripe_gateway import StripeGateway

# How a transaction begins: as the worker, or as the API in the name of one customer.
Begin = Callable[[], AbstractContextManager[Connection]]

DEFAULT_CURRENCY = "usd"
CANCELLED = "cancelled"  # why a customer who left is parked
NAME_MAX, EMAIL_MAX = 200, 254  # characters
OURS = (REVERT, ROLLED, INCLUDED, TOP_UP)  # what the product's own keys of grants begin with


class CustomerProblem(ValueError):
    """Something about a customer that the caller can put right."""


def create_customer(
    customer_id: str,
    plan: str,
    engine: Engine,
    clock: Clock,
    *,
    name: str | None = None,
    email: str | None = None,
    livemode: bool = False,
) -> None:
    """A new customer, with the credits its plan gives at sign-up; raises CustomerProblem."""
    if not fullmatch(ID_PATTERN, customer_id):
        raise CustomerProblem(f"a customer id is {ID_RULE}")
    check_text("name", name, NAME_MAX)
    check_text("email", email, EMAIL_MAX)
    with engine.begin() as tx:
        version = load_plans().in_force(plan, (clock.now() + how_far_ahead(tx)).date())
        if version.subscription is not None:
            raise CustomerProblem(
                f"{plan} is paid by a subscription: add the customer with another plan, then a "
                f"payment method, then `fixbill customers set-plan {customer_id} {plan}`"
            )
        currency = version.currency or DEFAULT_CURRENCY
        customer = Customer(customer_id, name, email, None, None, livemode, clock.now())
        if not add_customer(tx, customer):
            raise CustomerProblem(f"there is a customer {customer_id} already")
        open_first_book(tx, customer_id, plan, version.effective, currency, clock.now())
        journal, book = open_book(tx, customer_id, clock)
        sign_up(journal, book, version)
        post(tx, journal)


def check_text(what: str, text: str | None, longest: int) -> None:
    """Shown on pages, in terminals and at Stripe; raises CustomerProblem."""
    if text and (len(text) > longest or any(category(char) == "Cc" for char in text)):
        raise CustomerProblem(
            f"the {what} is at most {longest} characters long, and none is a control character"
        )


def grant_credits(
    customer_id: str,
    credits: int,
    key: str,
    expires_in: timedelta | None,
    engine: Engine,
    clock: Clock,
) -> bool:
    """Credits from the operator; False if a grant with this key was given before.

    Raises CustomerProblem.
    """
    if not fullmatch(ID_PATTERN, key) or key in (SIGNUP, BILLING_ADDED) or key.startswith(OURS):
        raise CustomerProblem(f"the key of a grant is {ID_RULE}, and not one of the product's own")
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        if has_grant(tx, customer_id, key):
            return False
        expires_at = None if expires_in is None else journal.time_of(book) + expires_in
        give(journal, book, "operator", key, credits, expires_at)
        settle_backlog(journal, book)
        post(tx, journal)
        return True


def accept_held(customer_id: str, engine: Engine, clock: Clock) -> int:
    """Every fix held so far may become money; how many still wait afterwards."""
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        book.accepted_held_until = journal.time_of(book)
        journal.touched.add(customer_id)
        settle_backlog(journal, book)
        post(tx, journal)
        return book.held


def add_payment_method(
    customer_id: str, payment_method: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> str:
    """Attach at Stripe, then book it; safe to repeat. Raises CustomerProblem, StripeRefused."""
    stripe_customer = customer_at_stripe(customer_id, engine.begin, stripe)
    attached = stripe.add_payment_method(stripe_customer, payment_method)
    book_payment_method(customer_id, attached, engine, clock)
    return attached


def customer_at_stripe(customer_id: str, begin: Begin, stripe: StripeGateway) -> str:
    """Stripe's id of this customer, who is created there if need be; raises CustomerProblem."""
    with begin() as tx:
        customer = find_customer(tx, customer_id)
    if customer is None:
        raise unknown(customer_id)
    if customer.erased_at is not None:
        raise CustomerProblem(f"{customer_id} was erased: who comes back is a new customer")
    if customer.stripe_customer is not None:
        return customer.stripe_customer
    made = stripe.create_customer(customer_id, customer.name, customer.email)
    with begin() as tx:
        return keep_stripe_customer(tx, customer_id, made)


def book_payment_method(
    customer_id: str, payment_method: str, engine: Engine, clock: Clock
) -> None:
    """From now on this one is charged, beginning with what is owed."""
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        set_payment_method(tx, customer_id, payment_method)
        add_billing(journal, book, has_grant(tx, customer_id, BILLING_ADDED))
        if book.parked_why == CANCELLED:
            release(journal, book, clock)
        owed = book.charge_in_flight or book.open_charge
        if owed is not None:
            try_at_once(journal, book, owed, Why.NEW_CARD)
        settle_backlog(journal, book)
        post(tx, journal)


def lose_payment_method(customer_id: str, engine: Engine, clock: Clock) -> None:
    """It was detached: what it cannot pay for is held."""
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        set_payment_method(tx, customer_id, None)
        book.has_payment_method = False
        journal.touched.add(customer_id)
        post(tx, journal)


def set_spending_cap(customer_id: str, cap: Money | None, engine: Engine, clock: Clock) -> None:
    """The most that fixes may cost in a cycle; raises CustomerProblem."""
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        if cap is not None and cap.currency != book.currency:
            raise CustomerProblem(f"the cap is in {cap.currency}, the ledger in {book.currency}")
        book.spending_cap = None if cap is None else cap.amount
        journal.touched.add(customer_id)
        settle_backlog(journal, book)
        post(tx, journal)


def release_customer(customer_id: str, engine: Engine, clock: Clock) -> bool:
    """Collect from a parked customer again; False if they were not parked."""
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        was_parked = book.parked_at is not None
        release(journal, book, clock)
        post(tx, journal)
        return was_parked


def park(journal: Journal, book: Book, why: str) -> None:
    """Nothing is collected from this customer until they are released."""
    book.parked_at, book.parked_why = journal.time_of(book), why
    journal.touched.add(book.customer_id)


def release(journal: Journal, book: Book, clock: Clock) -> None:
    book.parked_at = book.parked_why = None
    book.released_at = clock.wall()
    journal.touched.add(book.customer_id)


def open_book(tx: Connection, customer_id: str, clock: Clock) -> tuple[Journal, Book]:
    """The customer's row first, then anything else; in the cycle of now. Raises CustomerProblem."""
    books = open_books(tx, [customer_id], with_backlog=True)
    if customer_id not in books:
        raise unknown(customer_id)
    journal, book = Journal(books, Known(), clock.now()), books[customer_id]
    roll_to(journal, book, journal.time_of(book))
    return journal, book


def unknown(customer_id: str) -> CustomerProblem:
    return CustomerProblem(f"there is no customer {customer_id}; `fixbill customers add` makes one")
