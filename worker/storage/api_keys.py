"""API keys: stored as hashes, bound to customers and scopes."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select, update

from worker.storage.prepared import Prepared
from worker.storage.tables import api_keys


class ApiKey(NamedTuple):
    """`customer_ids` empty means every customer."""

    key_id: str
    secret_hash: bytes
    name: str
    scopes: list[str]
    customer_ids: list[str] | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


def add_key(tx: Connection, key: ApiKey) -> None:
    tx.execute(insert(api_keys).values(key._asdict()))


BY_ID = Prepared(select(api_keys).where(api_keys.c.key_id == bindparam("key_id")))


def find_key(tx: Connection, key_id: str) -> ApiKey | None:
    rows = BY_ID.rows(tx, key_id=key_id)
    return ApiKey(*rows[0]) if rows else None


def list_keys(tx: Connection) -> list[ApiKey]:
    return [ApiKey(*row) for row in tx.execute(select(api_keys).order_by(api_keys.c.created_at))]


def revoke_key(tx: Connection, key_id: str, now: datetime) -> bool:
    """False if there is no such key, or it was revoked before."""
    revoked = tx.execute(
        update(api_keys)
        .where(api_keys.c.key_id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(api_keys.c.key_id)
    )
    return revoked.first() is not None


def expire_key(tx: Connection, key_id: str, at: datetime) -> None:
    tx.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(expires_at=at))


def note_use(tx: Connection, key_id: str, now: datetime) -> None:
    tx.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(last_used_at=now))
