"""The life of a refund: asked for, written down, sent once, recorded."""

from __future__ import annotations

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError
from structlog import get_logger

from schemas.ids import new_id
from worker import telemetry
from worker.billing.answers import Answer
from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.charges import Charge
from worker.billing.journal import Journal
from worker.billing.refunds import (
    Refund,
    RefundProblem,
    RefundStatus,
    check_returnable,
    claw_back,
    claw_back_bought,
    reissue,
    take_refund,
    take_refusal,
)
from worker.billing.reverts import compensate
from worker.billing.stripe_objects import StripeRefund
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import ChargeKey, read_charge, standing_lines
from worker.storage.post import post
from worker.storage.refunds import (
    LEASE,
    Payer,
    RefundKey,
    add_refund,
    clawed_by,
    credits_bought,
    find_refund,
    grants_bought,
    has_refund,
    is_disputed,
    mark_tried,
    read_refund,
    reverted_without_credit,
    save_refund,
    unapplied_from,
    under_way,
)
from worker.stripe_gateway import StripeGateway

log = get_logger()

LOOKED_FOR = 4  # times, with growing pauses: more than a minute in all


def request_refund(
    key: ChargeKey,
    engine: Engine,
    clock: Clock,
    *,
    amount: int | None = None,
    fix_id: str | None = None,
    reason: str | None = None,
) -> RefundKey:
    """Write down that money is to go back: all that is left, so much (minor units), or one fix's.

    It is leased to the caller, who sends it; if they die, a sweep goes on. Raises RefundProblem. No
    event leads here, only a person.
    """
    with engine.begin() as tx:
        journal, _ = open_book(tx, key.customer_id, clock)
        charge = read_charge(tx, key)
        waiting = under_way(tx, *key)
        if fix_id is not None:
            amount = price_of(tx, key, fix_id)
        elif amount is None:
            amount = charge.asked.amount - charge.returned - waiting
        check_returnable(charge, amount, waiting, is_disputed(tx, *key))
        refund = Refund(
            key.customer_id,
            new_id("ref"),
            key.charge_id,
            charge.payment_intent or "",
            fix_id,
            amount,
            charge.currency,
            RefundStatus.REQUESTED,
            requested_at=clock.now(),
            started_at=clock.wall(),
            reason=reason,
            due_at=journal.time_of(journal.books[key.customer_id]),
            leased_until=clock.wall() + LEASE,
        )
        write_down(tx, refund)
    return RefundKey(refund.customer_id, refund.refund_id)


def price_of(tx: Connection, key: ChargeKey, fix_id: str) -> int:
    for line in standing_lines(tx, key):
        if line.fix_id == fix_id:
            return line.price
    raise RefundProblem(f"fix {fix_id} is not on charge {key.charge_id}")


def write_down(tx: Connection, refund: Refund) -> None:
    try:
        add_refund(tx, refund)
    except IntegrityError as error:
        raise RefundProblem(f"fix {refund.fix_id} is refunded already") from error


def refund(key: RefundKey, engine: Engine, stripe: StripeGateway, clock: Clock) -> RefundStatus:
    """Return the money once: what may be at Stripe already is looked for before it is sent."""
    wanted = begin(key, engine)
    if wanted.status is not RefundStatus.REQUESTED:
        return wanted.status
    seen = stripe.find_refund(wanted.payment_intent, wanted.refund_id) if wanted.tried else None
    if seen is None:
        seen = send(wanted, stripe)
    payer = Payer(key.customer_id, wanted.charge_id)
    return record_refund(payer, wanted, seen, engine, clock)


def begin(key: RefundKey, engine: Engine) -> Refund:
    """Step 1: from here on it may be at Stripe, whatever becomes of this process."""
    with engine.begin() as tx:
        wanted = read_refund(tx, key)
        mark_tried(tx, key)
        return wanted


def send(wanted: Refund, stripe: StripeGateway) -> StripeRefund | Answer:
    """Step 2. The first key may hold a stored error, but what was sent with it may still arrive.

    So it is only left once Stripe's list has lacked the refund again and again.
    """
    parameters = {
        "payment_intent": wanted.payment_intent,
        "amount": wanted.amount,
        "metadata": {"refund_id": wanted.refund_id, "customer_id": wanted.customer_id},
    }
    key = wanted.refund_id if wanted.waits < LOOKED_FOR else new_id(wanted.refund_id)
    return stripe.create_refund(parameters, key)


def record_refund(
    payer: Payer,
    wanted: Refund | None,
    seen: StripeRefund | Answer,
    engine: Engine,
    clock: Clock,
) -> RefundStatus:
    """Step 3: book what Stripe says. The sender, a webhook and reconcile all come through here."""
    with engine.begin() as tx:
        journal, book = open_book(tx, payer.customer_id, clock)
        charge = None
        if payer.charge_id is not None:
            charge = read_charge(tx, ChargeKey(payer.customer_id, payer.charge_id))
        if isinstance(seen, Answer):
            assert wanted is not None  # noqa: S101 - only what we sent can be refused
            kept = read_refund(tx, RefundKey(wanted.customer_id, wanted.refund_id))
            take_refusal(kept, seen, journal.time_of(book))
        else:
            kept = find_refund(tx, seen.stripe_refund, seen.refund_id) or seen_first(
                tx, payer, seen, clock
            )
            follow(tx, journal, book, charge, kept, seen)
        post(tx, journal)
        save_refund(tx, kept)
        if kept.status in (RefundStatus.FAILED, RefundStatus.REFUSED):
            make_up_for(tx, kept, clock)
    telemetry.refunds.add(1, {"status": kept.status})
    if kept.status is RefundStatus.REFUSED:
        log.error("refund_refused", refund=kept.refund_id, code=kept.code, why=kept.message)
    return kept.status


def make_up_for(tx: Connection, kept: Refund, clock: Clock) -> None:
    """The money did not go back after all: a fix that was reverted meanwhile earns its credit."""
    journal, book = open_book(tx, kept.customer_id, clock)
    for fix in reverted_without_credit(tx, kept):
        compensate(journal, book, fix)
    settle_backlog(journal, book)
    post(tx, journal)


def follow(
    tx: Connection,
    journal: Journal,
    book: Book,
    charge: Charge | None,
    kept: Refund,
    seen: StripeRefund,
) -> None:
    """Money and the credits it had paid for go together, and come back together."""
    was = kept.status
    brought = unapplied_from(tx, kept.customer_id, kept.payment_intent)
    went = take_refund(journal, book, charge, kept, seen, brought)
    whole = charge is not None and charge.returned == charge.asked.amount
    if went and (whole or kept.fix_id is not None):
        claw_back(journal, book, kept, grants_bought(tx, kept))
    if went and (bought := credits_bought(tx, kept)) is not None:
        claw_back_bought(journal, book, kept, bought)
    if kept.status is RefundStatus.FAILED and was is not RefundStatus.FAILED:
        reissue(journal, book, kept, clawed_by(tx, kept))


def seen_first(tx: Connection, payer: Payer, seen: StripeRefund, clock: Clock) -> Refund:
    """A refund that was made in Stripe's dashboard, or by us before our database was restored."""
    ours = seen.refund_id
    if ours is None or has_refund(tx, RefundKey(payer.customer_id, ours)):
        ours = new_id("ref")
    found = Refund(
        payer.customer_id,
        ours,
        payer.charge_id,
        seen.payment_intent,
        None,
        seen.money.amount,
        seen.money.currency,
        RefundStatus.REQUESTED,
        requested_at=clock.now(),
        started_at=clock.wall(),
        reason="made at Stripe",
        tried=True,
    )
    add_refund(tx, found)
    return found
