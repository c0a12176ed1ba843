"""The life of a top-up: written down, an intent created, confirmed, recorded.

What the bank declines is cancelled at Stripe before it counts as declined, so that it can never be
paid afterwards.
"""

from __future__ import annotations

from datetime import timedelta
from re import fullmatch
from typing import Any

from sqlalchemy import Engine

from schemas.events import ID_PATTERN, ID_RULE
from schemas.ids import new_id
from worker.billing.answers import Answer, AnswerKind, as_asked
from worker.billing.dunning import ASK_AGAIN, doubled
from worker.billing.top_ups import TopUp, TopUpProblem, TopUpStatus, check_buyable, take_payment
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.collecting import why_stopped
from worker.storage.customers import Customer, find_customer
from worker.storage.post import post
from worker.storage.top_ups import (
    LEASE,
    TopUpKey,
    add_top_up,
    find_top_up,
    keep_intent,
    save_top_up,
)
from worker.stripe_gateway import StripeGateway

# Clocks of ours and Stripe's may differ by this much when intents are listed by creation time.
CLOCK_SLACK = timedelta(hours=1)


def buy_credits(
    customer_id: str,
    number: int,
    key: str,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
) -> TopUp:
    """Charge the card for so many credits at the price of a fix, once per key.

    Raises TopUpProblem, CustomerProblem.
    """
    if not fullmatch(ID_PATTERN, key):
        raise TopUpProblem(f"the key of a top-up is {ID_RULE}")
    top_up = request(TopUpKey(customer_id, key), number, engine, clock)
    return (
        top_up
        if top_up.status is TopUpStatus.PAID
        else collect_top_up(TopUpKey(customer_id, key), engine, stripe, clock)
    )


def request(key: TopUpKey, number: int, engine: Engine, clock: Clock) -> TopUp:
    """Step 1: written down and leased; the same key again is the same purchase."""
    with engine.begin() as tx:
        _, book = open_book(tx, key.customer_id, clock)
        before = find_top_up(tx, key)
        if before is not None:
            if before.credits != number:
                raise TopUpProblem(f"the key {key.top_up_id} has bought {before.credits} credits")
            return before
        check_buyable(book)
        if (why := why_stopped(tx)) is not None:
            raise TopUpProblem(f"collecting is stopped: {why}")
        assert book.price is not None  # noqa: S101 - check_buyable looked
        top_up = TopUp(
            *key,
            number,
            book.price.amount * number,
            book.price.currency,
            TopUpStatus.REQUESTED,
            requested_at=clock.wall(),
            due_at=clock.wall(),
            leased_until=clock.wall() + LEASE,
        )
        add_top_up(tx, top_up)
        return top_up


def collect_top_up(key: TopUpKey, engine: Engine, stripe: StripeGateway, clock: Clock) -> TopUp:
    """Go on where it stands, by asking Stripe first; repeatable at any point."""
    with engine.begin() as tx:
        top_up, customer = find_top_up(tx, key), find_customer(tx, key.customer_id)
    assert top_up is not None  # noqa: S101 - whoever has the key has seen the row
    assert customer is not None  # noqa: S101
    if top_up.status is not TopUpStatus.REQUESTED:
        return top_up
    parameters = parameters_of(top_up, customer)
    intent = as_asked(find_or_create(top_up, parameters, stripe), parameters)
    if intent.payment_intent is not None and top_up.payment_intent is None:
        with engine.begin() as tx:
            top_up.payment_intent = keep_intent(tx, key, intent.payment_intent)
        if top_up.payment_intent != intent.payment_intent:
            intent = as_asked(stripe.retrieve_intent(top_up.payment_intent), parameters)
    return record_top_up(top_up, confirm(top_up, intent, customer, stripe), engine, clock)


def parameters_of(top_up: TopUp, customer: Customer) -> dict[str, Any]:
    return {
        "amount": top_up.amount,
        "currency": top_up.currency,
        "customer": customer.stripe_customer,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "description": f"{top_up.credits} credits for automated security fixes",
        "metadata": {"charge_id": top_up.name, "customer_id": top_up.customer_id},
    }


def find_or_create(top_up: TopUp, parameters: dict[str, Any], stripe: StripeGateway) -> Answer:
    """Step 2: an unconfirmed intent. Of several only the one that is kept is ever confirmed."""
    if top_up.payment_intent is not None:
        return stripe.retrieve_intent(top_up.payment_intent)
    if top_up.tries:
        since = top_up.requested_at - CLOCK_SLACK
        found = stripe.find_intent(parameters["customer"], top_up.name, since)
        if found is not None:
            return found
    return stripe.create_intent(parameters, new_id("topup"))


def confirm(top_up: TopUp, intent: Answer, customer: Customer, stripe: StripeGateway) -> Answer:
    """Step 3: an intent succeeds at most once; what the bank refuses is cancelled."""
    if intent.payment_intent is None:
        return intent
    answer, card = intent, customer.payment_method
    untried = intent.kind is AnswerKind.READY and intent.latest_charge is None
    if untried and top_up.message is None and card is not None:
        key = new_id(intent.payment_intent)
        answer = stripe.confirm_intent(intent.payment_intent, card, key)
    if answer.kind in (AnswerKind.UNKNOWN, AnswerKind.LATER, *FINAL):
        return answer
    why = "the card was declined" if card is not None else "there is no card any more"
    top_up.message = top_up.message or answer.message or answer.code or why
    return stripe.cancel_intent(intent.payment_intent)


FINAL = (AnswerKind.SUCCEEDED, AnswerKind.CANCELED)


def record_top_up(seen: TopUp, answer: Answer, engine: Engine, clock: Clock) -> TopUp:
    """Step 4: book what Stripe said. The buyer, a webhook and reconcile all come through here."""
    key = TopUpKey(seen.customer_id, seen.top_up_id)
    with engine.begin() as tx:
        journal, book = open_book(tx, seen.customer_id, clock)
        top_up = find_top_up(tx, key)
        assert top_up is not None  # noqa: S101 - rows are never removed
        if top_up.status is TopUpStatus.REQUESTED:
            top_up.message = top_up.message or seen.message
        if not take_payment(journal, book, top_up, answer) and top_up.due_at is not None:
            top_up.due_at = clock.wall() + doubled(top_up.tries, *ASK_AGAIN)
            top_up.tries += 1
        top_up.leased_until = None
        post(tx, journal)
        save_top_up(tx, top_up)
        return top_up
