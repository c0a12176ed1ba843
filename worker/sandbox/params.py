"""Parameters: which ones a call may have, as the SDK's own types say, and what they mean."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from worker.sandbox.errors import JsonObject, invalid, missing_param, not_in_sandbox

WORDS = {"true": True, "false": False}
# Calls that the SDK names otherwise than their URLs do.
VERBS = {"invoice_finalize": "invoice_finalize_invoice", "invoice_void": "invoice_void_invoice"}
DIGITS_MAX = 18  # what SQLite's integers hold


@functools.cache
def known(kind: str, verb: str) -> tuple[frozenset[str], frozenset[str]]:
    """The required and the allowed parameters of one call."""
    options = importlib.import_module("stripe._request_options").RequestOptions.__annotations__
    shape = _shape(kind, verb)
    required = shape.__required_keys__ - options.keys()
    return required, required | (shape.__optional_keys__ - options.keys())


@functools.cache
def choices(kind: str, verb: str, name: str) -> frozenset[str]:
    """The words a parameter may be, or a list of which it may be."""
    return frozenset(_words(_shape(kind, verb).__annotations__[name]))


def _words(annotation: Any) -> Iterator[str]:
    for inner in get_args(annotation):
        if isinstance(inner, str):
            yield inner
        else:
            yield from _words(inner)


def _shape(kind: str, verb: str) -> Any:
    """The SDK's type. Imported on first use: the SDK takes half a second."""
    *package, name = kind.split(".")
    call = f"{name}_{verb}"
    file = f"{VERBS.get(call, call)}_params"
    module = importlib.import_module(".".join(("stripe.params", *package, f"_{file}")))
    return getattr(module, "".join(word.capitalize() for word in file.split("_")))


def check(kind: str, verb: str, params: JsonObject) -> None:
    """Refuse a parameter Stripe does not know, then the absence of one it demands."""
    required, allowed = known(kind, verb)
    for name in params:
        if name not in allowed:
            raise invalid(
                f"Received unknown parameter: {name}", param=name, code="parameter_unknown"
            )
    for name in sorted(required):
        require(params, name)


def require(params: JsonObject, name: str) -> Any:
    """The parameter, which must be there."""
    if name not in params:
        raise missing_param(name)
    return params[name]


def refuse(params: JsonObject, names: tuple[str, ...]) -> None:
    """Refuse what would change where the money goes if it were ignored."""
    for name in names:
        if name in params:
            raise not_in_sandbox(name)


def text(params: JsonObject, name: str, *, param: str | None = None) -> str | None:
    """The parameter as a string; None when absent or emptied."""
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid("Invalid string", param=param or name)
    return value or None


def word(
    params: JsonObject, name: str, allowed: Sequence[str], *, param: str | None = None
) -> str | None:
    """The parameter as one of a few words; None when absent or emptied."""
    value = text(params, name, param=param)
    if value and value not in allowed:
        shown = param or name
        raise invalid(f"Invalid {shown}: must be one of {', '.join(allowed)}", param=shown)
    return value


def web_address(params: JsonObject, name: str) -> str | None:
    """The parameter as an address; a browser is sent there, so nothing but http or https."""
    address = params.get(name)
    if address is None:
        return None
    if not isinstance(address, str) or not re.fullmatch(r"https?://[^\s/]\S*", address):
        raise invalid("Not a valid URL", param=name, code="url_invalid")
    return address


def integer(params: JsonObject, name: str) -> int:
    """The parameter as a whole number."""
    value = params.get(name)
    if not isinstance(value, str) or not re.fullmatch(rf"-?[0-9]{{1,{DIGITS_MAX}}}", value):
        raise invalid(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer")
    return int(value)


def boolean(params: JsonObject, name: str) -> bool:
    """The parameter as true or false; false when absent."""
    value = params.get(name, "false")
    if not isinstance(value, str) or value not in WORDS:
        raise invalid(f"Invalid boolean: {value}", param=name)
    return WORDS[value]


def nested(params: JsonObject, name: str) -> JsonObject:
    """The parameter as an object; empty when absent."""
    value = params.get(name) or {}
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=name)
    return value


def merged_metadata(old: dict[str, str], params: JsonObject) -> dict[str, str]:
    """Metadata after the call: an empty value removes one key, an empty `metadata` all of them."""
    sent = params.get("metadata", {})
    if sent == "":
        return {}
    if isinstance(sent, list):
        sent = {str(place): value for place, value in enumerate(sent)}
    if not isinstance(sent, dict) or not all(isinstance(value, str) for value in sent.values()):
        raise invalid("Metadata values must be strings", param="metadata")
    return {name: value for name, value in (old | sent).items() if value != ""}


def assign(thing: JsonObject, params: JsonObject, names: tuple[str, ...]) -> None:
    """Copy plain parameters onto an object; an empty string unsets."""
    for name in names:
        if name in params:
            thing[name] = params[name] or None
    thing["metadata"] = merged_metadata(thing["metadata"], params)
