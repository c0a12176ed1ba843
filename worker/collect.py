"""The life of a charge: frozen, created at Stripe, confirmed, recorded.

A crash between any two steps leaves an attempt without an answer; the next sweep goes on from
there, by asking Stripe before doing anything again.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, Engine
from structlog import get_logger

from schemas.ids import new_id
from worker import telemetry
from worker.billing.answers import Answer, AnswerKind, refusal_on
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus
from worker.billing.dunning import Policy, next_step
from worker.billing.payments import freeze_charge, take_step
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import (
    Attempt,
    ChargeKey,
    add_attempt,
    answer_attempt,
    attempt_under_way,
    end_lease,
    last_number,
    read_charge,
    save_intent,
)
from worker.storage.customers import find_customer
from worker.storage.post import post
from worker.stripe_gateway import StripeGateway

log = get_logger()

# Clocks of ours and Stripe's may differ by this much when intents are listed by creation time.
CLOCK_SLACK = timedelta(hours=1)


def collect(
    key: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock
) -> ChargeStatus | None:
    """Collect one charge, once. None: there is nothing to collect now."""
    attempt = freeze(key, engine, stripe, clock)
    if attempt is None:
        return None
    answer = create(attempt, engine, stripe)
    if answer.kind is AnswerKind.READY:
        answer = confirm(attempt, answer, stripe)
    return record(key, answer, engine, clock)


def freeze(key: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock) -> Attempt | None:
    """Step 1: fix amount and lines for ever, and write down what will be sent."""
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = read_charge(tx, key)
        attempt = attempt_under_way(tx, key)
        if attempt is None and freeze_charge(journal, book, charge):
            attempt = new_attempt(tx, charge, clock, stripe.livemode)
        post(tx, journal)
        if attempt is None:
            end_lease(tx, key)
        return attempt


def new_attempt(tx: Connection, charge: Charge, clock: Clock, livemode: bool) -> Attempt:
    customer = find_customer(tx, charge.customer_id)
    assert customer is not None  # noqa: S101 - the book is locked, so there is one
    attempt = Attempt(
        customer_id=charge.customer_id,
        attempt_id=new_id("att"),
        charge_id=charge.charge_id,
        number=last_number(tx, charge_key(charge)) + 1,
        why="scheduled",
        parameters={
            "amount": charge.amount,
            "currency": charge.currency,
            "customer": customer.stripe_customer,
            "payment_method": customer.payment_method,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "description": "Automated security fixes",
            "metadata": {"charge_id": charge.charge_id, "customer_id": charge.customer_id},
        },
        payment_intent=charge.payment_intent,
        charge_before=None,
        livemode=livemode,
        started_at=clock.wall(),
    )
    add_attempt(tx, attempt)
    return attempt


def create(attempt: Attempt, engine: Engine, stripe: StripeGateway) -> Answer:
    """Step 2: an unconfirmed intent, its id saved. If there may be one already, look first."""
    answer = find(attempt, stripe)
    if answer is None:
        # A resumed attempt needs a key of its own: the first may hold a stored error.
        key = new_id(attempt.attempt_id) if attempt.resumed else attempt.attempt_id
        answer = stripe.create_intent(attempt.parameters, key)
    if answer.payment_intent is not None and attempt.charge_before is None:
        with engine.begin() as tx:
            save_intent(tx, attempt, answer.payment_intent, answer.latest_charge)
    return answer


def find(attempt: Attempt, stripe: StripeGateway) -> Answer | None:
    """The intent of this charge, if there is one; what an earlier try left is used again."""
    if attempt.payment_intent is not None:
        return stripe.retrieve_intent(attempt.payment_intent)
    if not attempt.resumed:
        return None
    since = attempt.started_at - CLOCK_SLACK
    return stripe.find_intent(attempt.parameters["customer"], attempt.charge_id, since)


def confirm(attempt: Attempt, intent: Answer, stripe: StripeGateway) -> Answer:
    """Step 3: charge the card. An intent succeeds at most once, whatever happens to keys."""
    assert intent.payment_intent is not None  # noqa: S101 - a ready intent has an id
    key = f"{intent.payment_intent}-{attempt.number}"
    if attempt.charge_before is not None:  # it may have been confirmed before the crash
        if (intent.latest_charge or "") != attempt.charge_before:
            return refusal_on(intent)  # the bank was asked, and said no
        key = new_id(key)  # it never reached the bank; the first key may hold a stored error
    method = attempt.parameters["payment_method"]
    return stripe.confirm_intent(intent.payment_intent, method, key)


def record(key: ChargeKey, answer: Answer, engine: Engine, clock: Clock) -> ChargeStatus:
    """Step 4: book what Stripe said. Collector, webhook and reconcile all come through here."""
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = read_charge(tx, key)
        attempt = attempt_under_way(tx, key)
        if charge.status not in IN_FLIGHT:
            return charge.status
        number = attempt.number if attempt else last_number(tx, key)
        step = next_step(charge, number, answer, Policy(), journal.time_of(book))
        take_step(journal, book, charge, step, answer)
        if attempt is not None and step.answered:
            answer_attempt(tx, attempt, answer, clock.wall())
        post(tx, journal)
        end_lease(tx, key)
    telemetry.charge_attempts.add(1, {"answer": answer.kind})
    if step.status is ChargeStatus.PARKED:
        log.error("charge_parked", charge=key.charge_id, answer=answer.kind, code=answer.code)
    return step.status


def charge_key(charge: Charge) -> ChargeKey:
    return ChargeKey(charge.customer_id, charge.charge_id)
