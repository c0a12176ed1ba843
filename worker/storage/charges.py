"""Charges that fall due, and the attempts to collect them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from worker.billing.answers import Answer
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus, Line
from worker.billing.fix import Fix
from worker.billing.policy import Tally
from worker.storage import bulk
from worker.storage.books import FIX
from worker.storage.clock import LONGEST_LEAD
from worker.storage.collecting import why_stopped
from worker.storage.tables import attempts, books, charge_lines, charges, fixes, transfers

# Longer than the slowest collection: three calls to Stripe with their time-outs and retries.
LEASE = timedelta(minutes=5)

ASKED_BY_ITSELF = (ChargeStatus.FROZEN, ChargeStatus.WITHDRAWING)


class ChargeKey(NamedTuple):
    """Which charge."""

    customer_id: str
    charge_id: str


class Attempt(NamedTuple):
    """One try at Stripe; `parameters` is what is sent, fixed before it is sent."""

    customer_id: str
    attempt_id: str
    charge_id: str
    number: int
    why: str
    parameters: dict[str, Any]
    payment_intent: str | None
    charge_before: str | None  # Stripe's newest charge before; empty text: there was none
    livemode: bool
    started_at: datetime
    answer: str | None = None
    resumed: bool = False  # it may have been sent already


STORED = Attempt._fields[:-1]
ATTEMPT = [attempts.c[name] for name in STORED]


def claim_due_charges(tx: Connection, now: datetime, wall: datetime, limit: int) -> list[ChargeKey]:
    """Lease charges to be collected now; at most one of each customer is in flight.

    None while collecting is stopped, and none of a customer who is parked.
    """
    if why_stopped(tx) is not None:
        return []
    return claim(
        tx,
        now,
        wall,
        limit,
        books.c.parked_at.is_(None),
        charges.c.status != ChargeStatus.WITHDRAWING,
    )


def claim_withdrawals(tx: Connection, now: datetime, wall: datetime, limit: int) -> list[ChargeKey]:
    """Lease charges whose intent is to be cancelled; that moves no money, so nothing stops it."""
    return claim(tx, now, wall, limit, charges.c.status == ChargeStatus.WITHDRAWING)


def claim(
    tx: Connection, now: datetime, wall: datetime, limit: int, *which: ColumnElement[bool]
) -> list[ChargeKey]:
    other = charges.alias()
    in_flight = exists().where(
        other.c.customer_id == charges.c.customer_id, other.c.status.in_(IN_FLIGHT)
    )
    due = (
        select(charges.c.customer_id, charges.c.charge_id)
        .join(books, books.c.customer_id == charges.c.customer_id)
        .where(
            charges.c.due_at <= literal(now) + LONGEST_LEAD,
            charges.c.due_at <= literal(now) + books.c.clock_offset,
            or_(charges.c.leased_until.is_(None), charges.c.leased_until < wall),
            or_(charges.c.status != ChargeStatus.OPEN, ~in_flight),
            *which,
        )
        .order_by(charges.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True, of=charges)
    )
    keys = [ChargeKey(*row) for row in tx.execute(due)]
    for key in keys:
        tx.execute(update(charges).where(*is_charge(key)).values(leased_until=wall + LEASE))
    return keys


def is_charge(key: ChargeKey) -> tuple[Any, ...]:
    return charges.c.customer_id == key.customer_id, charges.c.charge_id == key.charge_id


def find_one(tx: Connection, key: ChargeKey) -> Charge | None:
    row = tx.execute(select(charges).where(*is_charge(key))).mappings().first()
    return Charge(**row) if row else None


def read_charge(tx: Connection, key: ChargeKey) -> Charge:
    """Of a charge that is there."""
    found = find_one(tx, key)
    assert found is not None  # noqa: S101 - charges are never removed
    return found


def find_by_id(tx: Connection, charge_id: str) -> ChargeKey | None:
    row = tx.execute(
        select(charges.c.customer_id, charges.c.charge_id).where(charges.c.charge_id == charge_id)
    ).first()
    return ChargeKey(*row) if row else None


def find_charge(tx: Connection, payment_intent: str, charge_id: str | None) -> ChargeKey | None:
    """The charge of ours that this payment intent is for: by its id, else by what it says."""
    by_intent = charges.c.payment_intent == payment_intent
    rows = tx.execute(
        select(charges.c.customer_id, charges.c.charge_id)
        .where(or_(by_intent, charges.c.charge_id == charge_id))
        .order_by(by_intent.desc().nulls_last())
    )
    row = rows.first()
    return ChargeKey(*row) if row else None


def ask_soon(tx: Connection, key: ChargeKey, now: datetime) -> None:
    """Something has changed at Stripe: don't wait for the pause to end."""
    tx.execute(
        update(charges)
        .where(*is_charge(key), charges.c.status.in_(ASKED_BY_ITSELF), charges.c.waits > 0)
        .values(due_at=now)
    )


def status_of(tx: Connection, key: ChargeKey) -> ChargeStatus:
    return ChargeStatus(tx.execute(select(charges.c.status).where(*is_charge(key))).scalar_one())


def has_payment(tx: Connection, customer_id: str, payment_intent: str) -> bool:
    """Whether this payment is in the ledger, for a charge or unapplied."""
    found = select(transfers.c.seq).where(
        transfers.c.customer_id == customer_id,
        transfers.c.kind.in_(("pay", "unapplied_in")),
        transfers.c.source_key == payment_intent,
    )
    return tx.scalar(found.limit(1)) is not None


def standing_lines(tx: Connection, key: ChargeKey) -> list[Line]:
    rows = tx.execute(
        select(charge_lines).where(
            charge_lines.c.customer_id == key.customer_id,
            charge_lines.c.charge_id == key.charge_id,
            charge_lines.c.removed_at.is_(None),
        )
    )
    return [Line(**row) for row in rows.mappings()]


def fixes_on(tx: Connection, lines: Iterable[Line]) -> list[Fix]:
    keys = {(line.customer_id, line.fix_id) for line in lines}
    return list(bulk.find(tx, fixes, Fix, FIX, keys))


def attempted_since(tx: Connection, since: datetime, customer_id: str | None = None) -> Tally:
    """What was attempted since then, of one customer or of all."""
    amount = attempts.c.parameters["amount"].astext.cast(BigInteger)
    sums = select(func.coalesce(func.sum(amount), 0), func.count()).where(
        attempts.c.started_at > since
    )
    if customer_id is not None:
        sums = sums.where(attempts.c.customer_id == customer_id)
    total, number = tx.execute(sums).one()
    return Tally(int(total), number)


def count_parked(engine: Engine) -> int:
    parked = select(func.count()).select_from(charges).where(charges.c.status == "parked")
    with engine.begin() as tx:
        return tx.scalar(parked) or 0


def oldest_unanswered(engine: Engine) -> datetime | None:
    """When the oldest attempt whose outcome is not known was begun; wall time."""
    oldest = select(func.min(attempts.c.started_at)).where(attempts.c.answered_at.is_(None))
    with engine.begin() as tx:
        started_at: datetime | None = tx.scalar(oldest)
    return started_at


def lease_charge(tx: Connection, key: ChargeKey, wall: datetime) -> bool:
    """Lease this one, for a caller who cannot wait for the sweep; False: someone is at it."""
    free = or_(charges.c.leased_until.is_(None), charges.c.leased_until < wall)
    leased = update(charges).where(*is_charge(key), free).values(leased_until=wall + LEASE)
    return tx.execute(leased.returning(charges.c.charge_id)).first() is not None


def end_lease(tx: Connection, key: ChargeKey) -> None:
    tx.execute(update(charges).where(*is_charge(key)).values(leased_until=None))


def attempt_under_way(tx: Connection, key: ChargeKey) -> Attempt | None:
    """The attempt whose outcome is not known yet."""
    row = tx.execute(
        select(*ATTEMPT).where(
            attempts.c.customer_id == key.customer_id,
            attempts.c.charge_id == key.charge_id,
            attempts.c.answered_at.is_(None),
        )
    ).first()
    return Attempt(*row)._replace(resumed=True) if row else None


def newest_attempt(tx: Connection, key: ChargeKey) -> Attempt | None:
    row = tx.execute(
        select(*ATTEMPT)
        .where(attempts.c.customer_id == key.customer_id, attempts.c.charge_id == key.charge_id)
        .order_by(attempts.c.number.desc())
        .limit(1)
    ).first()
    return Attempt(*row)._replace(resumed=True) if row else None


def add_attempt(tx: Connection, attempt: Attempt) -> Attempt:
    tx.execute(insert(attempts).values({name: getattr(attempt, name) for name in STORED}))
    return attempt


def save_intent(
    tx: Connection, attempt: Attempt, payment_intent: str, charge_before: str | None
) -> bool:
    """From here on a lost reply is answered by asking for this intent.

    False: the charge went on without this attempt, so its intent is not to be confirmed.
    """
    tx.execute(
        select(books.c.seq).where(books.c.customer_id == attempt.customer_id).with_for_update()
    )
    first = or_(charges.c.payment_intent.is_(None), charges.c.payment_intent == payment_intent)
    saved = (
        update(charges)
        .where(
            *is_charge(ChargeKey(attempt.customer_id, attempt.charge_id)),
            charges.c.status == ChargeStatus.FROZEN,
            first,
        )
        .values(payment_intent=payment_intent)
        .returning(charges.c.charge_id)
    )
    if tx.execute(saved).first() is None:
        return False
    tx.execute(
        update(attempts)
        .where(attempts.c.attempt_id == attempt.attempt_id)
        .values(payment_intent=payment_intent, charge_before=charge_before or "")
    )
    return True


def note_answer(
    tx: Connection, attempt: Attempt, answer: Answer, answered_at: datetime | None
) -> None:
    """What Stripe said last; without a time the attempt is still under way."""
    tx.execute(
        update(attempts)
        .where(attempts.c.attempt_id == attempt.attempt_id)
        .values(
            answer=answer.kind if answered_at else None,
            code=answer.code,
            message=answer.message,
            answered_at=answered_at,
            payment_intent=answer.payment_intent or attempts.c.payment_intent,
        )
    )
