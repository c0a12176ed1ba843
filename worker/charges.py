"""What an operator does to a charge by hand: try it again, or give it up."""

from __future__ import annotations

from sqlalchemy import Connection, Engine

from worker.billing.charges import ChargeStatus, Why
from worker.billing.payments import give_up, try_at_once, unpark, withdraw
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.charges import ChargeKey, find_by_id, lease_charge, newest_attempt
from worker.storage.post import post


class ChargeProblem(ValueError):
    """What was asked for cannot be done to this charge; the message says why."""


def charge_named(charge_id: str, engine: Engine) -> ChargeKey:
    """Raises ChargeProblem."""
    with engine.begin() as tx:
        key = find_by_id(tx, charge_id)
    if key is None:
        raise ChargeProblem(f"there is no charge {charge_id}; `fixbill charges list` names them")
    return key


def retry_charge(key: ChargeKey, engine: Engine, clock: Clock) -> None:
    """One attempt now, beside the schedule and at no cost to it, leased to the caller.

    Raises ChargeProblem.
    """
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = book.unpaid_charge(key.charge_id)
        if charge is not None and charge.status is ChargeStatus.PARKED:
            newest = newest_attempt(tx, key)
            unpark(journal, book, charge, newest.answer if newest else None)
        elif charge is None or not try_at_once(journal, book, charge, Why.OPERATOR):
            status = charge.status if charge else "paid or void"
            raise ChargeProblem(f"charge {key.charge_id} is {status}: there is nothing to retry")
        post(tx, journal)
        take_turn(tx, key, clock)


def write_off_charge(key: ChargeKey, engine: Engine, clock: Clock) -> ChargeStatus:
    """Give up what is owed; a charge in flight is to be cancelled at Stripe first.

    It is leased to the caller then. Raises ChargeProblem.
    """
    with engine.begin() as tx:
        journal, book = open_book(tx, key.customer_id, clock)
        charge = book.unpaid_charge(key.charge_id)
        if charge is None:
            raise ChargeProblem(f"charge {key.charge_id} is paid or void: nothing is owed on it")
        if charge.status is ChargeStatus.OPEN:
            give_up(journal, book, charge)
        else:
            charge.write_off = True
            withdraw(journal, book, charge)
            take_turn(tx, key, clock)
        post(tx, journal)
        return charge.status


def take_turn(tx: Connection, key: ChargeKey, clock: Clock) -> None:
    """Two at once could each create an intent."""
    if not lease_charge(tx, key, clock.wall()):
        raise ChargeProblem(f"charge {key.charge_id} is being collected; try again in a minute")
