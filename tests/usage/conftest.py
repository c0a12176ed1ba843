"""A ledger in which everything has happened once, copied for every test that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from schemas.money import Money
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    add_customer,
    deployed,
    give_credits,
    one_row,
    reverted,
    settle_events,
    usd,
)
from tests.stack import Database, Databases, connected
from worker.billing.answers import Answer, AnswerKind
from worker.billing.payments import book_unapplied
from worker.billing.stripe_objects import StripeDispute, StripeRefund
from worker.clock import Clock
from worker.collect import freeze, record
from worker.customers import open_book
from worker.dispute import record_dispute
from worker.refund import record_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.engine import WORKER
from worker.storage.post import post
from worker.storage.refunds import Payer
from worker.stripe_gateway import StripeGateway

CLOCK = Clock(NOW - datetime.now(UTC))


@pytest.fixture(scope="module")
def busy_template(databases: Databases) -> Iterator[Database]:
    """acme has charges paid and open, credits and reverts, globex a bit, umbrella a held fix.

    hooli's money has gone every way it can.
    """
    with databases.fresh() as one:
        with connected(one.worker_url, WORKER) as engine:
            fill(engine)
        yield one


@pytest.fixture
def database(databases: Databases, busy_template: Database) -> Iterator[Database]:
    """In place of the empty one: the engines of these tests log in to a copy of the ledger."""
    with databases.fresh(template=busy_template.name) as one:
        yield one


def fill(engine: Engine) -> None:
    add_customer(engine, "globex", plan="pro", credits=1)
    settle_events(engine, deployed("g-1", "globex"), deployed("g-2", "globex"))
    add_customer(engine, "hooli")
    move_money_back(engine)
    add_customer(engine, "umbrella", card=False)
    settle_events(engine, deployed("u-1", "umbrella"))
    add_customer(engine, "acme", spending_cap=4 * 2900)
    early = [deployed(name, at=NOW - 2 * HOUR) for name in ("paid-1", "paid-2")]
    settle_events(engine, *early, now=NOW - HOUR)
    pay(engine, ask_card(engine, "acme"), "pi_paid", usd(58))
    settle_events(engine, deployed("owed-1"), deployed("owed-2", repository="acme/api"))
    settle_events(engine, deployed("held-1"), deployed("held-2"))
    give_credits(engine, "acme", 3, "gift", expires_at=NOW + 30 * DAY, now=NOW)
    settle_events(
        engine, deployed("new", at=NOW - 2 * HOUR), reverted("held-1"), reverted("unseen")
    )


def ask_card(engine: Engine, customer_id: str) -> ChargeKey:
    """The open charge is frozen, as far as the books know."""
    owed = one_row(engine, tables.charges, customer_id=customer_id, status="open")
    key = ChargeKey(customer_id, owed["charge_id"])
    freeze(key, engine, StripeGateway("sk_test_nobody"), CLOCK)
    return key


def pay(engine: Engine, key: ChargeKey, payment_intent: str, money: Money) -> None:
    """Stripe says that the card has paid."""
    paid = Answer(AnswerKind.SUCCEEDED, payment_intent, money, f"cus_{key.customer_id}")
    record(key, paid, engine, CLOCK)


def move_money_back(engine: Engine) -> None:
    """hooli: money that nobody explains, and its use; a line that left; a refund; a dispute."""
    with engine.begin() as tx:
        journal, book = open_book(tx, "hooli", CLOCK)
        book_unapplied(journal, book, 1000, "pi_stray")
        post(tx, journal)
    settle_events(engine, *(deployed(f"h-{number}", "hooli") for number in (1, 2, 3)))
    key = ask_card(engine, "hooli")
    settle_events(engine, reverted("h-3", "hooli"))
    pay(engine, key, "pi_hooli", usd(77))
    payer = Payer(*key)
    returned = StripeRefund("re_hooli", "pi_hooli", usd(30), "succeeded", None, None, NOW)
    record_refund(payer, None, returned, engine, CLOCK)
    taken = StripeDispute("du_hooli", "pi_hooli", usd(40), "lost", "fraudulent", NOW)
    record_dispute(payer, taken, engine, CLOCK)
