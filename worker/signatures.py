"""Who signed what lies in the inbox; of the worker the only file that knows cryptography."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection

from schemas.inbox import partition_of, signed_bytes
from worker.billing.admission import ProducerKey, is_signed, refuse_signed, refuse_unsigned
from worker.billing.fix import Arrival
from worker.billing.journal import Quarantined
from worker.billing.outcome import Refused
from worker.storage.producer_keys import (
    NOTE_USE_EVERY,
    find_producer_keys,
    note_use_of_producer_keys,
)


class Trust(NamedTuple):
    """What an entry must show, at this moment of the wall clock."""

    wall: datetime
    unsigned: bool = False  # taken: only our own processes reach the inbox store


def check_senders(
    tx: Connection, arrivals: Sequence[Arrival], trust: Trust
) -> tuple[list[Arrival], list[Quarantined]]:
    """Those that may be billed, and those that may not; the keys are read once a batch."""
    keys = keyring(tx, arrivals)
    taken, refused, used = [], [], {}
    for arrival in arrivals:
        entry = arrival.entry
        why = refusal(arrival, keys, trust)
        if why is not None:
            # Without the event: nobody has proven whose it is, so no customer is to see it.
            refused.append(Quarantined(entry, None, why.reason, why.detail))
            continue
        taken.append(arrival)
        if entry.key_id is not None:
            used[entry.key_id] = keys[entry.key_id].known
    note_use(tx, used, trust.wall)
    return taken, refused


class Verifier(NamedTuple):
    """A key, ready to verify."""

    known: ProducerKey
    public: Ed25519PublicKey

    def signed(self, arrival: Arrival) -> bool:
        event, entry = arrival
        signed = signed_bytes(partition_of(event.customer_id), entry.body)
        try:
            self.public.verify(entry.signature or b"", signed)
        except InvalidSignature:
            return False
        return True


def keyring(tx: Connection, arrivals: Sequence[Arrival]) -> dict[str, Verifier]:
    named = {entry.key_id for _, entry in arrivals if entry.key_id is not None}
    return {
        key_id: Verifier(key, Ed25519PublicKey.from_public_bytes(key.public_key))
        for key_id, key in find_producer_keys(tx, named).items()
    }


def refusal(arrival: Arrival, keys: dict[str, Verifier], trust: Trust) -> Refused | None:
    event, entry = arrival
    if not is_signed(entry):
        return None if trust.unsigned else refuse_unsigned()
    verifier = keys.get(entry.key_id or "")
    key = verifier.known if verifier else None
    genuine = verifier is not None and verifier.signed(arrival)
    return refuse_signed(event, entry, key, genuine, trust.wall)


def note_use(tx: Connection, used: dict[str, ProducerKey], wall: datetime) -> None:
    stale = [
        key_id
        for key_id, key in used.items()
        if key.last_used_at is None or wall - key.last_used_at > NOTE_USE_EVERY
    ]
    if stale:
        note_use_of_producer_keys(tx, stale, wall)
