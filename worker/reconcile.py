"""The life of a comparison: our books beside Stripe's lists, what is safe repaired, the rest kept.

A repair is one of our own lives, so it books what Stripe says and nothing else; run again, it
finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from json import dumps
from typing import Any, NamedTuple

from sqlalchemy import Engine
from structlog import get_logger

from worker import telemetry
from worker.billing.answers import AnswerKind
from worker.billing.drift import Drift, DriftKind, Truth, Window, compare
from worker.billing.hints import Webhook, object_in, subject_of
from worker.clock import Clock
from worker.learn import learn_payment
from worker.storage.drifts import (
    books_for,
    park_drifts,
    resolve_drift,
    standing_drifts,
    standing_subscriptions,
    unsettled,
)
from worker.storage.stripe_events import store_event
from worker.stripe_events import apply_stripe_event, follow_dispute, follow_refund
from worker.stripe_gateway import StripeGateway
from worker.subscription import follow_invoice, follow_subscription

log = get_logger()

SWEPT_DAYS = timedelta(days=2)
ASKED_DAYS = timedelta(days=35)  # longer than Stripe keeps events, and than most refunds fail late
NOT_AHEAD = timedelta(0)
UNDER_WAY = timedelta(minutes=10)  # what is younger may be being booked this very moment


class Reconciled(NamedTuple):
    """What a comparison came to."""

    repaired: list[Drift]
    parked: list[Drift]  # all that wait for a person, found now or before


def swept_window(clock: Clock, ahead: timedelta = NOT_AHEAD) -> Window:
    now = clock.now() + ahead
    return Window(now - SWEPT_DAYS, now - UNDER_WAY)


def reconcile(window: Window, engine: Engine, stripe: StripeGateway, clock: Clock) -> Reconciled:
    """Compare, repair what is safe, park the rest; raises StripeRefused if Stripe cannot be read.

    A difference is looked for again after its repair: what is still there is parked.
    """
    repaired = list(import_events(window, engine, stripe, clock))
    truth = truth_of(window, engine, stripe)
    found = differences(window, truth, engine, stripe)
    for drift in found:
        if drift.safe:
            repair(drift, engine, stripe, clock)
    left = differences(window, truth, engine, stripe)
    repaired += [drift for drift in found if drift not in left]
    with engine.begin() as tx:
        parked = standing_drifts(tx)
    gone = [drift for drift in parked if is_gone(drift, left, truth, stripe)]
    with engine.begin() as tx:
        for drift in gone:
            resolve_drift(tx, drift, clock.wall())
        new = park_drifts(tx, left, clock.wall())
        standing = standing_drifts(tx)
    tell(repaired, new)
    return Reconciled(repaired, standing)


def is_gone(drift: Drift, left: list[Drift], truth: Truth, stripe: StripeGateway) -> bool:
    """It was looked at again and is no difference any more; outside the window nothing is known."""
    if drift.subject in {each.subject for each in left}:
        return False
    return drift.subject in truth.subjects() or not stands(drift, stripe)


def import_events(
    window: Window, engine: Engine, stripe: StripeGateway, clock: Clock
) -> Iterator[Drift]:
    """Hints that never arrived are stored as if they had, and followed."""
    for webhook in follow_events(stripe.undelivered_events(window), engine, stripe, clock):
        evidence = {"type": webhook.type, "object": webhook.object_id}
        yield Drift(DriftKind.MISSED_EVENT, webhook.event_id, None, evidence)


def follow_events(
    events: Iterable[Mapping[str, Any]], engine: Engine, stripe: StripeGateway, clock: Clock
) -> Iterator[Webhook]:
    """Those of Stripe's events that are about something of ours and are new to us."""
    for event in events:
        object_id = object_in(event["type"], event["data"]["object"])
        if subject_of(event["type"]) is None or object_id is None:
            continue
        body = dumps(event, default=str).encode()  # the SDK reads some as Decimal
        webhook = Webhook(event["id"], event["type"], event["livemode"], object_id, body)
        with engine.begin() as tx:
            is_new = store_event(tx, webhook, clock.wall())
        if is_new:
            apply_stripe_event(webhook.event_id, engine, stripe, clock)
            yield webhook


def truth_of(window: Window, engine: Engine, stripe: StripeGateway) -> Truth:
    """Stripe's lists for the window, and what is older but may still change."""
    with engine.begin() as tx:
        pending, undecided = unsettled(tx)
        known = standing_subscriptions(tx)
    refunds = {each.stripe_refund: each for each in stripe.refunds(window)}
    disputes = {each.dispute_id: each for each in stripe.disputes(window)}
    live = {each.subscription_id: each for each in stripe.live_subscriptions()}
    refunds |= {each: stripe.refund(each) for each in pending if each not in refunds}
    disputes |= {each: stripe.dispute(each) for each in undecided if each not in disputes}
    live |= {each: stripe.subscription(each) for each in known if each not in live}
    return Truth(
        list(stripe.payments(window)),
        list(refunds.values()),
        list(disputes.values()),
        list(stripe.invoices(window)),
        list(live.values()),
    )


def differences(window: Window, truth: Truth, engine: Engine, stripe: StripeGateway) -> list[Drift]:
    intents = {each.payment_intent for each in truth.payments}
    intents |= {each.payment_intent for each in truth.refunds}
    intents |= {each.payment_intent for each in truth.disputes}
    with engine.begin() as tx:
        books = books_for(tx, window, intents)
    return [drift for drift in compare(books, truth) if stands(drift, stripe)]


def stands(drift: Drift, stripe: StripeGateway) -> bool:
    """What the list lacks may only be older or newer than the window at Stripe."""
    if drift.kind is DriftKind.PAYMENT_NOT_AT_STRIPE:
        answer = stripe.retrieve_intent(drift.subject)
        return answer.kind is not AnswerKind.SUCCEEDED or drift.evidence["books"] != str(
            answer.money
        )
    if drift.kind is DriftKind.REFUND_NOT_AT_STRIPE:
        return not stripe.has_refund(drift.subject)
    return True


def repair(drift: Drift, engine: Engine, stripe: StripeGateway, clock: Clock) -> None:
    """One difference whose repair fails stays for the next time, and stops no other."""
    try:
        REPAIRS[drift.kind](drift.subject, engine, stripe, clock)
    except Exception:
        log.warning("repair_failed", kind=drift.kind, subject=drift.subject, exc_info=True)


REPAIRS = {
    DriftKind.MISSED_PAYMENT: learn_payment,
    DriftKind.MISSED_REFUND: follow_refund,
    DriftKind.MISSED_DISPUTE: follow_dispute,
    DriftKind.MISSED_INVOICE: follow_invoice,
    DriftKind.MISSED_SUBSCRIPTION: follow_subscription,
}


def tell(repaired: list[Drift], parked: list[Drift]) -> None:
    for result, drifts in (("repaired", repaired), ("parked", parked)):
        for drift in drifts:
            telemetry.drifts.add(1, {"kind": drift.kind, "result": result})
            write = log.warning if result == "repaired" else log.error
            write("drift", result=result, kind=drift.kind, subject=drift.subject)
