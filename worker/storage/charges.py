"""Charges that fall due, and the attempts to collect them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, exists, func, insert, literal, or_, select, update

from worker.billing.answers import Answer
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus
from worker.storage.books import charge_from
from worker.storage.tables import attempts, books, charges

# Longer than the slowest collection: three calls to Stripe with their time-outs and retries.
LEASE = timedelta(minutes=5)


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
    resumed: bool = False  # it may have been sent already


STORED = Attempt._fields[:-1]
ATTEMPT = [attempts.c[name] for name in STORED]


def claim_due_charges(tx: Connection, now: datetime, wall: datetime, limit: int) -> list[ChargeKey]:
    """Lease charges that are due. An open one waits while another of its customer is in flight."""
    other = charges.alias()
    in_flight = exists().where(
        other.c.customer_id == charges.c.customer_id, other.c.status.in_(IN_FLIGHT)
    )
    due = (
        select(charges.c.customer_id, charges.c.charge_id)
        .join(books, books.c.customer_id == charges.c.customer_id)
        .where(
            charges.c.due_at <= literal(now) + books.c.clock_offset,
            or_(charges.c.leased_until.is_(None), charges.c.leased_until < wall),
            or_(charges.c.status != ChargeStatus.OPEN, ~in_flight),
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


def read_charge(tx: Connection, key: ChargeKey) -> Charge:
    row = tx.execute(select(charges).where(*is_charge(key))).mappings().one()
    return charge_from(dict(row))


def find_charge(
    tx: Connection, payment_intent: str | None, charge_id: str | None
) -> ChargeKey | None:
    """The charge of ours that this payment intent is for."""
    if payment_intent is None:
        return None
    row = tx.execute(
        select(charges.c.customer_id, charges.c.charge_id).where(
            or_(charges.c.payment_intent == payment_intent, charges.c.charge_id == charge_id)
        )
    ).first()
    return ChargeKey(*row) if row else None


def count_parked(engine: Engine) -> int:
    parked = select(func.count()).select_from(charges).where(charges.c.status == "parked")
    with engine.begin() as tx:
        return tx.scalar(parked) or 0


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


def last_number(tx: Connection, key: ChargeKey) -> int:
    numbers = select(attempts.c.number).where(
        attempts.c.customer_id == key.customer_id, attempts.c.charge_id == key.charge_id
    )
    return tx.scalar(numbers.order_by(attempts.c.number.desc()).limit(1)) or 0


def add_attempt(tx: Connection, attempt: Attempt) -> None:
    tx.execute(insert(attempts).values({name: getattr(attempt, name) for name in STORED}))


def save_intent(
    tx: Connection, attempt: Attempt, payment_intent: str, charge_before: str | None
) -> None:
    """From here on a lost reply is answered by asking for this intent."""
    saved = {"payment_intent": payment_intent, "charge_before": charge_before or ""}
    tx.execute(update(attempts).where(attempts.c.attempt_id == attempt.attempt_id).values(saved))
    key = ChargeKey(attempt.customer_id, attempt.charge_id)
    tx.execute(update(charges).where(*is_charge(key)).values(payment_intent=payment_intent))


def answer_attempt(tx: Connection, attempt: Attempt, answer: Answer, wall: datetime) -> None:
    tx.execute(
        update(attempts)
        .where(attempts.c.attempt_id == attempt.attempt_id)
        .values(
            answer=answer.kind,
            code=answer.code,
            message=answer.message,
            answered_at=wall,
            payment_intent=answer.payment_intent or attempts.c.payment_intent,
        )
    )
