"""Keys producers sign with: made and shown once, registered, rotated. Public halves are kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from producers.signing import Signer
from worker.billing.admission import ProducerKey
from worker.clock import Clock
from worker.keys import is_good, successor_expires
from worker.storage.producer_keys import (
    add_producer_key,
    expire_producer_key,
    find_producer_keys,
)

PRODUCER_SCOPES = ("publish", "revert")


# Points of small order, without their sign: a signature for them can be made up. The list is that
# of libsodium, `ge25519_has_small_order`.
WEAK = {
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
}


class WeakKey(ValueError):
    """Whoever likes could sign for this public key."""


class AlreadyRegistered(ValueError):
    """This public key has an id already."""


class Made(NamedTuple):
    """A new key; its secret, unless that was made elsewhere, can't be shown again."""

    key_id: str
    secret: str | None


def create_producer_key(
    name: str,
    scopes: Sequence[str],
    customer_ids: Sequence[str] | None,
    expires_at: datetime | None,
    public_key: bytes | None,
    engine: Engine,
    clock: Clock,
) -> Made:
    """A new pair, or the public key of one made elsewhere; raises AlreadyRegistered, WeakKey."""
    made, public = pair(public_key)
    key = ProducerKey(
        made.key_id,
        public,
        name,
        list(scopes),
        list(customer_ids) if customer_ids else None,
        clock.wall(),
        expires_at,
    )
    try:
        with engine.begin() as tx:
            add_producer_key(tx, key)
    except IntegrityError as error:
        raise AlreadyRegistered("this public key is registered already") from error
    return made


def rotate_producer_key(
    key_id: str, overlap: timedelta, public_key: bytes | None, engine: Engine, clock: Clock
) -> Made | None:
    """A successor that may do the same; the old key expires after the overlap. None if not good.

    Raises AlreadyRegistered, WeakKey.
    """
    now = clock.wall()
    made, public = pair(public_key)
    try:
        with engine.begin() as tx:
            old = find_producer_keys(tx, [key_id]).get(key_id)
            if old is None or not is_good(old, now):
                return None
            expires_at = successor_expires(old, now)
            add_producer_key(
                tx,
                ProducerKey(
                    made.key_id, public, old.name, old.scopes, old.customer_ids, now, expires_at
                ),
            )
            expire_producer_key(tx, key_id, min(now + overlap, old.expires_at or now + overlap))
    except IntegrityError as error:
        raise AlreadyRegistered("this public key is registered already") from error
    return made


def pair(public_key: bytes | None) -> tuple[Made, bytes]:
    key_id = secrets.token_hex(6)
    if public_key is not None:
        if public_key[:-1] + bytes([public_key[-1] & 0x7F]) in WEAK:
            raise WeakKey("this public key is a weak one, for which anyone can sign; make another")
        return Made(key_id, None), public_key
    signer = Signer.generate(key_id)
    return Made(key_id, signer.text()), signer.public_key
