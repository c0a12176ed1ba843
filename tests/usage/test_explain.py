"""Every fix and every charge of a random history is explained to the cent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.stack import Databases, connected
from tests.usage.explaining import assert_explained
from tests.usage.histories import (
    Collect,
    Decide,
    Deploy,
    Dispute,
    Fail,
    Return,
    ReturnFix,
    Revert,
    Stray,
    Withdraw,
    WriteOff,
    begin,
    histories,
)
from worker.billing.answers import AnswerKind
from worker.storage.engine import WORKER

PAID, DECLINED = Collect(AnswerKind.SUCCEEDED), Collect(AnswerKind.DECLINED)
customers = count(1)


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[Engine]:
    """One database: every history has a customer of its own."""
    with databases.fresh() as one, connected(one.worker_url, WORKER) as engine:
        yield engine


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(credits=st.sampled_from([0, 0, 1, 3]), steps=histories())
@example(credits=0, steps=[Deploy(3, True), PAID, Return(0, 33, more=1), Dispute(33), ReturnFix(0)])
@example(credits=0, steps=[Deploy(2, False), PAID, Revert(0), Return(0, 100), Fail()])
@example(credits=0, steps=[Stray(1000), Deploy(3, False), DECLINED, Revert(0), Withdraw(True)])
@example(credits=0, steps=[Stray(1000), Deploy(3, False), DECLINED, Revert(0), Withdraw(False)])
@example(credits=0, steps=[Deploy(3, False), PAID, Dispute(100), Decide("lost"), Revert(1)])
@example(credits=0, steps=[Deploy(2, False), DECLINED, WriteOff(), Withdraw(False), Revert(0)])
def test_every_fix_and_charge_of_a_history_is_explained_to_the_cent(
    shared: Engine, credits: int, steps: list[Any]
) -> None:
    world = begin(shared, f"customer-{next(customers)}", credits)

    for step in steps:
        step.take(world)

    assert_explained(shared, world.customer_id)
