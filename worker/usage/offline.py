"""An exported ledger: its lines, and whether they are what they were. docs/proof.md has the format.

Needs the file and nothing else: no database, no setting, no network.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any, BinaryIO, NamedTuple

from worker.billing.ledger import ACCOUNTS, CREDIT, Transfer
from worker.usage.chain import Chain, Head, breaks, noting_heads

FORMAT = "fixbill-ledger-1"
LINE_BYTES_MAX = 65_536  # far more than any line has
TEXT, WHOLE, ID = (str,), (int,), (str, type(None))
TRANSFER = (TEXT, WHOLE, TEXT, TEXT, TEXT, TEXT, WHOLE, TEXT, ID, ID, ID, WHOLE, TEXT, TEXT, TEXT)

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Header(NamedTuple):
    """The first line."""

    format: str
    as_of: datetime
    customers: int


class Problem(NamedTuple):
    """What is wrong, on which line of the file, and with what of whom."""

    line: int
    customer_id: str | None
    seq: int | None
    why: str


class Verdict(NamedTuple):
    """What the file holds if nothing is wrong with it; the fingerprint is that of `verify`."""

    problems: list[Problem]
    as_of: datetime | None
    customers: int
    transfers: int
    fingerprint: str | None


class Unreadable(ValueError):
    """From this line on the file cannot be followed."""


def line_of(row: Transfer | Head | Header | str) -> bytes:
    """The one way in which a row is written; a text is the digest of all lines before it."""
    value: object
    if isinstance(row, Transfer):
        *columns, happened_at, recorded_at, digest = row
        value = [*columns, happened_at.isoformat(), recorded_at.isoformat(), digest.hex()]
    elif isinstance(row, Head):
        value = row._asdict() | {"head": row.head.hex()}
    elif isinstance(row, Header):
        value = row._asdict() | {"as_of": row.as_of.isoformat()}
    else:
        value = {"sha256": row}
    return encode(value).encode() + b"\n"


def row_in(line: bytes) -> Transfer | Head | Header | str:
    """The row that is written so; raises Unreadable for whatever is not exactly that."""
    try:
        row = row_of(json.loads(line))
        if line_of(row) == line:
            return row
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        pass
    raise Unreadable("not a line as an export writes it")


def row_of(value: Any) -> Transfer | Head | Header | str:
    """Whatever of it is of another kind is written otherwise, or raises."""
    if isinstance(value, list):
        if not all(type(each) in kinds for each, kinds in zip(value, TRANSFER, strict=True)):
            raise TypeError
        *columns, happened_at, recorded_at, digest = value
        times = map(datetime.fromisoformat, (happened_at, recorded_at))
        return Transfer._make([*columns, *times, bytes.fromhex(digest)])
    if "sha256" in value:
        return str(value["sha256"])
    if "format" in value:
        as_of = datetime.fromisoformat(value["as_of"])
        return Header(str(value["format"]), as_of, int(value["customers"]))
    balances = {name: int(value["balances"][name]) for name in ACCOUNTS}
    head = bytes.fromhex(value["head"])
    return Head(str(value["customer_id"]), int(value["seq"]), head, balances)


class Lines:
    """The file, line by line, and where in it we are."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = sha256()
        self.number = 0
        self.heads = 0
        self.transfers = 0
        self.at: tuple[str, int | None] | None = None  # whose transfer, or head, was read last
        self.closed = ""  # the customer whose head was read last

    def next(self) -> Transfer | Head | Header | str:
        line = self.file.readline(LINE_BYTES_MAX)
        self.number += 1
        if not line:
            raise Unreadable("the file ends here, without its last line")
        row = row_in(line)
        if not isinstance(row, str):
            self.digest.update(line)
        return row

    def header(self) -> Header:
        row = self.next()
        if not isinstance(row, Header) or row.format != FORMAT:
            raise Unreadable(f"this is no export of the format {FORMAT}")
        return row

    def rows(self, header: Header) -> Iterator[Transfer | Head]:
        """Everything between the first line and the last, both of which must agree with it."""
        while not isinstance(row := self.next(), str):
            if isinstance(row, Header) or row.customer_id <= self.closed:
                raise Unreadable("this line does not belong here")
            self.note(row)
            yield row
        if row != self.digest.hexdigest():
            raise Unreadable("the digest is not that of the lines before it")
        if self.heads != header.customers:
            raise Unreadable(f"of {header.customers} customers {self.heads} are here")
        if self.file.read(1):
            raise Unreadable("the file goes on after its last line")

    def note(self, row: Transfer | Head) -> None:
        self.at = (row.customer_id, row.seq)
        if isinstance(row, Head):
            self.heads, self.closed, self.at = self.heads + 1, row.customer_id, None
        else:
            self.transfers += 1

    def problem(self, why: str) -> Problem:
        """On this line, which should be of the customer whose transfers came before it."""
        customer_id, seq = self.at or (None, 0)
        return Problem(self.number, customer_id, seq + 1 if customer_id and seq else None, why)


class ToldChain(Chain):
    """Beside the chain: what the database guards in the books, told again from the file alone.

    A transfer takes from one account what it gives to another, so that balances which are the sums
    of transfers add up to 0 for each unit.
    """

    def __init__(self, causes: sqlite3.Cursor) -> None:
        super().__init__()
        self.balances = dict.fromkeys(ACCOUNTS, 0)
        self.currency: str | None = None
        self.causes = causes
        causes.execute("DELETE FROM causes")

    def follow(self, transfer: Transfer) -> str | None:
        return super().follow(transfer) or self.add(transfer)

    def add(self, transfer: Transfer) -> str | None:
        self.balances[transfer.from_account] -= transfer.amount
        self.balances[transfer.to_account] += transfer.amount
        if transfer.unit not in (CREDIT, self.currency):
            if self.currency is not None:
                return f"money in {transfer.unit} after money in {self.currency}"
            self.currency = transfer.unit
        cause = (transfer.kind, transfer.source_key)
        fresh = self.causes.execute("INSERT OR IGNORE INTO causes VALUES (?, ?)", cause).rowcount
        return None if fresh else "its cause has counted before"

    def end(self, head: Head) -> str | None:
        wrong = [name for name, moved in self.balances.items() if head.balances[name] != moved]
        told = f"the balances are not the sums of the transfers: {', '.join(wrong)}"
        return super().end(head) or (told if wrong else None)


def check(file: BinaryIO) -> Verdict:
    """Everything that the file can tell of itself; memory does not grow with it."""
    lines, fingerprint = Lines(file), sha256()
    problems: list[Problem] = []
    header = None
    # A temporary file: one customer may have more causes than memory.
    with closing(sqlite3.connect("", isolation_level=None)) as causes:
        causes.execute("CREATE TABLE causes (kind, key, PRIMARY KEY (kind, key)) WITHOUT ROWID")
        causes.execute("BEGIN")
        try:
            header = lines.header()
            ledger = noting_heads(lines.rows(header), fingerprint)
            for broken in breaks(ledger, partial(ToldChain, causes.cursor())):
                problems.append(Problem(lines.number, broken.customer_id, broken.seq, broken.why))
        except Unreadable as error:
            problems.append(lines.problem(str(error)))
    return Verdict(
        problems,
        header.as_of if header else None,
        lines.heads,
        lines.transfers,
        None if problems else fingerprint.hexdigest(),
    )
