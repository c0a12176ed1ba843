"""Whose entries the inbox takes: the rule, without a cipher or a connection."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from schemas.events import Event
from schemas.inbox import Entry, partition_of
from worker.billing.outcome import Refused


class ProducerKey(NamedTuple):
    """What a producer signs with, as far as we know it: the public half."""

    key_id: str
    public_key: bytes
    name: str
    scopes: list[str]
    customer_ids: list[str] | None  # None is every customer
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


def is_signed(entry: Entry) -> bool:
    """Half a signature counts as one, and is a bad one."""
    return entry.key_id is not None or entry.signature is not None


def refuse_unsigned() -> Refused:
    return Refused("unsigned", "set FIXBILL_SIGNING_KEY where it is published, and send it again")


def refuse_signed(
    event: Event, entry: Entry, key: ProducerKey | None, genuine: bool, wall: datetime
) -> Refused | None:
    """Why this entry is not taken, if it is not; the first reason that is found.

    A key counts as of now: the moment an entry says it was accepted is the producer's to choose.
    """
    lies_in, belongs_in = entry.partition, partition_of(event.customer_id)
    if lies_in is not None and lies_in != belongs_in:
        return Refused("moved", f"lies in partition {lies_in}, its customer's is {belongs_in}")
    if key is None:
        made = "`fixbill keys producer create`"
        return Refused(
            "unknown_key", f"no key {entry.key_id} is known; make or register one: {made}"
        )
    if not genuine:
        return Refused("bad_signature", f"is not what the key {key.key_id} signed; send it again")
    if key.revoked_at is not None:
        return Refused("key_revoked", f"the key {key.key_id} is revoked; sign with another")
    if key.expires_at is not None and key.expires_at <= wall:
        return Refused("key_expired", f"the key {key.key_id} has expired; sign with its successor")
    if key.customer_ids is not None and event.customer_id not in key.customer_ids:
        return Refused("not_bound", f"the key {key.key_id} is not bound to {event.customer_id}")
    scope = "revert" if event.reverts else "publish"
    if scope not in key.scopes:
        return Refused("lacks_scope", f"the key {key.key_id} needs the scope {scope}")
    return None
