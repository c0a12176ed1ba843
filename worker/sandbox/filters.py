"""Filters: how a parameter of a list narrows it."""

from __future__ import annotations

import json
from collections.abc import Callable

from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.params import boolean, text, word
from worker.sandbox.store import Condition, among, where

Filter = Callable[[JsonObject, str], Condition]


def field(path: str = "") -> Filter:
    """The field of the parameter's name, or the one at `path`, is what was asked for."""
    return lambda params, name: where(path or name, text(params, name) or "")


def flag(params: JsonObject, name: str) -> Condition:
    """The field is true, or false, as asked."""
    return where(name, int(boolean(params, name)))


def choice(*words: str) -> Filter:
    """The field is one of a few words."""
    return lambda params, name: where(name, word(params, name, words) or "")


def listed(path: str) -> Filter:
    """The field at `path` is one of those asked for."""

    def narrow(params: JsonObject, name: str) -> Condition:
        if not isinstance(params[name], list):
            raise invalid("Invalid array", param=name)
        return among(path, json.dumps(params[name]))

    return narrow
