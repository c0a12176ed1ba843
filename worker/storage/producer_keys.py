"""Producers' keys: the public halves, bound to customers and scopes."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ARRAY, Connection, Text, any_, insert, literal, or_, select, update

from worker.billing.admission import ProducerKey
from worker.storage.tables import producer_keys

KEY = [producer_keys.c[name] for name in ProducerKey._fields]
NOTE_USE_EVERY = timedelta(minutes=1)  # a write per batch would cost more than it tells


def add_producer_key(tx: Connection, key: ProducerKey) -> None:
    tx.execute(insert(producer_keys).values(key._asdict()))


def find_producer_keys(tx: Connection, key_ids: Collection[str]) -> dict[str, ProducerKey]:
    """Those of these keys that there are, in one statement."""
    if not key_ids:
        return {}
    wanted = producer_keys.c.key_id == any_(literal(list(key_ids), ARRAY(Text)))
    return {row.key_id: ProducerKey(*row) for row in tx.execute(select(*KEY).where(wanted))}


def list_producer_keys(tx: Connection) -> list[ProducerKey]:
    rows = select(*KEY).order_by(producer_keys.c.created_at, producer_keys.c.key_id)
    return [ProducerKey(*row) for row in tx.execute(rows)]


def revoke_producer_key(tx: Connection, key_id: str, now: datetime) -> bool:
    """False if there is no such key, or it was revoked before."""
    revoked = tx.execute(
        update(producer_keys)
        .where(producer_keys.c.key_id == key_id, producer_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(producer_keys.c.key_id)
    )
    return revoked.first() is not None


def expire_producer_key(tx: Connection, key_id: str, at: datetime) -> None:
    tx.execute(update(producer_keys).where(producer_keys.c.key_id == key_id).values(expires_at=at))


def note_use_of_producer_keys(tx: Connection, key_ids: Collection[str], now: datetime) -> None:
    """At most once a minute; a row that another settler holds is noted by that one."""
    last = producer_keys.c.last_used_at
    stale = (
        select(producer_keys.c.key_id)
        .where(
            producer_keys.c.key_id == any_(literal(list(key_ids), ARRAY(Text))),
            or_(last.is_(None), last < now - NOTE_USE_EVERY),
        )
        .with_for_update(skip_locked=True)
    )
    tx.execute(
        update(producer_keys).where(producer_keys.c.key_id.in_(stale)).values(last_used_at=now)
    )
