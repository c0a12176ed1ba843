"""A ledger in which everything has happened once, copied for every test that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

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
from worker.clock import Clock
from worker.collect import freeze, record
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.engine import WORKER
from worker.stripe_gateway import StripeGateway


@pytest.fixture(scope="module")
def busy_template(databases: Databases) -> Iterator[Database]:
    """acme has charges paid and open, credits and reverts, globex a bit, umbrella a held fix."""
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
    add_customer(engine, "umbrella", card=False)
    settle_events(engine, deployed("u-1", "umbrella"))
    add_customer(engine, "acme", spending_cap=4 * 2900)
    early = [deployed(name, at=NOW - 2 * HOUR) for name in ("paid-1", "paid-2")]
    settle_events(engine, *early, now=NOW - HOUR)
    pay(engine)
    settle_events(engine, deployed("owed-1"), deployed("owed-2", repository="acme/api"))
    settle_events(engine, deployed("held-1"), deployed("held-2"))
    give_credits(engine, "acme", 3, "gift", expires_at=NOW + 30 * DAY, now=NOW)
    settle_events(
        engine, deployed("new", at=NOW - 2 * HOUR), reverted("held-1"), reverted("unseen")
    )


def pay(engine: Engine) -> None:
    """The open charge is collected, as far as the books know."""
    owed = one_row(engine, tables.charges, customer_id="acme")
    key, clock = ChargeKey("acme", owed["charge_id"]), Clock(NOW - datetime.now(UTC))
    freeze(key, engine, StripeGateway("sk_test_nobody"), clock)
    money = usd(2 * 29)
    record(key, Answer(AnswerKind.SUCCEEDED, "pi_paid", money, "cus_acme"), engine, clock)
