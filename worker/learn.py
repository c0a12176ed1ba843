"""A payment that Stripe tells of, whoever noticed: a webhook, reconcile, or a refund of it."""

from __future__ import annotations

from sqlalchemy import Engine

from worker import telemetry
from worker.billing.answers import Answer, AnswerKind
from worker.clock import Clock
from worker.collect import keep_money, record
from worker.customers import open_book
from worker.storage.charges import ask_soon, find_charge
from worker.storage.customers import owner_of
from worker.storage.post import post
from worker.storage.refunds import Payer, payer_of
from worker.storage.top_ups import top_up_paid_by
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway
from worker.subscription import follow_invoice
from worker.top_up import record_top_up

UNCLEAR = (AnswerKind.UNKNOWN, AnswerKind.LATER)
# Answers anyone may bring to the books. Of a decline only the collector knows which attempt it
# belongs to: it is told to ask by itself.
BOOKED = (AnswerKind.SUCCEEDED, AnswerKind.NEEDS_CUSTOMER)


def learn_payment(payment_intent: str, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """Ask about an intent and book what it says; raises StripeRefused when that is unclear."""
    answer = stripe.retrieve_intent(payment_intent)
    if answer.kind in UNCLEAR or answer.payment_intent is None:
        raise StripeRefused("retrieve", answer)
    with engine.begin() as tx:
        key = find_charge(tx, payment_intent, answer.charge_id)
        if key is not None and answer.kind not in BOOKED and not is_untried(answer):
            ask_soon(tx, key, clock.now())
    if key is None:
        return learn_unexplained(answer, engine, stripe, clock)
    if answer.kind in BOOKED:
        record(key, answer, engine, clock)
    return f"{answer.kind}: {key.charge_id}"


def is_untried(answer: Answer) -> bool:
    """It was made, and no bank asked yet: no news, and no reason to cut a pause short."""
    return answer.kind is AnswerKind.READY and answer.latest_charge is None


def learn_unexplained(answer: Answer, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """A payment without a charge of ours: for credits, for a subscription, or their own money."""
    with engine.begin() as tx:
        customer_id = owner_of(tx, answer.stripe_customer)
    if customer_id is None or answer.kind is not AnswerKind.SUCCEEDED:
        return "no charge of ours"
    with engine.begin() as tx:
        top_up = top_up_paid_by(tx, answer.payment_intent or "")
    if top_up is not None:
        return f"top-up {record_top_up(top_up, answer, engine, clock).status}"
    invoice = stripe.invoice_of(answer.payment_intent or "")
    if invoice is not None:
        return follow_invoice(invoice, engine, stripe, clock)
    with engine.begin() as tx:
        journal, book = open_book(tx, customer_id, clock)
        kept = keep_money(tx, journal, book, answer)
        post(tx, journal)
    if kept:
        telemetry.unapplied_payments.add(1)
    return "unapplied" if kept else "nothing new"


def payer_of_intent(
    payment_intent: str | None, engine: Engine, stripe: StripeGateway, clock: Clock
) -> Payer | None:
    """Who paid; if our books don't know the payment yet, Stripe is asked about it first.

    What was paid without an intent is none of ours.
    """
    if payment_intent is None:
        return None
    with engine.begin() as tx:
        payer = payer_of(tx, payment_intent)
    if payer is None:
        learn_payment(payment_intent, engine, stripe, clock)
        with engine.begin() as tx:
            payer = payer_of(tx, payment_intent)
    return payer
