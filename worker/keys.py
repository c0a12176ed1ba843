"""API keys: made, shown once, and checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from typing import Protocol

from sqlalchemy import Engine

from worker.clock import Clock
from worker.storage.api_keys import ApiKey, add_key, expire_key, find_key, note_use

SCOPES = ("publish", "revert", "read", "admin")
PATTERN = re.compile(r"fbk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
NOTE_USE_EVERY = timedelta(minutes=1)  # a write per request would cost more than it tells


def create_key(
    name: str,
    scopes: Sequence[str],
    customer_ids: Sequence[str] | None,
    expires_at: datetime | None,
    engine: Engine,
    clock: Clock,
) -> str:
    """The key itself, which is not stored and cannot be shown again."""
    key, shown = new_key(name, scopes, customer_ids, expires_at, clock.wall())
    with engine.begin() as tx:
        add_key(tx, key)
    return shown


def rotate_key(key_id: str, overlap: timedelta, engine: Engine, clock: Clock) -> str | None:
    """A successor that may do the same; the old key expires after the overlap. None if not good."""
    now = clock.wall()
    with engine.begin() as tx:
        old = find_key(tx, key_id)
        if old is None or not is_good(old, now):
            return None
        expires_at = successor_expires(old, now)
        key, shown = new_key(old.name, old.scopes, old.customer_ids, expires_at, now)
        add_key(tx, key)
        expire_key(tx, key_id, min(now + overlap, old.expires_at or now + overlap))
    return shown


def new_key(
    name: str,
    scopes: Sequence[str],
    customer_ids: Sequence[str] | None,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[ApiKey, str]:
    """What is stored, and what is shown."""
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    bound = list(customer_ids) if customer_ids else None
    key = ApiKey(key_id, hashed(secret), name, list(scopes), bound, now, expires_at, None, None)
    return key, f"fbk_{key_id}_{secret}"


def check_key(presented: str, engine: Engine, clock: Clock) -> ApiKey | None:
    """The key that was presented, if it is one of ours and still good."""
    parts = PATTERN.fullmatch(presented)
    if parts is None:
        return None
    now = clock.wall()
    with engine.begin() as tx:
        key = find_key(tx, parts[1])
        # Hashed even when there is no such key: the time taken tells nothing.
        matches = compare_digest(hashed(parts[2]), key.secret_hash if key else bytes(32))
        if key is None or not matches or not is_good(key, now):
            return None
        if key.last_used_at is None or now - key.last_used_at > NOTE_USE_EVERY:
            note_use(tx, key.key_id, now)
    return key


class Lasting(Protocol):
    """What keys of either kind tell about how long they are good."""

    @property
    def created_at(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def revoked_at(self) -> datetime | None: ...


def is_good(key: Lasting, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def successor_expires(old: Lasting, now: datetime) -> datetime | None:
    """As long after its making as the old one did."""
    return None if old.expires_at is None else now + (old.expires_at - old.created_at)


def hashed(secret: str) -> bytes:
    """Plain SHA-256: 32 random bytes cannot be guessed, so nothing slow is needed."""
    return sha256(secret.encode()).digest()
