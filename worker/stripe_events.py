"""The life of a webhook: stored, answered with 200, then looked up at Stripe and recorded.

An event is a hint that an object has changed. What counts is what Stripe says of the object when
it is asked, so events may be lost, repeated or out of order.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Engine

from worker.billing.hints import Subject, subject_of
from worker.clock import Clock
from worker.dispute import record_dispute
from worker.learn import learn_payment, payer_of_intent
from worker.refund import record_refund
from worker.setup import follow_checkout, follow_customer, follow_payment_method
from worker.storage.erasure import erase_late_webhook
from worker.storage.stripe_events import finish_event, postpone_event, read_event
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway
from worker.subscription import follow_invoice, follow_subscription

Life = Callable[[str, Engine, StripeGateway, Clock], str]


def apply_stripe_event(event_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """Ask Stripe about what the event names, and book the answer; repeatable."""
    with engine.begin() as tx:
        kind, object_id = read_event(tx, event_id)
    subject = subject_of(kind)
    if subject is None or object_id is None:
        return finish(event_id, "nothing of ours", engine)
    try:
        result = LIVES[subject](object_id, engine, stripe, clock)
    except StripeRefused as refusal:
        if refusal.unclear:
            return ask_later(event_id, engine, clock)
        result = f"Stripe refused: {refusal}"
    return finish(event_id, result, engine)


def follow_refund(stripe_refund: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    seen = stripe.refund(stripe_refund)
    payer = payer_of_intent(seen.payment_intent, engine, stripe, clock)
    if payer is None:
        return "no payment of ours"
    return f"refund {record_refund(payer, None, seen, engine, clock)}"


def follow_dispute(dispute_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    seen = stripe.dispute(dispute_id)
    payer = payer_of_intent(seen.payment_intent, engine, stripe, clock)
    if payer is None:
        return "no payment of ours"
    return f"disputed money {record_dispute(payer, seen, engine, clock)}"


LIVES: dict[Subject, Life] = {
    Subject.PAYMENT: learn_payment,
    Subject.REFUND: follow_refund,
    Subject.DISPUTE: follow_dispute,
    Subject.CHECKOUT: follow_checkout,
    Subject.PAYMENT_METHOD: follow_payment_method,
    Subject.CUSTOMER: follow_customer,
    Subject.INVOICE: follow_invoice,
    Subject.SUBSCRIPTION: follow_subscription,
}


def ask_later(event_id: str, engine: Engine, clock: Clock) -> str:
    with engine.begin() as tx:
        postpone_event(tx, event_id, clock.wall())
    return "asked again later"


def finish(event_id: str, result: str, engine: Engine) -> str:
    with engine.begin() as tx:
        finish_event(tx, event_id, result)
        erase_late_webhook(tx, event_id)
    return result
