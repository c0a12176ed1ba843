"""One valid event, and everything that can be wrong with a copy of it."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.events import Event
from schemas.inbox import EVENT_BYTES_MAX

FUTURE = "future"  # the one reason that the HTTP door leaves to the settler: its clock is the one
Document = dict[str, Any]


class Mutation(NamedTuple):
    """How it is made of the event, and what is said of it."""

    of: Callable[[Event], bytes]
    field: str | None = None  # named by the HTTP door; None: it is no event at all
    reason: str = "unreadable"  # given by the quarantine


def document(event: Event) -> Document:
    found: Document = json.loads(event.to_bytes())
    return found


def changed(path: str, value: object) -> Callable[[Event], bytes]:
    """With another value there; `...` takes it away."""
    *places, last = path.split(".")

    def change(event: Event) -> bytes:
        found = deepcopy(document(event))
        target = found
        for place in places:
            target = target[place]
        target[last] = value
        if value is ...:
            del target[last]
        return json.dumps(found).encode()

    return change


def field(path: str, value: object) -> Mutation:
    return Mutation(changed(path, value), path)


def text(change: Callable[[bytes], bytes]) -> Mutation:
    """Of the bytes, whatever they say."""
    return Mutation(lambda event: change(event.to_bytes()))


def replaced(old: bytes, new: bytes) -> Mutation:
    def replace(body: bytes) -> bytes:
        assert old in body
        return body.replace(old, new, 1)

    return text(replace)


def ahead(**more: int) -> str:
    return (datetime.now(UTC) + timedelta(**more)).strftime("%Y-%m-%dT%H:%M:%SZ")


MUTATIONS: dict[str, Mutation] = {
    # Bytes.
    "nothing": Mutation(lambda _: b""),
    "white space": Mutation(lambda _: b" \r\n\t"),
    "cut off": text(lambda body: body[:-1]),
    "cut in half": text(lambda body: body[: len(body) // 2]),
    "twice": text(lambda body: body * 2),
    "something behind it": text(lambda body: body + b";"),
    "NUL behind it": text(lambda body: body + b"\0"),
    "one bit flipped": text(lambda body: bytes([body[0] ^ 1]) + body[1:]),
    "gzip": text(gzip.compress),
    "base64": text(base64.b64encode),
    "pickle": text(lambda body: pickle.dumps(json.loads(body))),
    "YAML": text(lambda body: b"\n".join(b"%s: 1" % each.encode() for each in json.loads(body))),
    "Python's own notation": text(lambda body: repr(json.loads(body)).encode()),
    # Encodings.
    "a byte order mark": text(lambda body: b"\xef\xbb\xbf" + body),
    "UTF-16": text(lambda body: body.decode().encode("utf-16")),
    "UTF-32": text(lambda body: body.decode().encode("utf-32")),
    "Latin-1": replaced(b'"fix-', b'"\xe9fix-'),
    "overlong UTF-8": replaced(b'"fix-', b'"\xc1\xa6ix-'),
    # JSON.
    "in quotes": text(lambda body: json.dumps(body.decode()).encode()),
    "in an object": Mutation(lambda e: b'{"event":%s}' % e.to_bytes(), "specversion"),
    "null": Mutation(lambda _: b"null"),
    "a comma too many": text(lambda body: body[:-1] + b",}"),
    "a comment": text(lambda body: b"/* fixed */" + body),
    "a fix twice": Mutation(
        lambda e: e.to_bytes().replace(b'"fix_id"', b'"fix_id":"fix-0","fix_id"'), "fix_id"
    ),
    "a customer twice": Mutation(
        lambda e: e.to_bytes().replace(b'"customer_id"', b'"customer_id":"globex","customer_id"'),
        "customer_id",
    ),
    "NaN": text(lambda body: body[:-1] + b',"note":NaN}'),
    "a number of 5,000 digits": text(lambda body: body[:-1] + b',"note":' + b"7" * 5000 + b"}"),
    # Depth and size.
    "nine levels": text(lambda body: body[:-1] + b',"note":' + b"[" * 8 + b"]" * 8 + b"}"),
    "a thousand levels": text(
        lambda body: body[:-1] + b',"note":' + b"[" * 1000 + b"]" * 1000 + b"}"
    ),
    "a byte too large": text(lambda body: body + b" " * (EVENT_BYTES_MAX + 1 - len(body))),
    # Fields that are not there, or null.
    **{
        f"no {path}": field(path, ...)
        for path in (
            "specversion",
            "id",
            "source",
            "type",
            "time",
            "subject",
            "data",
            "data.customer_id",
            "data.fix_id",
            "data.repository",
            "data.commit_sha",
        )
    },
    "a fix that is null": field("data.fix_id", None),
    "a customer that is null": field("data.customer_id", None),
    "data that is null": field("data", None),
    # Types.
    "an id that is a number": field("id", 1),
    "a customer that is a list": field("data.customer_id", ["acme"]),
    "a customer that is an object": field("data.customer_id", {"$ne": ""}),
    "data that is a list": field("data", []),
    "data in quotes": field("data", "{}"),
    "a true pull request": field("data.pull_request", True),
    "a pull request in words": field("data.pull_request", "7"),
    "half a pull request": field("data.pull_request", 7.5),
    "pull request 0": field("data.pull_request", 0),
    "a pull request beyond 32 bits": field("data.pull_request", 2**31),
    "a fix of another name than the subject": Mutation(changed("subject", "fix-0")),
    # Ids.
    "an empty fix": field("data.fix_id", ""),
    "a fix of 129 characters": field("data.fix_id", "f" * 129),
    "a customer with a space": field("data.customer_id", "acme "),
    "a customer with a line break": field("data.customer_id", "acme\n"),
    "a customer with a NUL": field("data.customer_id", "acme\0"),
    "a customer with a Cyrillic letter": field("data.customer_id", "\u0430cme"),
    "a customer in full width": field("data.customer_id", "\uff41\uff43\uff4d\uff45"),
    "a customer with a zero width": field("data.customer_id", "ac\u200bme"),
    "a customer with half a character": field("data.customer_id", "acme\ud800"),
    "a customer with SQL": field("data.customer_id", "acme' OR '1'='1"),
    "a customer with a path": field("data.customer_id", "../acme"),
    "a source with a space": field("source", "github.com/acme/shop x"),
    "a commit that is a branch": field("data.commit_sha", "main"),
    # Times.
    "a time without a zone": field("time", "2026-03-15T11:59:00"),
    "a time in seconds": field("time", 1773576000),
    "a time in words": field("time", "now"),
    "the 30th of February": field("time", "2026-02-30T12:00:00Z"),
    "before time began": field("time", "0001-01-01T00:00:00+14:00"),
    "six minutes ahead": Mutation(lambda e: changed("time", ahead(minutes=6))(e), None, FUTURE),
    "a year ahead": Mutation(lambda e: changed("time", ahead(days=365))(e), None, FUTURE),
    # Kinds, and what only the catalogue says.
    "another specification": field("specversion", "0.3"),
    "another kind": field("type", "com.fixbill.fix.paid.v1"),
    "a later version": field("type", "com.fixbill.fix.deployed.v2"),
    "XML": field("datacontenttype", "application/xml"),
    "a price": field("data.price", 1),
    "an amount": field("data.amount", {"amount": 1, "currency": "usd"}),
    "a quantity": field("data.quantity", 1000),
    "a negative quantity": field("data.quantity", -1),
    "credits": field("data.credits", 1000),
    "a plan": field("data.plan", "pro"),
    "an outcome": field("data.outcome", "charged"),
}
