"""The life of a webhook: stored, answered with 200, then looked up at Stripe and recorded."""

from __future__ import annotations

from sqlalchemy import Engine

from worker.billing.answers import AnswerKind
from worker.clock import Clock
from worker.collect import record
from worker.storage.charges import find_charge
from worker.storage.stripe_events import finish_event, intent_of_event, postpone_event
from worker.stripe_gateway import StripeGateway

# Answers a webhook may bring to the books. Of a decline only the collector knows which attempt
# it belongs to; it asks by itself.
BOOKED = (AnswerKind.SUCCEEDED, AnswerKind.NEEDS_CUSTOMER)
UNCLEAR = (AnswerKind.UNKNOWN, AnswerKind.LATER)


def apply_stripe_event(event_id: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """Treat the event as a hint: ask Stripe about the intent, book what it says; repeatable."""
    with engine.begin() as tx:
        intent = intent_of_event(tx, event_id)
    if intent is None:
        return finish(event_id, "not about a payment", engine)
    answer = stripe.retrieve_intent(intent)
    with engine.begin() as tx:
        key = find_charge(tx, answer.payment_intent, answer.charge_id)
        if answer.kind in UNCLEAR:
            postpone_event(tx, event_id, clock.wall())
            return "asked again later"
    if key is None:
        return finish(event_id, "no charge of ours", engine)
    if answer.kind in BOOKED:
        record(key, answer, engine, clock)
    return finish(event_id, f"{answer.kind}: {key.charge_id}", engine)


def finish(event_id: str, result: str, engine: Engine) -> str:
    with engine.begin() as tx:
        finish_event(tx, event_id, result)
    return result
