"""Where the sandbox keeps everything: one SQLite file, one connection, one thread.

Every call runs from BEGIN to COMMIT inside the event loop without awaiting, so calls cannot
interleave and need no lock; what hangs, hangs outside a transaction.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import string
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worker.sandbox.errors import JsonObject, missing_object

# A letter or digit for every byte; some come a little more often, which no id minds.
LETTERS = (5 * (string.ascii_letters + string.digits)).encode()[:256]

# NORMAL: a commit outlives kill -9 of this process. Only a power failure could undo the last
# ones, and a sandbox that loses its machine has lost its caller too.
SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA busy_timeout = 5000;
CREATE TABLE IF NOT EXISTS objects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, id TEXT NOT NULL UNIQUE,
  created INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS objects_by_kind ON objects (kind, seq);
CREATE INDEX IF NOT EXISTS objects_by_customer
  ON objects (kind, json_extract(body, '$.customer'), seq);
CREATE INDEX IF NOT EXISTS objects_by_intent
  ON objects (kind, json_extract(body, '$.payment_intent'), seq);
CREATE INDEX IF NOT EXISTS objects_by_subscription
  ON objects (kind, json_extract(body, '$.parent.subscription_details.subscription'), seq);
CREATE INDEX IF NOT EXISTS objects_by_invoice
  ON objects (kind, json_extract(body, '$.invoice'), seq);
CREATE INDEX IF NOT EXISTS objects_by_invoice_intent
  ON objects (kind, json_extract(body, '$.payment.payment_intent'), seq);
CREATE TABLE IF NOT EXISTS vault (
  payment_method TEXT PRIMARY KEY, card TEXT NOT NULL, spent INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS mandates (payment_method TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS authentications (
  intent TEXT PRIMARY KEY, return_url TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS payments (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, payment_intent TEXT NOT NULL, charge TEXT NOT NULL,
  customer TEXT, amount INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL,
  metadata TEXT NOT NULL, idempotency_key TEXT, created INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS refunds (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, payment_intent TEXT NOT NULL, charge TEXT NOT NULL,
  refund TEXT NOT NULL UNIQUE, amount INTEGER NOT NULL, currency TEXT NOT NULL,
  status TEXT NOT NULL, metadata TEXT NOT NULL, idempotency_key TEXT,
  created INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS disputes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, payment_intent TEXT NOT NULL, charge TEXT NOT NULL,
  dispute TEXT NOT NULL UNIQUE, amount INTEGER NOT NULL, currency TEXT NOT NULL,
  reason TEXT NOT NULL, status TEXT NOT NULL, withdrawn INTEGER NOT NULL,
  created INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS idempotency_keys (
  key TEXT PRIMARY KEY, endpoint TEXT NOT NULL, params TEXT NOT NULL, status INTEGER NOT NULL,
  body TEXT NOT NULL, request_id TEXT NOT NULL, created INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS webhook_secrets (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, secret TEXT NOT NULL,
  expires INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS webhook_deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, endpoint TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS webhook_deliveries_by_event ON webhook_deliveries (event);
CREATE INDEX IF NOT EXISTS webhook_deliveries_due
  ON webhook_deliveries (due) WHERE state = 'pending';
CREATE TABLE IF NOT EXISTS faults (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, fault TEXT NOT NULL, method TEXT NOT NULL,
  path TEXT NOT NULL, event TEXT NOT NULL, times INTEGER NOT NULL, skip INTEGER NOT NULL,
  seconds REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS later (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, due INTEGER NOT NULL, what TEXT NOT NULL,
  id TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS later_by_due ON later (due, seq);
CREATE TABLE IF NOT EXISTS clock (advanced INTEGER NOT NULL) STRICT;
INSERT INTO clock SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
CREATE TABLE IF NOT EXISTS customer_clocks (
  customer TEXT PRIMARY KEY, ahead INTEGER NOT NULL) STRICT;
"""


@dataclass(frozen=True)
class Condition:
    """One narrowing of a list: a fixed piece of SQL and the value it compares with."""

    sql: str
    value: str | int


def where(path: str, value: str | int) -> Condition:
    """The field at this path is this."""
    return Condition(f"json_extract(body, '$.{path}') = ?", value)


def among(path: str, values: str) -> Condition:
    """The field at this path is one of a JSON list."""
    return Condition(
        f"json_extract(body, '$.{path}') IN (SELECT value FROM json_each(?))",  # noqa: S608
        values,
    )


def new_id(prefix: str, length: int = 24) -> str:
    """An id in Stripe's style."""
    return f"{prefix}_{secrets.token_bytes(length).translate(LETTERS).decode()}"


class Tx:
    """One transaction: the objects, the business time, and the call all of it is done for.

    `clock` is everybody's, `ahead` how far the customer it is about is ahead of that.
    """

    def __init__(
        self, db: sqlite3.Connection, request_id: str | None, key: str | None, origin: str
    ) -> None:
        self.db = db
        self.request_id = request_id
        self.key = key
        self.origin = origin  # where a browser finds the sandbox
        (advanced,) = db.execute("SELECT advanced FROM clock").fetchone()
        self.clock: int = int(time.time()) + advanced
        self.ahead: int = 0

    @property
    def now(self) -> int:
        """The time of the customer it is about, and without one the common time."""
        return self.clock + self.ahead

    def find(self, kind: str, wanted: str) -> JsonObject | None:
        row = self.db.execute(
            "SELECT body FROM objects WHERE id = ? AND kind = ?", (wanted, kind)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def get(self, kind: str, known: str) -> JsonObject:
        """An object that is there, because another one names it."""
        found = self.find(kind, known)
        if found is None:
            raise LookupError(known)
        return found

    def named(self, kind: str, wanted: str, param: str) -> JsonObject:
        """The object that a parameter names; what was deleted can only be looked at."""
        found = self.find(kind, wanted)
        if found is None or found.get("deleted"):
            raise missing_object(kind, wanted, param)
        return found

    def find_any(self, wanted: str) -> JsonObject | None:
        row = self.db.execute("SELECT body FROM objects WHERE id = ?", (wanted,)).fetchone()
        return json.loads(row[0]) if row else None

    def add(self, thing: JsonObject) -> None:
        self.db.execute(
            "INSERT INTO objects (kind, id, created, body) VALUES (?, ?, ?, ?)",
            (thing["object"], thing["id"], thing["created"], json.dumps(thing)),
        )

    def replace(self, thing: JsonObject) -> None:
        self.db.execute(
            "UPDATE objects SET body = ? WHERE id = ?", (json.dumps(thing), thing["id"])
        )

    def remove(self, wanted: str) -> None:
        self.db.execute("DELETE FROM objects WHERE id = ?", (wanted,))

    def place(self, kind: str, wanted: str) -> int | None:
        """Where an object stands in the order of creation."""
        row = self.db.execute(
            "SELECT seq FROM objects WHERE id = ? AND kind = ?", (wanted, kind)
        ).fetchone()
        return row[0] if row else None

    def page(
        self, kind: str, conditions: Sequence[Condition], order: str, limit: int
    ) -> list[JsonObject]:
        parts = [
            "SELECT body FROM objects WHERE kind = ?",
            *(f"AND {condition.sql}" for condition in conditions),
            f"ORDER BY seq {order} LIMIT ?",
        ]
        values = (kind, *(condition.value for condition in conditions), limit)
        return [json.loads(body) for (body,) in self.db.execute(" ".join(parts), values)]

    @contextmanager
    def undone_on_refusal(self) -> Iterator[None]:
        """Nothing written inside remains if it ends in an exception."""
        self.db.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO attempt")
            raise
        finally:
            self.db.execute("RELEASE attempt")


class Store:
    """The SQLite file, opened once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(SCHEMA)

    @contextmanager
    def transaction(
        self, request_id: str | None = None, key: str | None = None, origin: str = ""
    ) -> Iterator[Tx]:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield Tx(self.db, request_id, key, origin)
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def close(self) -> None:
        self.db.close()
