"""Orders: changes of a subscription that somebody wants, until Stripe has made them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from worker.billing.book import Book


class Wish(StrEnum):
    """What is to be done at Stripe."""

    BEGIN = "begin"  #: a subscription, and its first invoice paid
    CONTINUE = "continue"  #: it was to end with its period, and goes on instead
    END_WITH_PERIOD = "end_with_period"
    END_NOW = "end_now"


class OrderStatus(StrEnum):
    """Where an order stands."""

    REQUESTED = "requested"  #: to be carried out, or tried without a clear answer
    DONE = "done"
    REFUSED = "refused"  #: Stripe would not; nothing was charged


#: How an order moves on; the schema refuses every other way.
TRANSITIONS = {
    OrderStatus.REQUESTED: (OrderStatus.DONE, OrderStatus.REFUSED),
    OrderStatus.DONE: (),
    OrderStatus.REFUSED: (),
}


class PlanProblem(ValueError):
    """The customer cannot change to this plan; the message says what to do."""


@dataclass(slots=True)
class Order:
    """One change of one customer's subscription."""

    customer_id: str
    order_id: str
    wish: Wish
    status: OrderStatus
    plan: str | None  # to begin with
    plan_version: date | None
    subscription_id: str | None  # at Stripe
    requested_at: datetime  # wall time, as all times of an order
    due_at: datetime | None
    leased_until: datetime | None = None
    tries: int = 0
    message: str | None = None  # why it was refused


def wish_for(book: Book, plan: str, today: date, *, at_once: bool) -> Wish | None:
    """What leads this customer to that plan; None: nothing at Stripe. Raises PlanProblem."""
    version = book.plans.in_force(plan, today)
    current = book.plans.pinned(book.plan, book.plan_version)
    if version.subscription is not None:
        return begin_or_continue(book, plan)
    if book.subscription_id is None:
        if version.signup_credits and plan != book.plan:
            raise PlanProblem(f"{plan} is for new customers; {book.customer_id} is on {book.plan}")
        return None
    if plan != current.after_cancel_plan:
        raise PlanProblem(f"{book.plan} leads to {current.after_cancel_plan}, not to {plan}")
    if book.ends_with_period and not at_once:
        return None
    return Wish.END_NOW if at_once else Wish.END_WITH_PERIOD


def begin_or_continue(book: Book, plan: str) -> Wish | None:
    if book.subscription_id is None:
        if (why := book.why_not_payable()) is not None:
            raise PlanProblem(f"{plan} is paid by card, and {why}")
        return Wish.BEGIN
    if plan != book.plan:
        raise PlanProblem(
            f"{book.customer_id} has a subscription to {book.plan}; end that first, with --now"
        )
    return Wish.CONTINUE if book.ends_with_period else None
