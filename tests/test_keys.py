"""API keys: shown once, stored as a hash, good until they expire or are revoked."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.exc import IntegrityError

from producers.signing import Signer
from schemas.inbox import Entry, partition_of
from tests.builders import NOW, add_customer, deployed, one_row, rows_of
from worker.clock import Clock
from worker.keys import NOTE_USE_EVERY, PATTERN, SCOPES, check_key, create_key, rotate_key
from worker.producer_keys import WEAK, WeakKey, create_producer_key, rotate_producer_key
from worker.settle import settle
from worker.signatures import Trust
from worker.storage import tables
from worker.storage.api_keys import find_key, list_keys, revoke_key


def made(engine: Engine, clock: Clock, name: str = "a pipeline") -> str:
    return create_key(name, ["publish"], ["acme"], None, engine, clock)


def parts_of(key: str) -> tuple[str, str]:
    found = PATTERN.fullmatch(key)
    assert found is not None
    return found[1], found[2]


def test_a_key_is_known_by_its_id_and_proven_by_its_secret(engine: Engine, clock: Clock) -> None:
    key = made(engine, clock)

    found = check_key(key, engine, clock)

    assert found is not None
    assert found.key_id == parts_of(key)[0]
    assert (found.name, found.scopes, found.customer_ids) == ("a pipeline", ["publish"], ["acme"])


def test_only_the_hash_of_the_secret_is_stored(engine: Engine, clock: Clock) -> None:
    key_id, secret = parts_of(made(engine, clock))

    row = one_row(engine, tables.api_keys)

    assert row["secret_hash"] == sha256(secret.encode()).digest()
    assert secret not in str(row)
    assert row["key_id"] == key_id


def test_no_two_keys_are_alike(engine: Engine, clock: Clock) -> None:
    keys = [made(engine, clock, "the same name") for _ in range(20)]

    assert len({part for key in keys for part in parts_of(key)}) == 40


def test_a_key_without_customers_serves_all(engine: Engine, clock: Clock) -> None:
    nobody: list[list[str] | None] = [None, []]
    keys = [create_key("all", SCOPES, each, None, engine, clock) for each in nobody]

    found = [check_key(key, engine, clock) for key in keys]

    assert [each.customer_ids for each in found if each] == [None, None]


def test_what_is_not_a_key_of_ours_opens_nothing(engine: Engine, clock: Clock) -> None:
    key = made(engine, clock)
    key_id, secret = parts_of(key)
    other_id, other_secret = parts_of(made(engine, clock))
    wrong = [
        "",
        key[:-1],
        key + "A",
        f" {key}",
        f"{key}\n",
        key.upper(),
        key.replace("fbk_", "sk_"),
        f"fbk_{key_id}_{other_secret}",
        f"fbk_{other_id}_{secret}",
        f"fbk_{'0' * 12}_{secret}",
        f"fbk_{key_id}_{secret[:-1]}é",
        f"fbk_{key_id}_{'%' * 43}",
    ]

    found = [check_key(each, engine, clock) for each in wrong]

    assert found == [None] * len(wrong)
    assert check_key(key, engine, clock) is not None


@pytest.mark.parametrize(
    ("seconds", "good"), [(60, True), (0, False), (-60, False)], ids=["later", "now", "before"]
)
def test_a_key_is_good_until_it_expires(
    engine: Engine, clock: Clock, seconds: int, good: bool
) -> None:
    expires_at = clock.wall() + timedelta(seconds=seconds)
    key = create_key("short", ["read"], None, expires_at, engine, clock)

    found = check_key(key, engine, clock)

    assert (found is not None) is good


def test_a_key_expires_by_wall_time(engine: Engine) -> None:
    ahead = Clock(timedelta(days=365))
    key = create_key("a day", ["read"], None, ahead.wall() + timedelta(days=1), engine, ahead)

    assert check_key(key, engine, ahead) is not None


def test_a_revoked_key_is_refused_and_cannot_be_revoked_again(engine: Engine, clock: Clock) -> None:
    key, other = made(engine, clock), made(engine, clock)

    with engine.begin() as tx:
        revoked = [revoke_key(tx, parts_of(key)[0], clock.wall()) for _ in range(2)]

    assert revoked == [True, False]
    assert check_key(key, engine, clock) is None
    assert check_key(other, engine, clock) is not None


def test_a_revocation_counts_from_the_next_request_on(engine: Engine, clock: Clock) -> None:
    key = made(engine, clock)
    assert check_key(key, engine, clock) is not None

    with engine.begin() as tx:
        revoke_key(tx, parts_of(key)[0], clock.wall())

    assert check_key(key, engine, clock) is None


def test_the_secret_is_32_random_bytes(engine: Engine, clock: Clock) -> None:
    _, secret = parts_of(made(engine, clock))

    assert len(urlsafe_b64decode(secret + "=")) == 32


def test_two_keys_are_good_at_once_while_one_is_rotated(engine: Engine, clock: Clock) -> None:
    old = made(engine, clock)

    new = rotate_key(parts_of(old)[0], timedelta(hours=1), engine, clock)

    assert new is not None
    found = [check_key(each, engine, clock) for each in (old, new)]
    assert [(k.name, k.scopes, k.customer_ids) for k in found if k] == [
        ("a pipeline", ["publish"], ["acme"])
    ] * 2


def test_a_rotation_prolongs_nothing(engine: Engine, clock: Clock) -> None:
    ends = clock.wall() + timedelta(minutes=30)
    old = create_key("short", ["read"], None, ends, engine, clock)

    rotate_key(parts_of(old)[0], timedelta(hours=1), engine, clock)

    first, second = rows_of_keys(engine)
    assert first["expires_at"] == ends
    lasts = second["expires_at"] - second["created_at"]
    assert lasts == first["expires_at"] - first["created_at"]


@pytest.mark.parametrize("how", ["revoked", "expired", "unknown"])
def test_a_key_that_is_not_good_has_no_successor(engine: Engine, clock: Clock, how: str) -> None:
    expires_at = clock.wall() if how == "expired" else None
    key_id = parts_of(create_key("old", ["read"], None, expires_at, engine, clock))[0]
    if how == "revoked":
        with engine.begin() as tx:
            revoke_key(tx, key_id, clock.wall())

    asked = "0" * 12 if how == "unknown" else key_id
    assert rotate_key(asked, timedelta(hours=1), engine, clock) is None
    assert len(rows_of(engine, tables.api_keys)) == 1


def rows_of_keys(engine: Engine) -> list[dict[str, Any]]:
    return sorted(rows_of(engine, tables.api_keys), key=lambda row: row["created_at"])


def test_no_column_anywhere_holds_a_key_as_it_was_shown(engine: Engine, clock: Clock) -> None:
    api = made(engine, clock)
    check_key(api, engine, clock)
    rotated = rotate_key(parts_of(api)[0], timedelta(hours=1), engine, clock)
    producer = create_producer_key("p", ["publish"], None, None, None, engine, clock)
    successor = rotate_producer_key(producer.key_id, timedelta(hours=1), None, engine, clock)
    add_customer(engine)
    signer = Signer.of(producer.secret or "")
    mine, body = partition_of("acme"), deployed().to_bytes()
    for number, changed in enumerate((body, b"{}", body[:-1] + b" }")):
        signature = signer.sign(mine, changed)
        lies = Entry(f"{mine}/1-{number}", changed, "redis", NOW, None, signer.key_id, signature)
        with engine.connect() as connection:
            settle([lies], connection, NOW, Trust(NOW))

    shown = [api, rotated, producer.secret, successor and successor.secret]
    secrets = [each.split("_", 2)[2] for each in shown if each]
    raw = [urlsafe_b64decode(each + "=") for each in secrets]
    kept = [
        value if isinstance(value, bytes) else str(value).encode()
        for table in tables.metadata.tables.values()
        for row in rows_of(engine, table)
        for value in row.values()
    ]

    assert len(secrets) == 4
    assert len(kept) > 100
    assert [at for at in kept for each in (*raw, *map(str.encode, secrets)) if each in at] == []


def test_a_key_that_does_not_exist_cannot_be_revoked(engine: Engine, clock: Clock) -> None:
    with engine.begin() as tx:
        assert not revoke_key(tx, "0" * 12, clock.wall())


def test_its_use_is_noted_at_most_once_a_minute(engine: Engine, clock: Clock) -> None:
    key = made(engine, clock)

    check_key(key, engine, clock)
    first = one_row(engine, tables.api_keys)["last_used_at"]
    check_key(key, engine, clock)
    second = one_row(engine, tables.api_keys)["last_used_at"]
    with engine.begin() as tx:
        long_ago = first - NOTE_USE_EVERY
        tx.execute(update(tables.api_keys).values(last_used_at=long_ago))
    check_key(key, engine, clock)
    third = one_row(engine, tables.api_keys)["last_used_at"]

    assert first is not None
    assert second == first
    assert third > first


def test_a_key_that_is_refused_is_not_noted_as_used(engine: Engine, clock: Clock) -> None:
    key = create_key("old", ["read"], None, clock.wall(), engine, clock)
    key_id, _ = parts_of(key)

    check_key(key, engine, clock)
    check_key(f"fbk_{key_id}_{'x' * 43}", engine, clock)

    assert one_row(engine, tables.api_keys)["last_used_at"] is None


def test_the_login_of_the_api_checks_keys_and_makes_none(
    engine: Engine, api_engine: Engine, clock: Clock
) -> None:
    key = made(engine, clock)

    assert check_key(key, api_engine, clock) is not None
    with pytest.raises(Exception, match="permission denied"):
        made(api_engine, clock)


@pytest.mark.parametrize("sign", [0, 0x80])
@pytest.mark.parametrize("point", sorted(WEAK))
def test_a_public_key_for_which_anyone_can_sign_is_not_registered(
    engine: Engine, clock: Clock, point: bytes, sign: int
) -> None:
    weak = point[:-1] + bytes([point[-1] | sign])

    with pytest.raises(WeakKey, match="make another"):
        create_producer_key("p", ["publish"], None, None, weak, engine, clock)

    assert rows_of(engine, tables.producer_keys) == []


def test_two_keys_never_share_a_secret(engine: Engine, clock: Clock) -> None:
    made(engine, clock)
    made(engine, clock)
    hashes = [row["secret_hash"] for row in rows_of(engine, tables.api_keys)]

    with pytest.raises(IntegrityError), engine.begin() as tx:
        tx.execute(update(tables.api_keys).values(secret_hash=hashes[0]))


def test_keys_are_listed_oldest_first(engine: Engine, clock: Clock) -> None:
    for name in ("first", "second", "third"):
        made(engine, clock, name)

    with engine.begin() as tx:
        names = [key.name for key in list_keys(tx)]
        unknown = find_key(tx, "nobody")

    assert names == ["first", "second", "third"]
    assert unknown is None
