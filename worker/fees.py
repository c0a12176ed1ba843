"""The life of Stripe's fees: read from its balance, and booked where the payment is, once.

A fee may be read before its payment is booked. Then reading goes on from there the next time, so
however late a payment is learned of, its fee follows; what is booked already is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, Engine
from structlog import get_logger

from worker.billing.drift import Window
from worker.billing.fees import take_fee
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.rollover import roll_to
from worker.billing.stripe_objects import StripeFee
from worker.clock import Clock
from worker.storage.books import open_books
from worker.storage.fees import (
    booked_fees,
    first_payment,
    known_at_stripe,
    payers_of,
    read_until,
    save_read_until,
)
from worker.storage.post import post
from worker.stripe_gateway import StripeGateway

log = get_logger()

DAY = timedelta(days=1)
TOGETHER = 100  # fees of one transaction
AWAITED = timedelta(days=35)  # how late a payment may be booked that Stripe tells of


class Taken(NamedTuple):
    """What became of some fees."""

    booked: int
    awaits: datetime | None  # the time of the oldest whose payment is not booked yet


def import_fees(until: datetime, engine: Engine, stripe: StripeGateway, clock: Clock) -> int:
    """All that Stripe has taken by then, a day at a time; how many fees were booked."""
    with engine.begin() as tx:
        since = read_until(tx) or before_the_first(tx)
    if since is None:
        return 0
    booked, goes_on = 0, until
    for window in days_between(since, until):
        fees = sorted(stripe.fees(window), key=lambda fee: fee.taken_at)
        for start in range(0, len(fees), TOGETHER):
            taken = book_fees(fees[start : start + TOGETHER], engine, clock)
            booked += taken.booked
            goes_on = min(goes_on, taken.awaits or goes_on)
        with engine.begin() as tx:
            save_read_until(tx, max(min(goes_on, window.until), until - AWAITED))
    return booked


def before_the_first(tx: Connection) -> datetime | None:
    """Reading begins where the oldest payment may have been made at Stripe."""
    first = first_payment(tx)
    return None if first is None else first - AWAITED


def days_between(since: datetime, until: datetime) -> Iterator[Window]:
    while since < until:
        yield Window(since, min(since + DAY, until))
        since += DAY


def book_fees(fees: Sequence[StripeFee], engine: Engine, clock: Clock) -> Taken:
    """Some in one transaction; one whose book cannot be opened waits and holds up no other."""
    try:
        return book_together(fees, engine, clock)
    except Exception:
        if len(fees) == 1:
            log.error("fee_failed", transaction=fees[0].transaction_id, exc_info=True)
            return Taken(0, fees[0].taken_at)
    each_alone = [book_fees([fee], engine, clock) for fee in fees]
    waiting = [taken.awaits for taken in each_alone if taken.awaits is not None]
    return Taken(sum(taken.booked for taken in each_alone), min(waiting, default=None))


def book_together(fees: Sequence[StripeFee], engine: Engine, clock: Clock) -> Taken:
    """Oldest first, so that no fee comes back before it was taken."""
    with engine.begin() as tx:
        payers = payers_of(tx, {fee.payment_intent for fee in fees})
        journal = Journal(open_books(tx, set(payers.values())), Known(), clock.now())
        for book in journal.books.values():
            roll_to(journal, book, journal.time_of(book))
        known = booked_fees(tx, journal.books, (fee.transaction_id for fee in fees))
        new = [fee for fee in fees if fee.transaction_id not in known]
        booked = [fee for fee in new if fee.payment_intent in payers and take(journal, payers, fee)]
        post(tx, journal)
        awaits = awaited(tx, [fee for fee in new if fee.payment_intent not in payers])
    return Taken(len(booked), awaits)


def take(journal: Journal, payers: dict[str, str], fee: StripeFee) -> bool:
    taken = take_fee(journal, journal.books[payers[fee.payment_intent]], fee)
    if not taken:
        log.warning("fee_not_booked", transaction=fee.transaction_id, amount=str(fee.money))
    return taken


def awaited(tx: Connection, fees: Sequence[StripeFee]) -> datetime | None:
    """The first of a customer of ours; a refund's fee is awaited with that of its payment."""
    ours = known_at_stripe(tx, {fee.stripe_customer or "" for fee in fees})
    return min((fee.taken_at for fee in fees if fee.stripe_customer in ours), default=None)
