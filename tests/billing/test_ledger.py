from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NOW, book, grant
from worker.billing.ledger import (
    ACCOUNTS,
    CREDIT,
    CREDIT_ACCOUNTS,
    MONEY_ACCOUNTS,
    MOVEMENTS,
    NO_HEAD,
    Transfer,
    chain_hash,
)

TRANSFER = Transfer(
    customer_id="acme",
    seq=1,
    kind="consume",
    from_account="credits",
    to_account="consumed",
    unit=CREDIT,
    amount=1,
    source_key="fix-1",
    fix_id="fix-1",
    grant_id="gift",
    charge_id="ch_1",
    cycle=1,
    happened_at=NOW,
    recorded_at=NOW,
    hash=b"",
)
TAMPERED: dict[str, Any] = {
    "customer_id": "acma",
    "seq": 2,
    "kind": "give_back",
    "from_account": "consumed",
    "to_account": "credits",
    "unit": "usd",
    "amount": 2,
    "source_key": "fix-2",
    "fix_id": None,
    "grant_id": None,
    "charge_id": None,
    "cycle": 2,
    "happened_at": NOW + timedelta(microseconds=1),
    "recorded_at": NOW - timedelta(microseconds=1),
}


@pytest.mark.parametrize(("column", "value"), TAMPERED.items(), ids=TAMPERED)
def test_the_hash_changes_with_any_column(column: str, value: Any) -> None:
    honest = chain_hash(NO_HEAD, TRANSFER)

    tampered = chain_hash(NO_HEAD, TRANSFER._replace(**{column: value}))

    assert tampered != honest


def test_every_column_but_the_hash_itself_is_tampered_with_above() -> None:
    columns = set(Transfer._fields)

    covered = set(TAMPERED)

    assert covered == columns - {"hash"}


def test_the_hash_changes_with_the_one_before() -> None:
    first = chain_hash(NO_HEAD, TRANSFER)

    second = chain_hash(first, TRANSFER)

    assert second != first


def test_a_value_cannot_move_to_the_next_column_unnoticed() -> None:
    honest = TRANSFER._replace(fix_id="ab", grant_id="c", charge_id=None)

    moved = TRANSFER._replace(fix_id="a", grant_id="bc", charge_id=None)
    shifted = TRANSFER._replace(fix_id=None, grant_id="ab", charge_id="c")

    assert len({chain_hash(NO_HEAD, each) for each in (honest, moved, shifted)}) == 3


def test_the_first_hash_is_what_it_has_always_been() -> None:
    known = "6984339c49f17d7f8c5baf8b0f47c607"

    digest = chain_hash(NO_HEAD, TRANSFER).hex()

    assert digest.startswith(known)


@pytest.mark.parametrize("amount", [0, -1, -(10**12)])
@pytest.mark.parametrize("kind", MOVEMENTS)
def test_a_transfer_of_nothing_or_less_cannot_be_made(kind: str, amount: int) -> None:
    untouched = book()

    with pytest.raises(ValueError, match="moves more than 0"):
        untouched.move(kind, amount, "why", happened_at=NOW, recorded_at=NOW)

    assert (untouched.seq, untouched.head) == (0, NO_HEAD)
    assert all(getattr(untouched, account) == 0 for account in ACCOUNTS)


def test_a_movement_that_is_not_in_the_table_cannot_be_made() -> None:
    untouched = book()

    with pytest.raises(KeyError):
        untouched.move("gift", 1, "why", happened_at=NOW, recorded_at=NOW)

    assert untouched.seq == 0


@pytest.mark.parametrize("kind", MOVEMENTS)
def test_a_movement_stays_within_one_unit(kind: str) -> None:
    source, target = MOVEMENTS[kind]

    sides = {source in CREDIT_ACCOUNTS, target in CREDIT_ACCOUNTS}

    assert len(sides) == 1
    assert source != target
    assert {source, target} <= set(ACCOUNTS)


@pytest.mark.parametrize("kind", MOVEMENTS)
def test_a_transfer_moves_both_balances_and_the_chain(kind: str) -> None:
    standing = book(grants=[grant(5)], seq=7, head=b"\x07" * 32)
    before = {account: getattr(standing, account) for account in ACCOUNTS}

    moved = standing.move(
        kind, 3, "why", happened_at=NOW, recorded_at=NOW, fix_id="f", grant_id="g", charge_id="c"
    )

    source, target = MOVEMENTS[kind]
    expected = before | {source: before[source] - 3, target: before[target] + 3}
    assert {account: getattr(standing, account) for account in ACCOUNTS} == expected
    assert (moved.from_account, moved.to_account, moved.amount) == (source, target, 3)
    assert moved.unit == (CREDIT if source in CREDIT_ACCOUNTS else "usd")
    assert (moved.fix_id, moved.grant_id, moved.charge_id) == ("f", "g", "c")
    assert moved.seq == standing.seq == 8
    assert moved.hash == standing.head == chain_hash(b"\x07" * 32, moved)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(sorted(MOVEMENTS)), st.integers(1, 10**9))))
def test_whatever_moves_the_balances_of_a_unit_add_up_to_nothing(
    moves: list[tuple[str, int]],
) -> None:
    standing = book()

    chain = [
        standing.move(kind, amount, "why", happened_at=NOW, recorded_at=NOW)
        for kind, amount in moves
    ]

    assert sum(getattr(standing, account) for account in CREDIT_ACCOUNTS) == 0
    assert sum(getattr(standing, account) for account in MONEY_ACCOUNTS) == 0
    assert [each.seq for each in chain] == list(range(1, len(moves) + 1))
    head = NO_HEAD
    for each in chain:
        head = chain_hash(head, each)
        assert each.hash == head
    assert standing.head == head


def test_a_book_has_a_balance_for_every_account() -> None:
    names = {each.name for each in fields(book())}

    missing = set(ACCOUNTS) - names

    assert not missing
