"""One database with something in every table, for tests that change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from schemas.events import derived_fix_id
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    add_customer,
    attempt,
    charge,
    deployed,
    dispute,
    entry,
    refund,
    settle_entries,
    settle_events,
)
from tests.stack import Databases, connected
from worker.billing.charges import ChargeStatus, Line
from worker.billing.disputes import Funds
from worker.storage import bulk, tables
from worker.storage.charges import add_attempt
from worker.storage.engine import API, WORKER
from worker.storage.parked import park
from worker.storage.refunds import add_refund, save_dispute

DERIVED = derived_fix_id("github.com", 42, 7)


@dataclass(frozen=True)
class Ledger:
    """The same rows, as each role may see them."""

    owner: Engine
    worker: Engine
    api: Engine


@pytest.fixture(scope="module")
def ledger(databases: Databases) -> Iterator[Ledger]:
    """acme and globex, each with a credited, a charged and a held fix."""
    with (
        databases.fresh() as database,
        connected(database.owner_url, None) as owner,
        connected(database.worker_url, WORKER) as worker,
        connected(database.api_url, API) as api,
    ):
        fill(worker, owner)
        yield Ledger(owner, worker, api)


def fill(engine: Engine, owner: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id, credits=1, spending_cap=2900)
        names = ("credited", DERIVED if customer_id == "acme" else "charged", "held")
        settle_events(engine, *(deployed(name, customer_id) for name in names))
        settle_events(engine, deployed("future", customer_id, at=NOW + HOUR))
        add_frozen_charge(owner, customer_id)
        add_money_back(engine, customer_id)
        add_subscription(engine, customer_id)
        add_statement(engine, customer_id)
    settle_events(engine, deployed("early", "stranger"))
    settle_entries(engine, [entry(b"not an event")])
    with engine.begin() as tx:
        for customer_id in ("acme", "globex"):
            park(tx, customer_id, entry(deployed("parked", customer_id)))
            tx.execute(
                insert(tables.contests).values(
                    customer_id=customer_id,
                    contest_id=f"con_{customer_id}",
                    fix_id="credited",
                    reason="it was never merged",
                    opened_at=NOW,
                )
            )


def add_frozen_charge(owner: Engine, customer_id: str) -> None:
    frozen = charge(
        1000,
        ChargeStatus.FROZEN,
        customer_id=customer_id,
        charge_id=f"ch_frozen_{customer_id}",
        due_at=None,
    )
    paid = charge(
        2000, ChargeStatus.PAID, customer_id=customer_id, charge_id=f"ch_paid_{customer_id}"
    )
    line = Line(customer_id, frozen.charge_id, "of-the-frozen-charge", 1000, NOW)
    # A frozen charge takes no line, so the owner puts it there with the triggers asleep.
    with owner.begin() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        bulk.append(tx, tables.charges, [frozen, paid])
        bulk.append(tx, tables.charge_lines, [line])
        add_attempt(tx, attempt(customer_id=customer_id, charge_id=frozen.charge_id))


def add_money_back(engine: Engine, customer_id: str) -> None:
    """A refund and a dispute of the charge that is paid."""
    payment: dict[str, Any] = {
        "customer_id": customer_id,
        "charge_id": f"ch_paid_{customer_id}",
        "payment_intent": f"pi_ch_paid_{customer_id}",
    }
    with engine.begin() as tx:
        add_refund(tx, refund(100, **payment))
        save_dispute(tx, dispute(1900, Funds.WITHDRAWN, **payment))


def add_subscription(engine: Engine, customer_id: str) -> None:
    month = {"period_start": NOW, "period_end": NOW + 30 * DAY, "recorded_at": NOW}
    of = {"customer_id": customer_id, "subscription_id": f"sub_{customer_id}"}
    standing = {"status": "active", "cancel_at_period_end": False, "anchor": NOW}
    paid = {"invoice_id": f"in_{customer_id}", "status": "paid", "amount": 100, "currency": "usd"}
    with engine.begin() as tx:
        tx.execute(insert(tables.subscriptions).values(of | standing | month))
        tx.execute(insert(tables.invoices).values(of | paid | month))


def add_statement(engine: Engine, customer_id: str) -> None:
    row = {"customer_id": customer_id, "number": 1, "body": {}, "recorded_at": NOW}
    with engine.begin() as tx:
        tx.execute(insert(tables.statements).values(row))
