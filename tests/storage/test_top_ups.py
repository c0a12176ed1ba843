from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.builders import HOUR, MINUTE, NOW, add_customer
from tests.buying import top_up
from tests.storage.refusals import CHECK, FOREIGN, NULL, UNIQUE, inserted, refusal
from worker.billing.top_ups import TRANSITIONS, TopUp, TopUpStatus
from worker.storage.top_ups import (
    LEASE,
    TopUpKey,
    add_top_up,
    claim_due_top_ups,
    find_top_up,
    keep_intent,
    save_top_up,
    top_up_paid_by,
)

S = TopUpStatus
KEY = TopUpKey("acme", "key-1")
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def acme(engine: Engine) -> None:
    add_customer(engine)


def add(engine: Engine, *some: TopUp) -> None:
    with engine.begin() as tx:
        for each in some:
            add_top_up(tx, each)


def found(engine: Engine, key: TopUpKey = KEY) -> TopUp | None:
    with engine.begin() as tx:
        return find_top_up(tx, key)


def claimed(engine: Engine, after: timedelta = timedelta(0), limit: int = 10) -> list[str]:
    with engine.begin() as tx:
        return [key.top_up_id for key in claim_due_top_ups(tx, NOW + after, limit)]


def test_what_is_written_down_is_read_back(engine: Engine) -> None:
    kept = top_up(leased_until=NOW + HOUR, tries=2, message="no money")
    add(engine, kept)

    assert found(engine) == kept
    assert found(engine, TopUpKey("acme", "key-2")) is None
    assert found(engine, TopUpKey("globex", "key-1")) is None


def test_a_top_up_is_found_by_what_paid_it(engine: Engine) -> None:
    add(engine, top_up(), top_up(top_up_id="key-2", payment_intent=None))

    with engine.begin() as tx:
        assert top_up_paid_by(tx, "pi_1") == top_up()
        assert top_up_paid_by(tx, "pi_2") is None
        assert top_up_paid_by(tx, "") is None


def test_saving_one_leaves_the_others(engine: Engine) -> None:
    other = top_up(top_up_id="key-2", payment_intent=None)
    add(engine, top_up(), other)

    with engine.begin() as tx:
        save_top_up(tx, top_up(S.PAID))

    assert found(engine) == top_up(S.PAID)
    assert found(engine, TopUpKey("acme", "key-2")) == other


def test_the_first_intent_is_kept_and_nothing_else_is_changed(engine: Engine) -> None:
    add(engine, top_up(payment_intent=None))

    with engine.begin() as tx:
        kept = [keep_intent(tx, KEY, intent) for intent in ("pi_1", "pi_2")]

    assert kept == ["pi_1", "pi_1"]
    assert found(engine) == top_up()


# What is due.


def test_what_is_due_is_leased_to_one_at_a_time(engine: Engine) -> None:
    add(engine, top_up())

    assert claimed(engine) == ["key-1"]
    assert claimed(engine) == []
    assert claimed(engine, LEASE) == []
    assert claimed(engine, LEASE + SECOND) == ["key-1"]


def test_the_oldest_is_taken_first(engine: Engine) -> None:
    ages = {"young": 1, "old": 3, "middle": 2}
    add(
        engine,
        *(
            top_up(top_up_id=key, due_at=NOW - age * MINUTE, payment_intent=None)
            for key, age in ages.items()
        ),
    )

    assert claimed(engine, limit=2) == ["old", "middle"]
    assert claimed(engine, limit=2) == ["young"]


@pytest.mark.parametrize(
    "not_due",
    [
        top_up(due_at=NOW + SECOND),
        top_up(leased_until=NOW + SECOND),
        top_up(S.PAID),
        top_up(S.DECLINED),
    ],
    ids=["waits", "is under way", "is paid", "is declined"],
)
def test_what_waits_or_is_over_is_not_due(engine: Engine, not_due: TopUp) -> None:
    add(engine, not_due)

    assert claimed(engine) == []


def test_what_somebody_else_is_taking_is_left_to_them(engine: Engine) -> None:
    add(engine, top_up())

    with engine.begin() as tx:
        assert claim_due_top_ups(tx, NOW, 10) == [KEY]
        assert claimed(engine) == []


# What Postgres takes.


def row(status: str = S.REQUESTED, **changed: str) -> str:
    values = {
        "customer_id": "'acme'",
        "top_up_id": "'key-1'",
        "credits": "3",
        "amount": "8700",
        "currency": "'usd'",
        "status": f"'{status}'",
        "requested_at": "now()",
        "due_at": "now()" if status is S.REQUESTED else "NULL",
        "payment_intent": "'pi_1'",
    }
    return inserted("top_ups", values | changed)


def turned(status: TopUpStatus) -> str:
    due = "now()" if status is S.REQUESTED else "NULL"
    return f"UPDATE top_ups SET status = '{status}', due_at = {due}"


@pytest.mark.parametrize(("old", "new"), [(old, new) for old in S for new in S])
def test_a_top_up_moves_on_only_as_the_table_says(
    engine: Engine, old: TopUpStatus, new: TopUpStatus
) -> None:
    expected = "allowed" if new in (old, *TRANSITIONS[old]) else CHECK

    assert refusal(engine, row(old), turned(new)) == expected


REFUSED = {
    "no credits": (row(credits="0"), CHECK),
    "less than none": (row(credits="-1"), CHECK),
    "for nothing": (row(amount="0"), CHECK),
    "tried less than never": (row(tries="-1"), CHECK),
    "a status nobody knows": (row("lost", due_at="NULL"), CHECK),
    "requested and never due": (row(due_at="NULL"), CHECK),
    "paid and still due": (row(S.PAID, due_at="now()"), CHECK),
    "declined and still due": (row(S.DECLINED, due_at="now()"), CHECK),
    "paid by nothing": (row(S.PAID, payment_intent="NULL"), CHECK),
    "without a currency": (row(currency="NULL"), NULL),
    "of nobody": (row(customer_id="'nobody'"), FOREIGN),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_is_refused(engine: Engine, case: str) -> None:
    statement, why = REFUSED[case]

    assert refusal(engine, statement) == why


def test_a_key_is_used_once_per_customer_and_a_payment_buys_once(engine: Engine) -> None:
    add_customer(engine, "globex")
    another_key, another_intent = "'key-2'", "'pi_2'"
    theirs = row(customer_id="'globex'", payment_intent=another_intent)

    assert refusal(engine, row(), row(payment_intent=another_intent)) == UNIQUE
    assert refusal(engine, row(), row(top_up_id=another_key)) == UNIQUE
    assert refusal(engine, row(), theirs) == "allowed"


def test_no_top_up_is_ever_removed(engine: Engine) -> None:
    assert refusal(engine, row(), "DELETE FROM top_ups") != "allowed"
