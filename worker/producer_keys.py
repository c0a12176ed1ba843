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
    """A new pair, or the public key of one that was made elsewhere; raises AlreadyRegistered."""
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
    """A successor that may do the same; the old key expires after the overlap. None if not good."""
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
        return Made(key_id, None), public_key
    signer = Signer.generate(key_id)
    return Made(key_id, signer.text()), signer.public_key
