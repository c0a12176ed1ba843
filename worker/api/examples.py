"""Examples for the description of the API, made from its schemas: they cannot fall behind them."""

from __future__ import annotations

from typing import Any

from schemas.problems import ProblemType

Schema = dict[str, Any]


# What parameters of one name mean wherever they stand; a route may say more itself.
PARAMETERS = {
    "customer_id": "Whose.",
    "fix_id": "The fix.",
    "charge_id": "The charge.",
    "number": "Which statement: the number of its cycle.",
    "group_by": "What makes a group.",
    "Stripe-Signature": "Stripe's, over the bytes of the body.",
    "Idempotency-Key": "The same again makes nothing new.",
    "idempotency-key": "The same again makes nothing new.",
}

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

# What fields of one name hold, where their schema does not say it.
FIELDS: dict[str, Any] = {
    "customer_id": "acme",
    "fix_id": "fix-7c1d",
    "charge_id": "0198f2a1-5c1e-7b7e-9d55-2f6a1c0b9e11",
    "grant_id": "0198f2a1-0000-7000-8000-000000000001",
    "number": 3,
    "cycle": 3,
    "limit": 20,
    "cursor": "Wzk5XQ==",
    "amount": 2900,
    "currency": "usd",
    "repository": "acme/storefront",
    "at": "2026-03-01T12:00:00Z",
    "from": "2026-03-01T00:00:00Z",
    "to": "2026-04-01T00:00:00Z",
    "time": "2026-03-01T12:00:00Z",
    "finding": "CVE-2026-1234",
    "kind": "charge",
    "id": "8f14e45f",
    "event_id": "8f14e45f",
    "source": "https://github.com/acme/storefront",
    "commit_sha": "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "specversion": "1.0",
    "subject": "fix-7c1d",
    "datacontenttype": "application/json",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "url": "https://billing.example.com/pay/WyJhY21lIl0.aaQ3gA.c2lnbmVk",
    "code": "payg",
    "title": "Pay as you go",
    "contest_id": "0198f2a1-7d21-7c55-8a01-5e1f0c3b2a10",
    "refund_id": "0198f2a1-9b10-7e02-b4d7-0a9c8e7f6d51",
    "quarantine_id": "0198f2a1-3c44-7f90-9e11-1b2c3d4e5f60",
    "dispute_id": "du_3QX",
    "stripe_refund": "re_3QX",
    "reference": "pi_3QX",
    "key_id": "3f9a1c2b4d5e",
    "plan": "payg",
    "plans": "payg 2026-01-01",
    "subscription_status": "active",
    "from_account": "revenue",
    "to_account": "receivable",
    "type": "com.fixbill.fix.deployed.v1",
    "verdict": "charged",
    "door": "http",
    "origin": "pipeline",
    "answer": "succeeded",
    "decline": "insufficient_funds",
    "status": "succeeded",
    "funds": "taken",
    "source_key": "fix-7c1d",
    "held_why": "no payment method",
    "why_not": "no payment method",
    "why": "scheduled",
    "detail": "The time is more than 5 minutes ahead.",
    "message": "Your card has insufficient funds.",
    "assumes": "The rest of the cycle is like the part of it that has passed.",
    "text": "No credit was left, so the fix was charged.",
    "story": "No credit was left, so the fix was charged.",
    "decided_why": "The build was broken before.",
    "reason": "The fix broke the build.",
    "hash": DIGEST,
    "previous_hash": DIGEST,
    "payment_intent": "pi_3QX",
    "Stripe-Signature": "t=1772366400,v1=5257a869e7ecebeda32affa62cdca3fa",
    "Idempotency-Key": "contest-8f14e45f",
    "idempotency-key": "contest-8f14e45f",
}
FORMATS = {"date-time": "2026-03-01T12:00:00Z", "date": "2026-03-01", "uri": "https://example.com/"}
STOPGAP = "…"  # for a string of which nothing is known
TYPES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": False, "null": None}


def example_of(schema: Schema, document: Schema, name: str = "") -> Any:
    """A value as this schema describes it; `name` is the field's."""
    if schema.get("examples"):
        return schema["examples"][0]
    schema = resolved(schema, document)
    for told in ("examples", "enum"):
        if schema.get(told):
            return schema[told][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("type") == "object" or "properties" in schema:
        return example_of_object(schema, document)
    if schema.get("type") == "array":
        return [example_of(schema.get("items", {}), document, name)]
    if "format" in schema:
        return FORMATS[schema["format"]]
    by_type = TYPES.get(schema.get("type", ""), STOPGAP)
    known = FIELDS.get(name)
    return known if type(known) is type(by_type) else by_type


def example_of_object(schema: Schema, document: Schema) -> dict[str, Any]:
    if "properties" in schema:
        return {
            name: example_of(each, document, name) for name, each in schema["properties"].items()
        }
    more = schema.get("additionalProperties")
    return {"receivable": example_of(more, document)} if isinstance(more, dict) else {}


def resolved(schema: Schema, document: Schema) -> Schema:
    """Behind references, and of several kinds the first."""
    if "$ref" in schema:
        place: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            place = place[part]
        return resolved(place, document)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return resolved(schema[several][0], document)
    return schema


def problem_of(kind: ProblemType) -> dict[str, Any]:
    return {
        "type": kind.uri,
        "title": kind.title,
        "status": kind.status,
        "detail": kind.meaning,
    }


def sheet_of(listing: dict[str, Any]) -> str:
    """The names of a spreadsheet's columns, and a row."""
    row = dict(cells("", listing["data"][0]))
    return f"{','.join(row)}\r\n{','.join(map(str, row.values()))}\r\n"


def cells(prefix: str, record: dict[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for name, value in record.items():
        if isinstance(value, dict) and value.keys() == {"amount", "currency"}:
            found += [(prefix + name, value["amount"] / 100), (f"{prefix}{name}_currency", "usd")]
        elif isinstance(value, dict):
            found += cells(f"{prefix}{name}_", value)
        elif not isinstance(value, list):
            found.append((prefix + name, value))
    return found
