"""The life of a payment method: a link to add one, and what Stripe tells of it afterwards."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from schemas.answers import HeldCost, SetupLink, Usage
from schemas.plans import load_plans
from worker.clock import Clock
from worker.customers import (
    CANCELLED,
    DEFAULT_CURRENCY,
    Begin,
    book_payment_method,
    customer_at_stripe,
    lose_payment_method,
)
from worker.storage.customers import find_customer, owner_of, owner_of_method, why_parked
from worker.stripe_gateway import StripeGateway


class SetupPages(NamedTuple):
    """Where the browser goes when it is done."""

    success_url: str
    cancel_url: str


def setup_link(
    customer_id: str,
    held: HeldCost,
    pages: SetupPages,
    begin: Begin,
    stripe: StripeGateway,
) -> SetupLink:
    """A page of Stripe's that saves a card for payments without the customer present.

    It shows first what waits for a way to pay. Raises CustomerProblem, StripeRefused.
    """
    stripe_customer = customer_at_stripe(customer_id, begin, stripe)
    session = stripe.create_setup_session(
        {
            "mode": "setup",
            "customer": stripe_customer,
            "currency": held.amount.currency if held.amount else DEFAULT_CURRENCY,
            "success_url": pages.success_url,
            "cancel_url": pages.cancel_url,
            "client_reference_id": customer_id,
            "custom_text": {"submit": {"message": in_words(held)}},
            "setup_intent_data": {"metadata": {"customer_id": customer_id}},
        }
    )
    return SetupLink(url=session.url, expires_at=session.expires_at, held=held)


def held_cost(usage: Usage, now: datetime, bonus_given: bool) -> HeldCost:
    """What the backlog will cost; a first card may bring credits and another plan."""
    plans = load_plans()
    version = plans.pinned(usage.plan.code, usage.plan.version)
    bonus = 0 if bonus_given else version.billing_added_credits
    if version.billing_added_plan:
        version = plans.in_force(version.billing_added_plan, now.date())
    by_credits = min(usage.held_now, usage.credits.balance + bonus)
    by_money = usage.held_now - by_credits
    return HeldCost(
        fixes=usage.held_now,
        by_credits=by_credits,
        by_money=by_money,
        amount=version.price * by_money if version.price else None,
        price_per_fix=version.price,
        spending_cap=usage.limits.spending_cap,
    )


def in_words(held: HeldCost) -> str:
    """What stands above the button."""
    waiting = f"{held.fixes or 'No'} {'fix waits' if held.fixes == 1 else 'fixes wait'} for payment"
    parts = [f"credits pay for {held.by_credits}"] if held.by_credits else []
    if held.by_money:
        parts.append(cost_in_words(held))
    then = f"costs {held.price_per_fix}" if held.price_per_fix else "is held"
    return (
        f"{waiting}{': ' if parts else ''}{', '.join(parts)}. "
        f"From now on, a fix that no credit covers {then}."
    )


def cost_in_words(held: HeldCost) -> str:
    if held.amount is None:
        return f"{held.by_money} must wait for credits"
    cost = f"{held.by_money} would cost {held.amount}"
    if held.spending_cap is None:
        return f"{cost} once you accept that"
    return f"{cost}, charged at once within the spending cap of {held.spending_cap} a month"


def follow_checkout(session_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """A card was saved in the browser: from now on it is the one that is charged."""
    saved = stripe.saved_by_checkout(session_id)
    if saved is None:
        return "nothing was saved"
    with engine.begin() as tx:
        customer_id = owner_of(tx, saved.stripe_customer)
    if customer_id is None:
        return "no customer of ours"
    stripe.make_default(saved.stripe_customer, saved.payment_method)
    return adopt(customer_id, saved.payment_method, engine, clock)


def follow_customer(
    stripe_customer: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> str:
    """The default payment method may have been changed at Stripe."""
    with engine.begin() as tx:
        customer_id = owner_of(tx, stripe_customer)
        if customer_id is None:
            return "no customer of ours"
        if why_parked(tx, customer_id) == CANCELLED:
            return (
                "has left"  # Stripe keeps the card of one who did; only a new one brings them back
            )
    default = stripe.default_payment_method(stripe_customer)
    return adopt(customer_id, default, engine, clock) if default else "without a default"


def follow_payment_method(
    payment_method: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> str:
    """It may have been detached, or attached and made the default."""
    stripe_customer = stripe.owner_of_payment_method(payment_method)
    if stripe_customer is not None:
        return follow_customer(stripe_customer, engine, stripe, clock)
    with engine.begin() as tx:
        customer_id = owner_of_method(tx, payment_method)
    if customer_id is None:
        return "not in use"
    lose_payment_method(customer_id, engine, clock)
    return "detached"


def adopt(customer_id: str, payment_method: str, engine: Engine, clock: Clock) -> str:
    """Charge this one from now on, unless it is the one already."""
    with engine.begin() as tx:
        customer = find_customer(tx, customer_id)
    if customer is not None and customer.payment_method == payment_method:
        return "in use already"
    book_payment_method(customer_id, payment_method, engine, clock)
    return "now in use"
