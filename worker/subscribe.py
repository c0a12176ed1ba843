"""The life of an order: a subscription is begun, continued or ended at Stripe, once.

To begin one is to make it unpaid, which moves no money, and to pay its first invoice, which Stripe
lets happen once however often it is asked. What Stripe made of it is booked by the same lives that
follow its webhooks.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine
from structlog import get_logger

from schemas.ids import new_id
from schemas.plans import load_plans
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.dunning import ASK_AGAIN, doubled
from worker.billing.orders import Order, OrderStatus, PlanProblem, Wish, wish_for
from worker.billing.plan_changes import change_plan
from worker.billing.stripe_objects import StripeSubscription
from worker.billing.subscriptions import ENDED
from worker.clock import Clock
from worker.customers import customer_at_stripe, open_book
from worker.storage.collecting import why_stopped
from worker.storage.customers import why_parked
from worker.storage.orders import (
    LEASE,
    OrderKey,
    add_order,
    keep_subscription,
    lease_order,
    read_order,
    requested_order,
    save_order,
)
from worker.storage.post import post
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway
from worker.subscription import follow_invoice, follow_subscription

log = get_logger()

INCOMPLETE = "incomplete"  # made, and its first invoice is not paid


def set_plan(
    customer_id: str,
    plan: str,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
    *,
    at_once: bool = False,
) -> Order | None:
    """Move a customer to a plan; the order, if Stripe had to be asked for it.

    Away from a subscription at the end of its period, or `at_once`. Raises PlanProblem, BadPlans,
    CustomerProblem.
    """
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        wish = wish_for(book, plan, journal.time_of(book).date(), at_once=at_once)
        order = order_for(tx, book, wish, plan, clock)
        if order is None and book.subscription_id is None:
            change_plan(journal, book, plan)
            settle_backlog(journal, book)
        post(tx, journal)
    if order is None:
        return None
    carry_out(OrderKey(customer_id, order.order_id), engine, stripe, clock)
    with engine.begin() as tx:
        return read_order(tx, OrderKey(customer_id, order.order_id))


def order_for(
    tx: Connection, book: Book, wish: Wish | None, plan: str, clock: Clock
) -> Order | None:
    """The order that leads there, leased to us: a new one, or the same that was left undone."""
    waiting = requested_order(tx, book.customer_id)
    if waiting is not None:
        key = OrderKey(book.customer_id, waiting.order_id)
        if waiting.wish is wish and lease_order(tx, key, clock.wall()):
            return waiting
        raise PlanProblem(f"an order to {waiting.wish} a subscription is still under way")
    if wish is None:
        return None
    if wish is Wish.BEGIN and (why := why_stopped(tx)) is not None:
        raise PlanProblem(f"collecting is stopped: {why}")
    return place_order(tx, book, wish, clock, plan)


def place_order(
    tx: Connection, book: Book, wish: Wish, clock: Clock, plan: str | None = None
) -> Order:
    """Written down before Stripe is asked; if we die, the sweep carries it out."""
    begins = wish is Wish.BEGIN
    today = (clock.now() + book.clock_offset).date()
    version = book.plans.in_force(plan or book.plan, today)
    order = Order(
        book.customer_id,
        new_id("order"),
        wish,
        OrderStatus.REQUESTED,
        plan if begins else None,
        version.effective if begins else None,
        None if begins else book.subscription_id,
        requested_at=clock.wall(),
        due_at=clock.wall(),
        leased_until=clock.wall() + LEASE,
    )
    add_order(tx, order)
    return order


def carry_out(key: OrderKey, engine: Engine, stripe: StripeGateway, clock: Clock) -> OrderStatus:
    """Have Stripe do it, and book what came of it; repeatable at any point."""
    with engine.begin() as tx:
        order = read_order(tx, key)
    if order.status is not OrderStatus.REQUESTED:
        return order.status
    try:
        made = WISHES[order.wish](order, engine, stripe)
        follow_subscription(made.subscription_id, engine, stripe, clock)
        if order.wish is Wish.BEGIN and made.invoice_id is not None:
            follow_invoice(made.invoice_id, engine, stripe, clock)
    except Overtaken:
        return order.status
    except PlanProblem as problem:
        return finish(key, engine, refused=str(problem))
    except StripeRefused as refusal:
        if not refusal.unclear:
            return finish(key, engine, refused=str(refusal))
        return ask_again(key, engine, clock)
    return finish(key, engine)


class Overtaken(Exception):
    """Somebody else carries the order out, with a subscription of their own making."""


def begin(order: Order, engine: Engine, stripe: StripeGateway) -> StripeSubscription:
    """Made unpaid, then paid; what Stripe refuses to collect is cancelled, and owed by nobody.

    Only the subscription that the order has kept is paid: another made beside it costs nothing.
    """
    made = find_or_make(order, engine, stripe)
    with engine.begin() as tx:
        if not keep_subscription(
            tx, OrderKey(order.customer_id, order.order_id), made.subscription_id
        ):
            raise Overtaken
        has_left = why_parked(tx, order.customer_id) is not None
    if has_left and made.status not in ENDED:
        return stripe.cancel_subscription(made.subscription_id)
    if made.status == INCOMPLETE and made.invoice_id is not None:
        made = pay(made, made.invoice_id, stripe)
    if made.status in ENDED and not has_left:
        raise PlanProblem("its first month was not paid, and Stripe has ended the subscription")
    return made


def pay(made: StripeSubscription, invoice_id: str, stripe: StripeGateway) -> StripeSubscription:
    """A refusal counts only while it stands unpaid: what is paid already is refused, too."""
    try:
        stripe.pay_invoice(invoice_id, new_id(invoice_id))
    except StripeRefused as refusal:
        if refusal.unclear:
            raise
        made = stripe.subscription(made.subscription_id)
        if made.status == INCOMPLETE:
            stripe.cancel_subscription(made.subscription_id)
            raise
    return made


def find_or_make(order: Order, engine: Engine, stripe: StripeGateway) -> StripeSubscription:
    """What an earlier try has made, if there was one."""
    if order.subscription_id is not None:
        return stripe.subscription(order.subscription_id)
    stripe_customer = customer_at_stripe(order.customer_id, engine.begin, stripe)
    found = stripe.find_subscription(stripe_customer, order.order_id) if order.tries else None
    return found or make(order, stripe_customer, stripe)


def make(order: Order, stripe_customer: str, stripe: StripeGateway) -> StripeSubscription:
    assert order.plan is not None  # noqa: S101 - one that begins has a plan
    assert order.plan_version is not None  # noqa: S101
    version = load_plans().pinned(order.plan, order.plan_version)
    price = stripe.price_of_plan(order.plan, version, load_plans().title(order.plan))
    return stripe.create_subscription(
        {
            "customer": stripe_customer,
            "items": [{"price": price}],
            "payment_behavior": "default_incomplete",
            "metadata": {"order_id": order.order_id, "customer_id": order.customer_id},
        },
        new_id(order.order_id),
    )


def go_on(order: Order, _: Engine, stripe: StripeGateway) -> StripeSubscription:
    return stripe.end_with_period(order.subscription_id or "", ends=False)


def end_with_period(order: Order, _: Engine, stripe: StripeGateway) -> StripeSubscription:
    return stripe.end_with_period(order.subscription_id or "", ends=True)


def end_now(order: Order, _: Engine, stripe: StripeGateway) -> StripeSubscription:
    """What was paid for the rest of the period is not given back."""
    seen = stripe.subscription(order.subscription_id or "")
    return seen if seen.status in ENDED else stripe.cancel_subscription(seen.subscription_id)


WISHES: dict[Wish, Callable[[Order, Engine, StripeGateway], StripeSubscription]] = {
    Wish.BEGIN: begin,
    Wish.CONTINUE: go_on,
    Wish.END_WITH_PERIOD: end_with_period,
    Wish.END_NOW: end_now,
}


def ask_again(key: OrderKey, engine: Engine, clock: Clock) -> OrderStatus:
    """It may have happened: the sweep looks."""
    with engine.begin() as tx:
        order = read_order(tx, key)
        if order.status is OrderStatus.REQUESTED:
            order.due_at = clock.wall() + doubled(order.tries, *ASK_AGAIN)
            order.tries, order.leased_until = order.tries + 1, None
            save_order(tx, order)
        return order.status


def finish(key: OrderKey, engine: Engine, *, refused: str | None = None) -> OrderStatus:
    with engine.begin() as tx:
        order = read_order(tx, key)
        if order.status is OrderStatus.REQUESTED:
            order.status = OrderStatus.DONE if refused is None else OrderStatus.REFUSED
            order.message, order.due_at, order.leased_until = refused, None, None
            save_order(tx, order)
    log.info("subscription_order", wish=order.wish, status=order.status, customer=key.customer_id)
    return order.status
