from __future__ import annotations

from collections import Counter

from sqlalchemy import Engine, update

from tests.builders import attempt, one_row, usd
from worker.storage import tables
from worker.storage.charges import add_attempt
from worker.usage.history import ChargeLine, FixLine, list_charges, list_fixes


def test_fixes_of_a_customer_are_listed_by_when_they_were_deployed(engine: Engine) -> None:
    with engine.begin() as tx:
        found = list_fixes(tx, "acme")

    listed = {each.fix_id: (each.outcome, each.price) for each in found}
    assert [each.fix_id for each in found][:3] == ["new", "paid-1", "paid-2"]
    assert listed["paid-1"] == ("charged", usd(29))
    assert listed["held-2"] == ("credited", None)
    assert listed["unseen"] == ("reverted", None)
    assert {each.customer_id for each in found} == {"acme"}


def test_a_listed_fix_says_what_it_was_and_why_it_is_held(engine: Engine) -> None:
    with engine.begin() as tx:
        found = list_fixes(tx, "umbrella")

    assert found == [
        FixLine("umbrella", "u-1", "held", None, "acme/shop", None, None, "no payment method")
    ]


def test_without_a_customer_everybodys_are_listed(engine: Engine) -> None:
    with engine.begin() as tx:
        fixes, charges = list_fixes(tx), list_charges(tx)

    counts = Counter(each.customer_id for each in fixes)
    assert counts == {"acme": 8, "globex": 2, "hooli": 3, "umbrella": 1}
    assert [each.customer_id for each in fixes] == sorted(counts.elements())
    assert [each.customer_id for each in charges] == ["acme", "acme", "globex", "hooli"]


def test_charges_are_listed_with_the_payment_that_collected_them(engine: Engine) -> None:
    with engine.begin() as tx:
        paid, owed = list_charges(tx, "acme")

    assert (paid.status, paid.amount, paid.payment_intent) == ("paid", usd(58), "pi_paid")
    assert owed == ChargeLine(owed.charge_id, "acme", "open", usd(58), None, None)


def test_a_listed_charge_says_why_its_last_try_failed(engine: Engine) -> None:
    owed = one_row(engine, tables.charges, customer_id="acme", status="open")
    with engine.begin() as tx:
        for number, code in enumerate(["lost_card", "insufficient_funds"], start=1):
            one = attempt(number, charge_id=owed["charge_id"])
            add_attempt(tx, one)
            tx.execute(
                update(tables.attempts)
                .where(tables.attempts.c.attempt_id == one.attempt_id)
                .values(answer="declined", code=code, answered_at=one.started_at)
            )

    with engine.begin() as tx:
        _, found = list_charges(tx, "acme")

    assert found.decline == "insufficient_funds"


def test_of_a_customer_nobody_knows_nothing_is_listed(engine: Engine) -> None:
    with engine.begin() as tx:
        found = (list_fixes(tx, "stranger"), list_charges(tx, "stranger"))

    assert found == ([], [])
