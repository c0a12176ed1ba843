"""Lists, newest first, with Stripe's cursors."""

from __future__ import annotations

from worker.sandbox.errors import JsonObject, invalid, missing_object, not_in_sandbox
from worker.sandbox.kind import Kind
from worker.sandbox.params import integer, nested, text
from worker.sandbox.store import Condition, Tx

LIMIT = 10
LIMIT_MAX = 100
PAGING = ("created", "ending_before", "expand", "limit", "starting_after")
BOUNDS = {
    "gt": "created > ?",
    "gte": "created >= ?",
    "lt": "created < ?",
    "lte": "created <= ?",
}


def page(tx: Tx, kind: Kind, url: str, params: JsonObject) -> JsonObject:
    """One page of a list."""
    limit = _limit(params)
    conditions = [*_narrowed(kind, params), *_created(params)]
    before = text(params, "ending_before")
    if after := text(params, "starting_after"):
        conditions.append(Condition("seq < ?", _place(tx, kind, after, "starting_after")))
    if before:
        conditions.append(Condition("seq > ?", _place(tx, kind, before, "ending_before")))
    found = tx.page(kind.name, conditions, "ASC" if before else "DESC", limit + 1)
    data = found[:limit]
    if before:
        data.reverse()
    return {"object": "list", "data": data, "has_more": len(found) > limit, "url": url}


def _narrowed(kind: Kind, params: JsonObject) -> list[Condition]:
    names = [name for name in params if name not in PAGING]
    for name in names:
        if name not in kind.filters:
            raise not_in_sandbox(name)
    return [*kind.unasked(params), *(kind.filters[name](params, name) for name in names)]


def _limit(params: JsonObject) -> int:
    limit = integer(params, "limit") if "limit" in params else LIMIT
    if not 1 <= limit <= LIMIT_MAX:
        raise invalid(
            f"Limit must be between 1 and {LIMIT_MAX}.",
            param="limit",
            code="parameter_invalid_integer",
        )
    return limit


def _created(params: JsonObject) -> list[Condition]:
    if isinstance(params.get("created"), str):
        return [Condition("created = ?", integer(params, "created"))]
    bounds = nested(params, "created")
    for name in bounds:
        if name not in BOUNDS:
            raise invalid(
                f"Received unknown parameter: created[{name}]",
                param=f"created[{name}]",
                code="parameter_unknown",
            )
    return [Condition(BOUNDS[name], integer(bounds, name)) for name in bounds]


def _place(tx: Tx, kind: Kind, cursor: str, param: str) -> int:
    place = tx.place(kind.name, cursor)
    if place is None:
        raise missing_object(kind.title or kind.name, cursor, param)
    return place
