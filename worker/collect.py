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
from worker.billing.answers import Answer, AnswerKind, as_asked, refusal_on
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Why
from worker.billing.dunning import Step, next_step
from worker.billing.journal import Journal
from worker.billing.payments import begin_attempt, book_unapplied, replace, take_step
from worker.billing.policy import DEFAULT_BREAKER, Breaker
from worker.breaker import may_collect, trips
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import (
    Attempt,
    ChargeKey,
    add_attempt,
    attempt_under_way,
    end_lease,
    fixes_on,
    has_payment,
    newest_attempt,
    note_answer,
    save_intent,
    standing_lines,
    status_of,
)
from worker.storage.customers import find_customer
from worker.storage.post import post
from worker.stripe_gateway import StripeGateway

log = get_logger()

# Clocks of ours and Stripe's may differ by this much when intents are listed by creation time.
CLOCK_SLACK = timedelta(hours=1)

OVERTAKEN = Answer(AnswerKind.UNKNOWN, code="overtaken")  # by another collector, or a withdrawal


def collect(
    key: ChargeKey,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
    breaker: Breaker = DEFAULT_BREAKER,
) -> ChargeStatus | None:
    """Collect one charge, once. None: there is nothing to collect now."""
    attempt = freeze(key, engine, stripe, clock, breaker)
    if attempt is None:
        return None
    answer = create(attempt, engine, stripe)
    if answer is OVERTAKEN:
        return None
    if answer.kind is AnswerKind.READY:
        answer = confirm(attempt, answer, stripe)
    return record(key, answer, engine, clock, lease_ends=True)


def freeze(
    key: ChargeKey,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
    breaker: Breaker = DEFAULT_BREAKER,
) -> Attempt | None:
    """Step 1: fix amount and lines for ever, and write down what will be sent."""
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = book.unpaid_charge(key.charge_id)
        attempt = None
        if charge is not None and may_collect(tx, book, charge):
            attempt = attempt_under_way(tx, key)
            tripped = attempt is None and trips(tx, journal, book, charge, breaker, clock)
            if attempt is None and not tripped and begin_attempt(journal, book, charge):
                attempt = new_attempt(tx, charge, clock, stripe.livemode)
        settle_backlog(journal, book)
        post(tx, journal)
        if attempt is None:
            end_lease(tx, key)
        return attempt


def new_attempt(tx: Connection, charge: Charge, clock: Clock, livemode: bool) -> Attempt:
    customer = find_customer(tx, charge.customer_id)
    assert customer is not None  # noqa: S101 - the book is locked, so there is one
    before = newest_attempt(tx, charge_key(charge))
    attempt = Attempt(
        customer_id=charge.customer_id,
        attempt_id=new_id("att"),
        charge_id=charge.charge_id,
        number=before.number + 1 if before else 1,
        why=charge.due_why,
        parameters={
            "amount": charge.asked.amount,
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
            saved = save_intent(tx, attempt, answer.payment_intent, answer.latest_charge)
        if not saved:
            return OVERTAKEN
    return as_asked(answer, attempt.parameters)


def find(attempt: Attempt, stripe: StripeGateway) -> Answer | None:
    """The intent of this charge, if there is one; what an earlier try left is used again."""
    if attempt.payment_intent is not None:
        return confirmable(stripe.retrieve_intent(attempt.payment_intent))
    if not attempt.resumed:
        return None
    since = attempt.started_at - CLOCK_SLACK
    return stripe.find_intent(attempt.parameters["customer"], attempt.charge_id, since)


def confirmable(intent: Answer) -> Answer:
    """An intent that waits for a customer in a browser can be confirmed with another card."""
    waits = intent.kind is AnswerKind.NEEDS_CUSTOMER
    return intent._replace(kind=AnswerKind.READY) if waits else intent


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


def record(
    key: ChargeKey, answer: Answer, engine: Engine, clock: Clock, *, lease_ends: bool = False
) -> ChargeStatus:
    """Step 4: book what Stripe said. Collector, webhook and reconcile all come through here.

    Only who holds the lease may end it: another may be between creating and confirming.
    """
    step = None
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = book.charge_in_flight
        if charge is not None and is_about(answer, charge, key):
            answer, step = take(tx, journal, book, charge, answer, clock)
        else:
            keep_money(tx, journal, book, answer)
        settle_backlog(journal, book)  # whoever has paid is in good standing again
        post(tx, journal)
        if lease_ends:
            end_lease(tx, key)
        status = step.status if step else status_of(tx, key)
    telemetry.charge_attempts.add(1, {"answer": answer.kind})
    if step is not None and step.status is ChargeStatus.PARKED:
        log.error("charge_parked", charge=key.charge_id, answer=answer.kind, code=answer.code)
    return status


def is_about(answer: Answer, charge: Charge, key: ChargeKey) -> bool:
    """Whether this is news of the charge: of its own intent, or of the first one it gets."""
    intents = {answer.payment_intent, charge.payment_intent} - {None}
    return charge.charge_id == key.charge_id and len(intents) < 2


def take(
    tx: Connection, journal: Journal, book: Book, charge: Charge, answer: Answer, clock: Clock
) -> tuple[Answer, Step]:
    """Move the charge on, and end the attempt if this was its answer."""
    key = charge_key(charge)
    newest = newest_attempt(tx, key)
    assert newest is not None  # noqa: S101 - freezing wrote the first one
    answer = as_asked(answer, newest.parameters)
    before = charge.status
    step = next_step(charge, answer, book.policy, journal.time_of(book))
    take_step(journal, book, charge, step, answer)
    if step.status is ChargeStatus.VOID:
        lines = standing_lines(tx, key)
        replace(journal, book, charge, lines, fixes_on(tx, lines))
    attempt = attempt_under_way(tx, key)
    if attempt is None and before is ChargeStatus.ACTION_REQUIRED and step.answered:
        attempt = add_attempt(tx, by_the_customer(newest, clock))
    if attempt is not None:
        note_answer(tx, attempt, answer, clock.wall() if step.answered else None)
    return answer, step


def by_the_customer(newest: Attempt, clock: Clock) -> Attempt:
    """The attempt that was made in a browser, as Stripe tells of it."""
    return newest._replace(
        attempt_id=new_id("att"),
        number=newest.number + 1,
        why=Why.MANUAL,
        answer=None,
        started_at=clock.wall(),
    )


def keep_money(tx: Connection, journal: Journal, book: Book, answer: Answer) -> bool:
    """A payment that no charge of ours explains is the customer's own; booked once."""
    if answer.kind is not AnswerKind.SUCCEEDED or answer.payment_intent is None:
        return False
    if answer.money is None or answer.money.currency != book.currency:
        return False  # reconcile parks it
    if has_payment(tx, book.customer_id, answer.payment_intent):
        return False
    book_unapplied(journal, book, answer.money.amount, answer.payment_intent)
    return True


def charge_key(charge: Charge) -> ChargeKey:
    return ChargeKey(charge.customer_id, charge.charge_id)
