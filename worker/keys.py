"""API keys: made, shown once, and checked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest

from sqlalchemy import Engine

from worker.clock import Clock
from worker.storage.api_keys import ApiKey, add_key, find_key, note_use

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
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(
        key_id,
        hashed(secret),
        name,
        list(scopes),
        list(customer_ids) if customer_ids else None,
        clock.wall(),
        expires_at,
        None,
        None,
    )
    with engine.begin() as tx:
        add_key(tx, key)
    return f"fbk_{key_id}_{secret}"


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


def is_good(key: ApiKey, now: datetime) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


def hashed(secret: str) -> bytes:
    """Plain SHA-256: 32 random bytes cannot be guessed, so nothing slow is needed."""
    return sha256(secret.encode()).digest()
