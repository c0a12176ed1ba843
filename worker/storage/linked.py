"""The transfers about one fix or charge, found by what caused them, with the hash before each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from worker.billing.ledger import NO_HEAD, Transfer
from worker.billing.reverts import REVERT
from worker.storage import bulk
from worker.storage.collection import Collection
from worker.storage.tables import transfers

OF_FIX = ("consume", "give_back", "charge", "uncharge", "unapply")
OF_LINE = ("charge", "uncharge", "unapply")
OF_CHARGE = ("apply", "unapply", "write_off")
OF_PAYMENT = ("pay", "unapplied_in")
OF_REFUND = ("refund", "refund_failed", "refund_unapplied", "refund_unapplied_failed")
OF_CREDITS_BACK = ("claw_back", "reissue")
OF_DISPUTE = ("dispute_opened", "dispute_won", "dispute_lost")


class Linked(NamedTuple):
    """A transfer, and the hash of the one before it."""

    transfer: Transfer
    previous: bytes | None  # None: there is none, and there should be


def transfers_of_fix(
    tx: Connection, customer_id: str, fix_id: str, collection: Collection | None
) -> list[Linked]:
    """Those that name it, those of the credit it earned, and those of its whole charge."""
    charge_id = collection.charge.charge_id if collection else None
    found = linked(tx, customer_id, keys_of_fix(fix_id, collection))
    return [each for each in found if is_about(each.transfer, fix_id, charge_id)]


def transfers_of_charge(
    tx: Connection, collection: Collection, fix_ids: Sequence[str]
) -> list[Linked]:
    """Its own, and those that put these fixes on it or took them off."""
    charge = collection.charge
    keys = [*keys_of_charge(collection)]
    keys += [(kind, fix_id) for fix_id in fix_ids for kind in OF_LINE]
    return [
        each
        for each in linked(tx, charge.customer_id, keys)
        if each.transfer.charge_id == charge.charge_id or each.transfer.fix_id is not None
    ]


def keys_of_fix(fix_id: str, collection: Collection | None) -> Iterator[tuple[str, str]]:
    """Kind and source key of every transfer that can be about this fix."""
    yield from ((kind, fix_id) for kind in OF_FIX)
    earned = REVERT + fix_id
    yield "grant", earned
    if collection is not None:
        yield from keys_of_charge(collection)
        for each in collection.refunds:
            yield from ((kind, f"{each.stripe_refund}/{earned}") for kind in OF_CREDITS_BACK)


def keys_of_charge(collection: Collection) -> Iterator[tuple[str, str]]:
    charge = collection.charge
    yield from ((kind, charge.charge_id) for kind in OF_CHARGE)
    yield from ((kind, charge.payment_intent or charge.charge_id) for kind in OF_PAYMENT)
    for refund in collection.refunds:
        yield from ((kind, refund.stripe_refund or refund.refund_id) for kind in OF_REFUND)
    for dispute in collection.disputes:
        yield from ((kind, dispute.dispute_id) for kind in OF_DISPUTE)


def is_about(transfer: Transfer, fix_id: str, charge_id: str | None) -> bool:
    """Not of another fix of the same charge, nor of another thing whose id is this fix's."""
    if transfer.fix_id is not None:
        return transfer.fix_id == fix_id
    earned = transfer.grant_id == REVERT + fix_id
    return earned or (charge_id is not None and transfer.charge_id == charge_id)


def linked(tx: Connection, customer_id: str, keys: Iterable[tuple[str, str]]) -> list[Linked]:
    """The transfers with these kinds and source keys, each with the hash it is chained to."""
    wanted = {(customer_id, *each) for each in keys}
    rows = bulk.find(tx, transfers, Transfer, ("customer_id", "kind", "source_key"), wanted)
    found = sorted(rows, key=lambda each: each.seq)
    places = {(customer_id, each.seq - 1) for each in found}
    before = bulk.find(tx, transfers, Transfer, ("customer_id", "seq"), places)
    hashes = {each.seq: each.hash for each in before}
    return [Linked(each, NO_HEAD if each.seq == 1 else hashes.get(each.seq - 1)) for each in found]
