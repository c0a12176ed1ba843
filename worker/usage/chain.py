"""The chain: each customer's transfers, followed from the first to the head of their book.

One rule, whether the transfers come from the database or from an exported file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, Protocol

from worker.billing.ledger import CREDIT, CREDIT_ACCOUNTS, MOVEMENTS, NO_HEAD, Transfer, chain_hash


class Head(NamedTuple):
    """Where a customer's chain ends, and what their accounts hold, as the book says."""

    customer_id: str
    seq: int
    head: bytes
    balances: dict[str, int]


# Customers in the order of their ids; of each the transfers in order, then the head.
Ledger = Iterable[Transfer | Head]


class Break(NamedTuple):
    """Where a customer's chain is broken first."""

    customer_id: str
    seq: int
    why: str
    at_head: bool = False  # the head of the book does not follow the transfer with this seq


class Digest(Protocol):
    """One of hashlib's."""

    def update(self, data: bytes, /) -> None: ...


class Chain:
    """The transfers of one customer so far."""

    def __init__(self) -> None:
        self.seq = 0
        self.head = NO_HEAD

    def follow(self, transfer: Transfer) -> str | None:
        """What is wrong with the next transfer, if anything is."""
        if transfer.seq != self.seq + 1:
            return f"the transfer after {self.seq} is {transfer.seq}"
        if chain_hash(self.head, transfer) != transfer.hash:
            return "the hash is not that of this transfer after the one before"
        self.seq, self.head = transfer.seq, transfer.hash
        return unsound(transfer)

    def end(self, head: Head) -> str | None:
        """What is wrong with the head of the book, if anything is."""
        if (head.seq, head.head) != (self.seq, self.head):
            return f"the head of the book is of {head.seq}, the last transfer is {self.seq}"
        return None


def unsound(transfer: Transfer) -> str | None:
    """What no transfer may be, however well it is chained."""
    way = (transfer.from_account, transfer.to_account)
    if MOVEMENTS.get(transfer.kind) != way:
        return "no movement of the ledger"
    if (transfer.unit == CREDIT) != (transfer.from_account in CREDIT_ACCOUNTS):
        return "a unit that its accounts do not hold"
    if transfer.amount <= 0:
        return "an amount that is not above 0"
    if "" in transfer:  # hashed like a column that is empty
        return "an id without characters"
    return None


def breaks(ledger: Ledger, chain: Callable[[], Chain] = Chain) -> Iterator[Break]:
    """Where each customer's chain is broken first."""
    for customer_id, rows in groupby(ledger, key=attrgetter("customer_id")):
        found = first_break(customer_id, rows, chain())
        if found is not None:
            yield found


def first_break(customer_id: str, rows: Ledger, chain: Chain) -> Break | None:
    for row in rows:
        if isinstance(row, Head):
            why = chain.end(row)
            return Break(customer_id, chain.seq, why, at_head=True) if why else None
        why = chain.follow(row)
        if why:
            return Break(customer_id, row.seq, why)
    return Break(customer_id, chain.seq, "these transfers have no head", at_head=True)


def noting_heads(ledger: Ledger, fingerprint: Digest) -> Iterator[Transfer | Head]:
    """The same, with every head put into the fingerprint on its way."""
    for row in ledger:
        if isinstance(row, Head):
            fingerprint.update(f"{row.customer_id}\x1f{row.seq}\x1f{row.head.hex()}\n".encode())
        yield row
