"""Producers' keys in their table: found together, revoked once, their use noted without waiting."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert
from sqlalchemy.exc import IntegrityError, ProgrammingError

from tests.builders import HOUR, NOW, rows_of
from worker.billing.admission import ProducerKey
from worker.storage import tables
from worker.storage.producer_keys import (
    NOTE_USE_EVERY,
    add_producer_key,
    expire_producer_key,
    find_producer_keys,
    list_producer_keys,
    note_use_of_producer_keys,
    revoke_producer_key,
)


def key(number: int, **more: Any) -> ProducerKey:
    made = ProducerKey(
        f"{number:012}", bytes([number] * 32), f"key {number}", ["publish"], None, NOW
    )
    return made._replace(**more)


@pytest.fixture
def three(engine: Engine) -> list[ProducerKey]:
    keys = [key(number, created_at=NOW + number * HOUR) for number in (1, 2, 3)]
    with engine.begin() as tx:
        for each in reversed(keys):
            add_producer_key(tx, each)
    return keys


def used(engine: Engine) -> list[Any]:
    return [row["last_used_at"] for row in rows_of(engine, tables.producer_keys)]


def test_keys_are_found_by_their_ids_and_listed_oldest_first(
    engine: Engine, three: list[ProducerKey]
) -> None:
    with engine.begin() as tx:
        found = find_producer_keys(tx, [three[0].key_id, three[2].key_id, "nobody", ""])
        listed = list_producer_keys(tx)
        none = find_producer_keys(tx, [])

    assert found == {each.key_id: each for each in (three[0], three[2])}
    assert listed == three
    assert none == {}


def test_a_key_is_revoked_once_and_no_other_with_it(
    engine: Engine, three: list[ProducerKey]
) -> None:
    with engine.begin() as tx:
        answers = [revoke_producer_key(tx, each, NOW) for each in (three[1].key_id,) * 2]
        unknown = revoke_producer_key(tx, "nobody", NOW)

    assert (answers, unknown) == ([True, False], False)
    revoked = [row["revoked_at"] for row in rows_of(engine, tables.producer_keys)]
    assert revoked == [None, NOW, None]


def test_a_key_is_made_to_expire(engine: Engine, three: list[ProducerKey]) -> None:
    with engine.begin() as tx:
        expire_producer_key(tx, three[0].key_id, NOW + HOUR)

    expires = [row["expires_at"] for row in rows_of(engine, tables.producer_keys)]
    assert expires == [NOW + HOUR, None, None]


def test_use_is_noted_of_those_that_were_used_and_not_again_within_a_minute(
    engine: Engine, three: list[ProducerKey]
) -> None:
    ids = [three[0].key_id, three[2].key_id]
    seen = []
    for later in (timedelta(0), NOTE_USE_EVERY, NOTE_USE_EVERY + timedelta(seconds=1)):
        with engine.begin() as tx:
            note_use_of_producer_keys(tx, ids, NOW + later)
        seen.append(used(engine))

    last = NOW + NOTE_USE_EVERY + timedelta(seconds=1)
    assert seen == [[NOW, None, NOW], [NOW, None, NOW], [last, None, last]]


def test_nobody_waits_to_note_a_use(engine: Engine, three: list[ProducerKey]) -> None:
    with engine.begin() as one, engine.begin() as other:
        note_use_of_producer_keys(one, [three[0].key_id], NOW)
        note_use_of_producer_keys(other, [each.key_id for each in three], NOW + HOUR)

    assert used(engine) == [NOW, NOW + HOUR, NOW + HOUR]


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33)])
def test_what_is_no_public_key_cannot_be_kept(engine: Engine, public_key: bytes) -> None:
    with pytest.raises(IntegrityError), engine.begin() as tx:
        add_producer_key(tx, key(1, public_key=public_key))


def test_a_public_key_has_one_id(engine: Engine, three: list[ProducerKey]) -> None:
    with pytest.raises(IntegrityError), engine.begin() as tx:
        add_producer_key(tx, key(9, public_key=three[0].public_key))


def test_the_login_of_the_api_neither_sees_nor_makes_keys_of_producers(
    api_engine: Engine, three: list[ProducerKey]
) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), api_engine.begin() as tx:
        list_producer_keys(tx)
    with pytest.raises(ProgrammingError, match="permission denied"), api_engine.begin() as tx:
        tx.execute(insert(tables.producer_keys).values(key(9)._asdict()))


def test_a_key_cannot_be_deleted(engine: Engine, three: list[ProducerKey]) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as tx:
        tx.execute(tables.producer_keys.delete())
