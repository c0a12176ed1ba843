"""The part of the ledger that is one cycle's, and the statements that were written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from tests.builders import (
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    give_credits,
    one_row,
    reverted,
    rows_of,
    settle_events,
)
from tests.stating import (
    APRIL_CLOSED,
    MARCH_CLOSED,
    as_it_stands,
    close_march,
    pass_time,
    stated,
    write_statements,
)
from worker.billing.cycles import CycleStatus
from worker.storage import tables
from worker.storage.cycles import unstated_cycles
from worker.storage.statements import (
    CycleKey,
    CycleLedger,
    Fixed,
    Granted,
    Moved,
    add_statement,
    ledger_of,
    list_statements,
    read_statement,
    unwritten_cycles,
)

MARCH_OF_ACME = CycleKey("acme", 1)


def ledger(engine: Engine, key: CycleKey = MARCH_OF_ACME) -> CycleLedger:
    with engine.begin() as tx:
        return ledger_of(tx, key)


def test_the_ledger_of_a_cycle_is_counted_by_what_a_reader_asks_for(engine: Engine) -> None:
    add_customer(engine, credits=1)
    fixes = [
        deployed("fix-1", repository="acme/api", at=NOW - timedelta(days=1)),
        deployed("fix-2"),
        deployed("fix-3"),
    ]
    settle_events(engine, *fixes)
    settle_events(engine, reverted("fix-3"))

    found = ledger(engine)

    assert found.moved == [
        Moved("charge", 2, 5800),
        Moved("consume", 1, 1),
        Moved("grant", 1, 1),
        Moved("uncharge", 1, 2900),
    ]
    assert found.granted == [Granted("operator", 1, 1)]
    assert found.repositories == [Fixed("acme/api", 1, 0, 0, 0), Fixed("acme/shop", 0, 2, 1, 2900)]
    assert found.days == [Fixed("2026-03-14", 1, 0, 0, 0), Fixed("2026-03-15", 0, 2, 1, 2900)]
    assert found.plans == [Fixed("payg 2026-01-01", 1, 2, 1, 2900)]
    assert (found.currency, found.status) == ("usd", CycleStatus.OPEN)


def test_transfers_of_two_cycles_that_stand_side_by_side_are_told_apart(engine: Engine) -> None:
    add_customer(engine)
    for number, at in enumerate((MARCH.end - MINUTE, MARCH.end, MARCH.end - MINUTE, MARCH.end)):
        event = deployed(f"fix-{number}", at=at)
        settle_events(engine, event, now=MARCH.end + timedelta(minutes=number + 1))

    march, april = (ledger(engine, CycleKey("acme", number)) for number in (1, 2))

    cycles = [row["cycle"] for row in rows_of(engine, tables.transfers)]
    assert cycles == [1, 2, 1, 2]
    assert march.moved == april.moved == [Moved("charge", 2, 5800)]
    assert [each.name for each in march.days] == ["2026-03-31"]
    assert [each.name for each in april.days] == ["2026-04-01"]


def test_an_operators_grant_that_is_named_like_one_for_a_revert_is_none(engine: Engine) -> None:
    add_customer(engine)
    settle_events(engine, deployed())

    give_credits(engine, "acme", 1, "revert:fix-1", now=NOW)

    assert [each.reverted for each in ledger(engine).repositories] == [0]


def test_one_customers_ledger_holds_nothing_of_another(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    settle_events(engine, deployed(customer_id="globex"))

    assert ledger(engine).moved == []
    assert ledger(engine, CycleKey("globex", 1)).moved == [Moved("charge", 1, 2900)]


# What is written.


def test_a_statement_is_read_as_it_was_written(engine: Engine) -> None:
    add_customer(engine)
    settle_events(engine, deployed())
    pass_time(engine, MARCH_CLOSED)
    written = as_it_stands(engine)

    close_march(engine)

    assert stated(engine) == written
    assert one_row(engine, tables.cycles, number=1)["stated_at"] is not None
    with engine.begin() as tx:
        assert read_statement(tx, CycleKey("acme", 2)) is None
        assert unstated_cycles(tx, 10) == []


def test_what_was_written_stays(engine: Engine) -> None:
    add_customer(engine)
    close_march(engine)
    before = stated(engine)
    other = before.model_copy(update={"plans": ["another"]})

    with engine.begin() as tx:
        again = add_statement(tx, MARCH_OF_ACME, other, NOW)

    assert again is False
    assert stated(engine) == before


def test_nobody_is_told_of_a_cycle_that_is_not_closed(engine: Engine) -> None:
    add_customer(engine)
    pass_time(engine, MARCH.end + HOUR - MINUTE)

    assert write_statements(engine) == []
    assert rows_of(engine, tables.statements) == []


def test_statements_are_written_in_order_of_their_cycles(engine: Engine) -> None:
    add_customer(engine)
    pass_time(engine, APRIL_CLOSED)

    written = write_statements(engine)

    assert written == [CycleKey("acme", 1), CycleKey("acme", 2)]


@pytest.mark.parametrize(
    ("limit", "before", "numbers"),
    [(10, None, [2, 1]), (1, None, [2]), (10, 2, [1]), (10, 1, []), (10, 99, [2, 1])],
)
def test_statements_are_listed_newest_first(
    engine: Engine, limit: int, before: int | None, numbers: list[int]
) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    pass_time(engine, APRIL_CLOSED)
    write_statements(engine)

    with engine.begin() as tx:
        found = list_statements(tx, "acme", limit, before)

    assert [each.number for each in found] == numbers
    for each in found:
        whole = stated(engine, number=each.number)
        assert (each.cycle, each.fixes, each.money) == (whole.cycle, whole.fixes, whole.money)


def test_cycles_without_a_statement_are_found_the_oldest_first(engine: Engine) -> None:
    add_customer(engine)
    pass_time(engine, APRIL_CLOSED)
    with engine.begin() as tx:
        before = unwritten_cycles(tx, "acme")
    write_statements(engine)

    with engine.begin() as tx:
        after = unwritten_cycles(tx, "acme")
        stranger = unwritten_cycles(tx, "nobody")

    assert [(each.number, each.status) for each in before] == [
        (1, "closed"),
        (2, "closed"),
        (3, "open"),
    ]
    assert [each.number for each in after] == [3]
    assert stranger == []


def test_a_statement_is_seen_by_its_own_customer_alone(engine: Engine, api_engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    close_march(engine)
    name = "SELECT set_config('fixbill.customer_id', 'acme', true)"

    with api_engine.begin() as tx:
        nobody = tx.scalars(select(tables.statements.c.customer_id)).all()
        tx.exec_driver_sql(name)
        named = tx.scalars(select(tables.statements.c.customer_id)).all()

    assert (nobody, named) == ([], ["acme"])
