"""An answer that comes when its attempt is long over: the books keep what they know."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.builders import DAY, NOW, add_customer, attempt, charge, one_row, rows_of, usd
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import ChargeStatus
from worker.clock import Clock
from worker.collect import record
from worker.storage import bulk, tables
from worker.storage.charges import ChargeKey, add_attempt, claim_due_charges, note_answer

S, K = ChargeStatus, AnswerKind
KEY = ChargeKey("acme", "ch_acme")
ASKED = {"amount": 2900, "currency": "usd", "customer": "cus_acme"}
LATE = sorted({*K} - {K.SUCCEEDED, K.OUR_BUG})


def answered(engine: Engine, status: ChargeStatus, kind: AnswerKind) -> None:
    """acme's charge stands so, after this answer to its only attempt."""
    add_customer(engine, receivable=2900, revenue=-2900)
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, [charge(2900, status, due_at=None, payment_intent="pi_1")])
        add_attempt(tx, attempt(parameters=ASKED))
        note_answer(tx, attempt(), Answer(kind, "pi_1"), NOW)


@pytest.mark.parametrize(
    ("status", "was"),
    [
        (S.PARKED, K.OUR_BUG),
        (S.ACTION_REQUIRED, K.NEEDS_CUSTOMER),
        (S.DECLINED, K.DECLINED),
    ],
)
@pytest.mark.parametrize("kind", LATE)
def test_late_news_changes_nothing_and_makes_nothing_due(
    engine: Engine, clock: Clock, status: ChargeStatus, was: AnswerKind, kind: AnswerKind
) -> None:
    answered(engine, status, was)
    before = rows_of(engine, tables.charges), rows_of(engine, tables.attempts)

    after = record(KEY, Answer(kind, "pi_1", usd(29), "cus_acme"), engine, clock)

    assert after is status
    assert (rows_of(engine, tables.charges), rows_of(engine, tables.attempts)) == before
    assert not one_row(engine, tables.books)["past_due"]
    with engine.begin() as tx:
        assert claim_due_charges(tx, NOW + 400 * DAY, clock.wall(), 10) == []
