"""The gauges that tell of collecting: each counts what waits for a person, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from redis import Redis
from sqlalchemy import update

from tests.builders import HOUR, NOW, add_customer
from tests.collecting import Case
from worker.billing.drift import Drift, DriftKind
from worker.clock import Clock
from worker.collect import freeze
from worker.due import Tools
from worker.gauges import GAUGES
from worker.leave import cancel_customer
from worker.storage import tables
from worker.storage.collecting import switch
from worker.storage.drifts import park_drifts, resolve_drift
from worker.stripe_gateway import StripeGateway


@pytest.fixture
def tools(case: Case, redis: Redis, stripe: StripeGateway, clock: Clock) -> Tools:
    return Tools(case.engine, redis, stripe, clock)


def read(name: str, tools: Tools) -> float:
    (gauge,) = (each for each in GAUGES if each.name == name)
    return gauge.read(tools)


def test_where_nothing_waits_every_gauge_is_0(tools: Tools) -> None:
    assert {gauge.name: gauge.read(tools) for gauge in GAUGES} == {
        gauge.name: 0 for gauge in GAUGES
    }


def test_parked_customers_are_counted_without_those_who_left(tools: Tools) -> None:
    for name in ("globex", "initech"):
        add_customer(tools.engine, name, parked_at=NOW, parked_why="circuit breaker: too much")
    cancel_customer("acme", tools.engine, tools.stripe, tools.clock)

    assert read("fixbill.customers.parked", tools) == 2


def test_the_red_switch_is_1_while_it_is_off(tools: Tools) -> None:
    with tools.engine.begin() as tx:
        switch(tx, stopped_at=NOW, why="a test")
    stopped = read("fixbill.collecting.stopped", tools)
    with tools.engine.begin() as tx:
        switch(tx, started_at=NOW)

    assert (stopped, read("fixbill.collecting.stopped", tools)) == (1, 0)


def test_drifts_are_counted_until_they_are_resolved(tools: Tools) -> None:
    found = [Drift(DriftKind.STRANGER, f"pi_{number}", None, {}) for number in (1, 2, 3)]
    with tools.engine.begin() as tx:
        park_drifts(tx, found, NOW)
        resolve_drift(tx, found[0], NOW)

    assert read("fixbill.drifts.parked", tools) == 2


def test_disputes_are_counted_while_the_bank_waits_for_our_side(
    tools: Tools, owing: Callable[..., Case]
) -> None:
    case = owing(customer_id="globex")
    case.collect()
    dispute = case.dispute_at_stripe()
    case.hear(*case.events("charge.dispute.created"))
    before = read("fixbill.disputes.unanswered", tools)

    case.decide_dispute(dispute, "winning_evidence")
    case.hear(*case.events("charge.dispute.updated", "charge.dispute.closed"))

    assert (before, read("fixbill.disputes.unanswered", tools)) == (1, 0)


def test_the_oldest_attempt_without_an_answer_tells_its_age(tools: Tools, case: Case) -> None:
    assert freeze(case.key, case.engine, case.gateway, case.clock) is not None
    with tools.engine.begin() as tx:
        tx.execute(update(tables.attempts).values(started_at=tools.clock.wall() - HOUR))

    age = read("fixbill.attempts.oldest.age", tools)
    case.collect()

    assert HOUR.total_seconds() <= age < 2 * HOUR.total_seconds()
    assert case.charge["status"] == "paid"
    assert read("fixbill.attempts.oldest.age", tools) == 0
