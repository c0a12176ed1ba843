"""Transfers: one row moves an amount from one account to another, so none can be unbalanced.

Every customer's ledger is closed in itself. A balance is what came in minus what went out, so the
balances of one unit always add up to 0.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

CREDIT = "credit"  # the unit of credits; any other unit is a currency, in minor units

CREDIT_ACCOUNTS = ("issued", "credits", "consumed", "expired")
MONEY_ACCOUNTS = (
    "revenue",
    "receivable",
    "cash",
    "unapplied",
    "refunded",
    "disputed",
    "lost",
    "written_off",
    "fees",
)
ACCOUNTS = CREDIT_ACCOUNTS + MONEY_ACCOUNTS

# Every way value can move: kind → (from, to). docs/ledger.md explains each line.
MOVEMENTS = {
    "grant": ("issued", "credits"),
    "consume": ("credits", "consumed"),
    "give_back": ("consumed", "credits"),
    "expire": ("credits", "expired"),
    "roll_out": ("credits", "issued"),
    "roll_in": ("issued", "credits"),
    "claw_back": ("credits", "issued"),
    "reissue": ("issued", "credits"),
    "charge": ("revenue", "receivable"),
    "uncharge": ("receivable", "revenue"),
    "invoice": ("revenue", "receivable"),
    "top_up": ("revenue", "receivable"),
    "pay": ("receivable", "cash"),
    "unapplied_in": ("unapplied", "cash"),
    "apply": ("receivable", "unapplied"),
    "unapply": ("unapplied", "receivable"),
    "refund": ("cash", "refunded"),
    "refund_failed": ("refunded", "cash"),
    "refund_unapplied": ("cash", "unapplied"),
    "refund_unapplied_failed": ("unapplied", "cash"),
    "dispute_opened": ("cash", "disputed"),
    "dispute_won": ("disputed", "cash"),
    "dispute_lost": ("disputed", "lost"),
    "write_off": ("receivable", "written_off"),
    "fee": ("cash", "fees"),
    "fee_returned": ("fees", "cash"),
}

NO_HEAD = bytes(32)  # what the first transfer of a customer is chained to


class Transfer(NamedTuple):
    """One ledger row. `amount` is above 0: credits, or minor units of the currency in `unit`."""

    customer_id: str
    seq: int
    kind: str
    from_account: str
    to_account: str
    unit: str
    amount: int
    source_key: str  # what caused it; unique with the kind, so no cause counts twice
    fix_id: str | None
    grant_id: str | None
    charge_id: str | None
    cycle: int  # the number of the customer's cycle, and statement, in which it counts
    happened_at: datetime
    recorded_at: datetime
    hash: bytes


def chain_hash(head: bytes, transfer: Transfer) -> bytes:
    """SHA-256 over the previous hash and every column: one changed byte breaks all that follow.

    Columns are joined by the unit separator, which no validated text can contain.
    """
    text = "\x1f".join(
        (
            transfer.customer_id,
            str(transfer.seq),
            transfer.kind,
            transfer.from_account,
            transfer.to_account,
            transfer.unit,
            str(transfer.amount),
            transfer.source_key,
            transfer.fix_id or "",
            transfer.grant_id or "",
            transfer.charge_id or "",
            str(transfer.cycle),
            transfer.happened_at.isoformat(),
            transfer.recorded_at.isoformat(),
        )
    )
    return sha256(head + text.encode()).digest()
