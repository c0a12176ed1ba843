"""A single change anywhere in history is found, and said whose and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from tests.stack import Database, connected
from tests.usage.ledgers import Rows, chained_again, ledger, other
from worker.billing.ledger import Transfer
from worker.storage.tables import transfers
from worker.usage.chain import Head, breaks, noting_heads
from worker.usage.verify import broken_chains

WHOLE = ledger()
TRANSFERS = [each for each in WHOLE if isinstance(each, Transfer)]


def found(rows: Rows) -> list[tuple[str, int, bool]]:
    return [(each.customer_id, each.seq, each.at_head) for each in breaks(rows)]


def test_a_whole_ledger_has_no_break() -> None:
    assert found(WHOLE) == []
    assert found([]) == []


def changed(value: Any) -> Any:
    """The least that a value can be changed by."""
    match value:
        case None:
            return ""
        case str():
            return value[:-1] + chr(ord(value[-1]) ^ 1)
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case int():
            return value + 1
    return value + timedelta(microseconds=1)


@pytest.mark.parametrize("column", Transfer._fields)
@given(place=st.integers(0, len(WHOLE) - 1).filter(lambda at: isinstance(WHOLE[at], Transfer)))
def test_a_column_that_is_changed_by_the_least_is_found_at_its_transfer(
    column: str, place: int
) -> None:
    row = WHOLE[place]
    assert isinstance(row, Transfer)
    forged = row._replace(**{column: changed(getattr(row, column))})

    first, *_ = found([*WHOLE[:place], forged, *WHOLE[place + 1 :]])

    # A transfer that says it is another's is looked for in both places.
    if column == "customer_id" and row.seq > 1:
        assert first == (row.customer_id, row.seq - 1, True)
    else:
        assert first == (forged.customer_id, forged.seq, False)


@pytest.mark.parametrize("row", TRANSFERS, ids=lambda row: f"{row.customer_id}-{row.seq}")
def test_a_transfer_that_is_missing_is_found_at_the_next(row: Transfer) -> None:
    (one,) = found([each for each in WHOLE if each is not row])

    last = {each.customer_id: each.seq for each in TRANSFERS}[row.customer_id]
    expected = (row.customer_id, row.seq + 1, False)
    assert one == (expected if row.seq < last else (row.customer_id, row.seq - 1, True))


def test_transfers_that_have_changed_places_are_found() -> None:
    first, second, *rest = WHOLE

    assert found([second, first, *rest]) == [("acme", 2, False)]


def test_transfers_without_a_head_are_found() -> None:
    assert found([each for each in WHOLE if not isinstance(each, Head)]) == [
        ("acme", 3, True),
        ("hooli", 2, True),
    ]


def test_each_customers_first_break_is_told_once() -> None:
    forged = [
        each._replace(amount=each.amount + 1) if isinstance(each, Transfer) else each
        for each in WHOLE
    ]

    assert found(forged) == [("acme", 1, False), ("hooli", 1, False)]


UNSOUND: dict[str, dict[str, Any]] = {
    "no movement of the ledger": {"kind": "gift"},
    "a unit that its accounts do not hold": {"unit": "usd"},
    "an amount that is not above 0": {"amount": 0},
    "an id without characters": {"charge_id": ""},
}


@pytest.mark.parametrize(("why", "change"), UNSOUND.items(), ids=UNSOUND)
def test_what_no_transfer_may_be_is_found_however_well_it_is_chained(
    why: str, change: dict[str, Any]
) -> None:
    rows = chained_again([other(WHOLE[0], **change), *WHOLE[1:]])

    (one,) = breaks(rows)

    assert (one.customer_id, one.seq, one.why) == ("acme", 1, why)


def fingerprint(rows: Rows) -> str:
    digest = sha256()
    list(noting_heads(rows, digest))
    return digest.hexdigest()


def test_the_fingerprint_is_of_every_head_and_nothing_else() -> None:
    heads: Rows = [each for each in WHOLE if isinstance(each, Head)]
    forged: list[Rows] = [
        [
            other(each, **{column: changed(getattr(each, column))}) if each is head else each
            for each in heads
        ]
        for head in heads
        for column in ("customer_id", "seq", "head")
    ]

    assert fingerprint(heads) == fingerprint(WHOLE)
    assert len({fingerprint(WHOLE), *map(fingerprint, forged)}) == 10


# The same in Postgres, by its owner, with every trigger asleep.


@pytest.fixture(scope="module")
def history(busy_template: Database) -> Iterator[Engine]:
    """The owner of a ledger; whatever they do is rolled back."""
    with connected(busy_template.owner_url, None) as engine:
        yield engine


@contextmanager
def rewriting(history: Engine) -> Iterator[Connection]:
    with history.connect() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for name in ("movement_known", "unit_fits_account", "amount_above_zero"):
            tx.exec_driver_sql(f"ALTER TABLE transfers DROP CONSTRAINT transfers_{name}")
        yield tx


def told(tx: Connection) -> list[str]:
    return list(broken_chains(tx, sha256()))


def any_transfer(tx: Connection, chance: Random) -> tuple[str, int]:
    rows = tx.exec_driver_sql("SELECT customer_id, seq FROM transfers ORDER BY 1, 2").all()
    customer_id, seq = chance.choice(rows)
    return customer_id, seq


LEAST = {
    "text": "coalesce(overlay({0} placing chr(ascii({0}) # 1) from 1), '')",
    "bigint": "{0} + 1",
    "integer": "{0} + 1",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "bytea": "set_byte({0}, 31, get_byte({0}, 31) # 1)",
}
KEY = ("customer_id", "seq")
OTHERS = [each.name for each in transfers.c if each.name not in KEY]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("column", OTHERS)
def test_the_owner_cannot_change_a_column_unseen(history: Engine, column: str, seed: int) -> None:
    with rewriting(history) as tx:
        customer_id, seq = any_transfer(tx, Random(f"{column} {seed}"))
        (kind,) = tx.exec_driver_sql(f"SELECT pg_typeof({column}) FROM transfers LIMIT 1").one()
        least = LEAST[kind].format(column)
        tx.execute(
            text(f"UPDATE transfers SET {column} = {least} WHERE (customer_id, seq) = (:id, :seq)"),
            {"id": customer_id, "seq": seq},
        )

        assert told(tx) == [f"{customer_id} at {seq}"]


WAYS = {
    "a transfer is given to another": (
        "UPDATE transfers SET customer_id = 'umbrella', seq = 1 WHERE customer_id = 'globex'"
        " AND seq = 2",
        ["globex at 3", "umbrella at 1"],
    ),
    "a transfer is given to nobody": (
        "UPDATE transfers SET customer_id = 'zeta' WHERE customer_id = 'globex' AND seq = 3",
        ["globex at its head, after 2", "zeta at 3"],
    ),
    "a transfer gets another number": (
        "UPDATE transfers SET seq = 1000 WHERE customer_id = 'acme' AND seq = 3",
        ["acme at 4"],
    ),
    "a transfer is removed": (
        "DELETE FROM transfers WHERE customer_id = 'acme' AND seq = 3",
        ["acme at 4"],
    ),
    "two are exchanged": (
        "UPDATE transfers SET seq = -seq WHERE customer_id = 'acme' AND seq IN (2, 3);"
        "UPDATE transfers SET seq = 5 + seq WHERE customer_id = 'acme' AND seq < 0",
        ["acme at 2"],
    ),
    "one is added": (
        "INSERT INTO transfers SELECT customer_id, b.seq + 1, kind, from_account, to_account, unit,"
        " amount, 'added', fix_id, grant_id, charge_id, t.cycle, happened_at, recorded_at, hash"
        " FROM transfers AS t JOIN books AS b USING (customer_id)"
        " WHERE customer_id = 'globex' AND t.seq = 1",
        ["globex at 4"],
    ),
    "the head is another": (
        "UPDATE books SET head = set_byte(head, 0, get_byte(head, 0) # 1)"
        " WHERE customer_id = 'globex'",
        ["globex at its head, after 3"],
    ),
    "the head is of another number": (
        "UPDATE books SET seq = seq + 1 WHERE customer_id = 'globex'",
        ["globex at its head, after 3"],
    ),
    "the tail is cut, and the head's number": (
        "DELETE FROM transfers WHERE customer_id = 'globex' AND seq = 3;"
        "UPDATE books SET seq = 2 WHERE customer_id = 'globex'",
        ["globex at its head, after 2"],
    ),
    "everything of a customer is removed": (
        "DELETE FROM transfers WHERE customer_id = 'globex'",
        ["globex at its head, after 0"],
    ),
    "a book is removed": (
        "DELETE FROM books WHERE customer_id = 'globex'",
        ["globex at its head, after 3"],
    ),
}


@pytest.mark.parametrize(("statements", "where"), WAYS.values(), ids=WAYS)
def test_the_owner_cannot_rewrite_history_unseen(
    history: Engine, statements: str, where: list[str]
) -> None:
    with rewriting(history) as tx:
        tx.exec_driver_sql("ALTER TABLE transfers DROP CONSTRAINT transfers_chained")
        for each in statements.split(";"):
            assert tx.exec_driver_sql(each).rowcount > 0

        assert told(tx) == where


def test_a_tail_that_is_cut_together_with_the_head_changes_only_the_fingerprint(
    history: Engine,
) -> None:
    before, after = sha256(), sha256()
    with rewriting(history) as tx:
        list(broken_chains(tx, before))
        tx.exec_driver_sql("DELETE FROM transfers WHERE customer_id = 'globex' AND seq = 3")
        tx.exec_driver_sql(
            "UPDATE books SET seq = 2, head = (SELECT hash FROM transfers"
            " WHERE customer_id = 'globex' AND seq = 2) WHERE customer_id = 'globex'"
        )

        assert list(broken_chains(tx, after)) == []
    assert after.hexdigest() != before.hexdigest()
