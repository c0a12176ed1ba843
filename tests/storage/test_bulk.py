from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from psycopg.errors import CardinalityViolation, CheckViolation, NotNullViolation, UniqueViolation
from sqlalchemy import Engine

from tests.builders import DAY, NOW, add_customer, charge, fix, grant, one_row, rows_of
from worker.billing.fix import Fix, FixOutcome
from worker.billing.ledger import Transfer
from worker.storage import bulk, tables
from worker.storage.api_keys import ApiKey

FIX = ("customer_id", "fix_id")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
FULL = fix(
    "full",
    FixOutcome.CHARGED,
    pull_request=2**31 - 1,
    finding="CVE-2026-1",
    price=2**62,
    deployed_at=datetime(1, 1, 1, tzinfo=UTC),
    recorded_at=datetime(2026, 3, 15, 12, 0, 0, 123456, tzinfo=UTC),
)
EMPTY = fix("empty")
TRANSFER = Transfer(
    "acme", 2**62, "pay", "receivable", "cash", "usd", 2**62, "pi_1",
    None, None, "ch_1", 2**31 - 1, NOW, NOW, bytes(range(32)),
)  # fmt: skip
USAGE = ("acme", MARCH, date(2026, 3, 15), "acme/shop")


def fixes_in(engine: Engine) -> list[Fix]:
    with engine.begin() as tx:
        rows = bulk.find(tx, tables.fixes, Fix, ("customer_id",), [("acme",)], "ORDER BY fix_id")
        return list(rows)


def usage_in(engine: Engine) -> list[tuple[Any, ...]]:
    return [tuple(row.values())[4:] for row in rows_of(engine, tables.usage)]


def test_what_is_appended_is_found_again_with_every_type_and_null(engine: Engine) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [FULL, EMPTY])

    found = fixes_in(engine)

    assert found == [EMPTY, FULL]


@pytest.mark.parametrize(
    ("table", "row"),
    [
        (tables.transfers, TRANSFER),
        (
            tables.api_keys,
            ApiKey("k", bytes(32), "n\u00e4me", ["read", "admin"], ["acme"], NOW, None, None, NOW),
        ),
        (tables.api_keys, ApiKey("k", bytes(32), "", [], None, NOW, NOW, NOW, None)),
    ],
    ids=["transfer", "key with customers", "key of nobody"],
)
def test_rows_of_other_tables_keep_their_values(owner: Engine, table: Any, row: Any) -> None:
    with owner.begin() as tx:
        bulk.append(tx, table, [row])

    found = one_row(owner, table)

    assert found == row._asdict()


def test_times_of_other_zones_come_back_as_the_same_moment_in_utc(engine: Engine) -> None:
    elsewhere = replace(EMPTY, deployed_at=NOW.astimezone(timezone(timedelta(hours=5, minutes=45))))

    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [elsewhere])

    (found,) = fixes_in(engine)
    assert found.deployed_at == NOW
    assert found.deployed_at.utcoffset() == timedelta(0)


def test_nothing_is_no_statement(engine: Engine) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [])
        bulk.replace(tx, tables.fixes, ("outcome",), [])
        bulk.add(tx, tables.usage, [])

        found = bulk.find(tx, tables.fixes, Fix, FIX, [])

    assert list(found) == []
    assert fixes_in(engine) == []


def test_a_row_that_is_there_already_is_an_error(engine: Engine) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [EMPTY])

    with pytest.raises(UniqueViolation), engine.begin() as tx:
        bulk.append(tx, tables.fixes, [FULL, EMPTY])

    assert fixes_in(engine) == [EMPTY]


def test_a_row_that_comes_twice_is_an_error(engine: Engine) -> None:
    twice = [EMPTY, EMPTY]

    with pytest.raises(UniqueViolation), engine.begin() as tx:
        bulk.append(tx, tables.fixes, twice)

    assert fixes_in(engine) == []


def test_a_null_where_none_may_be_is_an_error(engine: Engine) -> None:
    incomplete = replace(EMPTY, repository=None)  # type: ignore[arg-type]

    with pytest.raises(NotNullViolation), engine.begin() as tx:
        bulk.append(tx, tables.fixes, [incomplete])

    assert fixes_in(engine) == []


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([("acme", "full")], ["full"]),
        ([("acme", "empty"), ("acme", "full")], ["empty", "full"]),
        ([("acme", "full"), ("globex", "empty")], ["full"]),
        ([("globex", "full")], []),
        ([("acme", "full' OR true --")], []),
    ],
    ids=["one", "both", "pairs stay pairs", "another customer", "hostile"],
)
def test_rows_are_found_by_their_whole_key(
    engine: Engine, keys: list[tuple[str, str]], found: list[str]
) -> None:
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [FULL, EMPTY])

        rows = bulk.find(tx, tables.fixes, Fix, FIX, set(keys), "ORDER BY fix_id")

    assert [each.fix_id for each in rows] == found


def test_a_tail_narrows_and_orders_what_is_found(engine: Engine) -> None:
    some = [fix(f"fix-{number}", deployed_at=NOW - number * DAY) for number in range(5)]
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, some)

        rows = bulk.find(
            tx, tables.fixes, Fix, ("customer_id",), [("acme",)],
            "WHERE outcome = 'held' ORDER BY deployed_at LIMIT 2",
        )  # fmt: skip

    assert [each.fix_id for each in rows] == ["fix-4", "fix-3"]


def test_replacing_sets_these_columns_of_these_rows_and_no_others(engine: Engine) -> None:
    other = fix("other")
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [EMPTY, FULL, other])
    changed = replace(
        EMPTY, outcome=FixOutcome.CREDITED, held_why=None, settled_at=NOW, grant_id="gift",
        repository="not/written",
    )  # fmt: skip
    emptied = replace(FULL, finding="not written", pull_request=None)

    with engine.begin() as tx:
        columns = ("outcome", "held_why", "settled_at", "grant_id", "pull_request")
        bulk.replace(tx, tables.fixes, columns, [changed, emptied])

    assert fixes_in(engine) == [
        replace(changed, repository=EMPTY.repository),
        replace(emptied, finding=FULL.finding),
        other,
    ]


def test_replacing_a_row_that_is_not_there_changes_nothing(engine: Engine) -> None:
    missing = [EMPTY]

    with engine.begin() as tx:
        bulk.replace(tx, tables.fixes, ("late",), missing)

    assert fixes_in(engine) == []


def test_numbers_are_added_to_the_row_that_is_there(engine: Engine) -> None:
    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, 1, 2, 3, 4, 2900)])

    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, 10, 0, -3, 0, -900)])

    assert usage_in(engine) == [(11, 2, 0, 4, 2000)]


@pytest.mark.parametrize(
    ("taken", "left"),
    [((1, 0, -1, 0, 0), (1, 0, 0, 0, 0)), ((0, 1, -1, 0, 2900), (0, 1, 0, 0, 2900))],
    ids=["held, then credited", "held, then charged"],
)
def test_a_row_may_give_and_take_at_once(
    engine: Engine, taken: tuple[int, ...], left: tuple[int, ...]
) -> None:
    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, 0, 0, 1, 0, 0)])

    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, *taken)])

    assert usage_in(engine) == [left]


def test_new_and_old_rows_are_added_in_one_go(engine: Engine) -> None:
    elsewhere = (*USAGE[:3], "acme/api")
    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, 0, 0, 1, 0, 0)])

    with engine.begin() as tx:
        rows = [(*elsewhere, 1, 0, 0, 0, 0), (*USAGE, 1, 0, -1, 0, 0)]
        bulk.add(tx, tables.usage, rows)

    assert usage_in(engine) == [(1, 0, 0, 0, 0), (1, 0, 0, 0, 0)]


def test_more_cannot_be_taken_than_is_there(engine: Engine) -> None:
    with engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, 1, 0, 0, 0, 0)])

    with pytest.raises(CheckViolation), engine.begin() as tx:
        bulk.add(tx, tables.usage, [(*USAGE, -2, 0, 0, 0, 0)])

    assert usage_in(engine) == [(1, 0, 0, 0, 0)]


def test_the_same_key_twice_in_one_go_is_an_error(engine: Engine) -> None:
    twice = [(*USAGE, 1, 0, 0, 0, 0), (*USAGE, 1, 0, 0, 0, 0)]

    with pytest.raises(CardinalityViolation), engine.begin() as tx:
        bulk.add(tx, tables.usage, twice)

    assert usage_in(engine) == []


def test_the_four_verbs_do_not_commit(engine: Engine) -> None:
    add_customer(engine)

    with engine.connect() as connection, connection.begin() as transaction:
        bulk.append(connection, tables.grants, [grant(3)])
        bulk.replace(connection, tables.grants, ("remaining",), [grant(3, remaining=1)])
        bulk.append(connection, tables.charges, [charge()])
        bulk.add(connection, tables.usage, [(*USAGE, 1, 0, 0, 0, 0)])
        transaction.rollback()

    for table in (tables.grants, tables.charges, tables.usage):
        assert rows_of(engine, table) == []


def test_values_go_to_the_column_of_their_name(engine: Engine) -> None:
    values = asdict(EMPTY)
    backwards = type("Backwards", (), dict(reversed(values.items())))

    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [backwards])

    assert fixes_in(engine) == [EMPTY]
