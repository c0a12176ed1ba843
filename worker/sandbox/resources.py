"""The one handler behind every URL: find the kind, check the parameters, make, read or change."""

from __future__ import annotations

from worker.sandbox import clocks
from worker.sandbox import params as parameters
from worker.sandbox.calls import Call
from worker.sandbox.contents import INCLUDABLE, KINDS
from worker.sandbox.errors import Answer, JsonObject, invalid, missing_object
from worker.sandbox.kind import Change, Kind
from worker.sandbox.listing import page
from worker.sandbox.store import Tx


def perform(tx: Tx, call: Call) -> Answer:
    """What one call does, at the time of the customer it is about."""
    clocks.follow(tx, *call.path.split("/"), *map(call.params.get, clocks.NAMES))
    outcome = _done(tx, call)
    if isinstance(outcome, Answer):
        return outcome
    return Answer(200, _expanded(tx, outcome, call.params.get("expand")))


def _done(tx: Tx, call: Call) -> JsonObject | Answer:
    parts = call.path.removeprefix("/v1/").split("/")
    width = 2 if "/".join(parts[:2]) in KINDS else 1
    path, rest = "/".join(parts[:width]), parts[width:]
    if (kind := KINDS.get(path)) is None:
        raise _unrecognized(call)
    match call.method, rest:
        case "GET", []:
            parameters.check(kind.name, "list", call.params)
            return page(tx, kind, call.path, call.params)
        case "POST", [] if kind.create:
            parameters.check(kind.name, "create", call.params)
            return kind.create(tx, call.params)
        case "GET", [wanted]:
            parameters.check(kind.name, "retrieve", call.params)
            return _found(tx, kind, wanted)
        case "POST", [wanted] if kind.update:
            return _changed(tx, kind, wanted, "update", kind.update, call)
        case "DELETE", [wanted] if kind.delete:
            return _changed(tx, kind, wanted, kind.delete_verb, kind.delete, call)
        case "POST", [wanted, action] if action in kind.actions:
            return _changed(tx, kind, wanted, action, kind.actions[action], call)
        case "GET", [wanted, child] if child in kind.children:
            return _listed_under(tx, kind, wanted, KINDS[child], call)
    raise _unrecognized(call)


def _changed(
    tx: Tx, kind: Kind, wanted: str, verb: str, change: Change, call: Call
) -> JsonObject | Answer:
    parameters.check(kind.name, verb, call.params)
    return change(tx, _found(tx, kind, wanted, make=True), call.params)


def _listed_under(tx: Tx, kind: Kind, wanted: str, child: Kind, call: Call) -> JsonObject:
    parameters.check(f"{kind.name}_{child.name}", "list", call.params)
    owner = _found(tx, kind, wanted)
    return page(tx, child, call.path, {**call.params, kind.name: owner["id"]})


def _found(tx: Tx, kind: Kind, wanted: str, *, make: bool = False) -> JsonObject:
    thing = kind.find(tx, wanted) if make and kind.find else tx.find(kind.name, wanted)
    if thing is None or (make and thing.get("deleted")):
        raise missing_object(kind.title or kind.name, wanted, kind.param, status=404)
    return thing


def _unrecognized(call: Call) -> Exception:
    return invalid(
        f"Unrecognized request URL ({call.method}: {call.path}). The sandbox has"
        f" {', '.join(KINDS)}.",
        status=404,
    )


def _expanded(tx: Tx, body: JsonObject, wishes: object) -> JsonObject:
    """Replace ids by the objects they name, and show what is shown only when asked for."""
    for wish in wishes if isinstance(wishes, list) else []:
        _expand(tx, body, str(wish).split("."))
    return body


def _expand(tx: Tx, thing: JsonObject, steps: list[str]) -> None:
    name, *deeper = steps
    if name not in thing and (include := INCLUDABLE.get((str(thing.get("object")), name))):
        thing[name] = include(tx, thing)
    value = thing.get(name)
    if isinstance(value, str) and (named := tx.find_any(value)):
        thing[name] = value = named
    for inner in value if isinstance(value, list) else [value]:
        if deeper and isinstance(inner, dict):
            _expand(tx, inner, deeper)
