"""The life of a charge whose debt has changed: its intent is cancelled before it is replaced."""

from __future__ import annotations

from sqlalchemy import Engine

from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import ChargeStatus
from worker.clock import Clock
from worker.collect import find, record
from worker.storage.charges import Attempt, ChargeKey, newest_attempt
from worker.stripe_gateway import StripeGateway


def withdraw(
    key: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock
) -> ChargeStatus | None:
    """Cancel the intent; only Stripe's word that it is cancelled makes room for another."""
    with engine.begin() as tx:
        attempt = newest_attempt(tx, key)
    if attempt is None:
        return None
    return record(key, cancel(attempt, stripe), engine, clock, lease_ends=True)


def cancel(attempt: Attempt, stripe: StripeGateway) -> Answer:
    """Cancelled, or whatever makes that impossible. An intent that was never made is as good."""
    intent = find(attempt, stripe)
    if intent is None:
        return Answer(AnswerKind.CANCELED, code="never_created")
    if intent.kind is not AnswerKind.READY or intent.payment_intent is None:
        return intent
    return stripe.cancel_intent(intent.payment_intent)
