"""What keeps a card from being charged: the red switch, a parked customer, the circuit breaker."""

from __future__ import annotations

from sqlalchemy import Connection
from structlog import get_logger

from worker import telemetry
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.journal import Journal
from worker.billing.policy import Breaker, breach
from worker.clock import Clock
from worker.customers import park
from worker.storage.charges import attempted_since
from worker.storage.collecting import running_since, switch, why_stopped

log = get_logger()


def may_collect(tx: Connection, book: Book, charge: Charge) -> bool:
    """Nothing has said stop since the charge was found to be due."""
    withdrawing = charge.status is ChargeStatus.WITHDRAWING
    return not withdrawing and book.parked_at is None and why_stopped(tx) is None


def trips(
    tx: Connection, journal: Journal, book: Book, charge: Charge, breaker: Breaker, clock: Clock
) -> bool:
    """The circuit breaker: too much for one customer parks them, too much in all stops everyone."""
    wall, amount = clock.wall(), charge.owed
    since = max(running_since(tx), wall - breaker.everyone.within)
    why = breach(breaker.everyone, attempted_since(tx, since), amount)
    if why is not None:
        switch(tx, stopped_at=wall, why=f"circuit breaker: {why}")
        return sound_alarm("everyone", why, book)
    since = wall - breaker.customer.within
    since = max(since, book.released_at or since)
    why = breach(breaker.customer, attempted_since(tx, since, book.customer_id), amount)
    if why is not None:
        park(journal, book, f"circuit breaker: {why}")
        return sound_alarm("customer", why, book)
    return False


def sound_alarm(bound: str, why: str, book: Book) -> bool:
    telemetry.breaker_trips.add(1, {"bound": bound})
    log.error("breaker_tripped", bound=bound, why=why, customer=book.customer_id)
    return True
