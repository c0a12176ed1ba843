"""Small ledgers without a database, and the files that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from typing import Any

from tests.builders import HOUR, NOW, book
from worker.billing.ledger import ACCOUNTS, NO_HEAD, Transfer, chain_hash
from worker.usage.chain import Head
from worker.usage.offline import FORMAT, Header, Verdict, check, line_of

Rows = list[Transfer | Head]

# What moves: kind, amount, source key, and the ids of fix, grant and charge.
MOVES = [
    ("grant", 5, "gift", None, "gift", None),
    ("consume", 1, "fix-1", "fix-1", "gift", None),
    ("charge", 2900, "fix-2", "fix-2", None, "ch_1"),
]


def ledger(**moves: int) -> Rows:
    """Customers, and how many of the moves each has made; two busy ones and one without any."""
    rows: Rows = []
    for customer_id, count in (moves or {"acme": 3, "globex": 0, "hooli": 2}).items():
        opened = book(customer_id=customer_id)
        for kind, amount, key, fix_id, grant_id, charge_id in MOVES[:count]:
            moved = opened.move(
                kind,
                amount,
                key,
                happened_at=NOW - HOUR,
                recorded_at=NOW,
                fix_id=fix_id,
                grant_id=grant_id,
                charge_id=charge_id,
            )
            rows.append(moved)
        balances = {name: getattr(opened, name) for name in ACCOUNTS}
        rows.append(Head(customer_id, opened.seq, opened.head, balances))
    return rows


def other(row: Transfer | Head, **columns: Any) -> Transfer | Head:
    """The same row with another value."""
    return row._replace(**columns)


def chained_again(rows: Rows) -> Rows:
    """As one who may write everything would leave it: numbered and hashed anew, the head set."""
    forged: Rows = []
    seq, head = 0, NO_HEAD
    for row in rows:
        if isinstance(row, Head):
            forged.append(row._replace(seq=seq, head=head))
            seq, head = 0, NO_HEAD
        else:
            seq += 1
            numbered = row._replace(seq=seq)
            head = chain_hash(head, numbered)
            forged.append(numbered._replace(hash=head))
    return forged


def balanced_again(rows: Rows) -> Rows:
    """With the balances that these transfers add up to."""
    sums = dict.fromkeys(ACCOUNTS, 0)
    balanced: Rows = []
    for row in rows:
        if isinstance(row, Head):
            balanced.append(row._replace(balances=sums))
            sums = dict.fromkeys(ACCOUNTS, 0)
        else:
            sums[row.from_account] -= row.amount
            sums[row.to_account] += row.amount
            balanced.append(row)
    return balanced


def file_of(rows: Iterable[Transfer | Head], customers: int = 3) -> bytes:
    """An export as it would be written."""
    lines = b"".join(map(line_of, [Header(FORMAT, NOW, customers), *rows]))
    return sealed(lines)


def sealed(lines: bytes) -> bytes:
    return lines + line_of(sha256(lines).hexdigest())


def checked(file: bytes) -> Verdict:
    return check(BytesIO(file))
