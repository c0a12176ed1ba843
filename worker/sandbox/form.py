"""Stripe's form encoding: `a[b][c]=1`, `a[0]=x`, `a[]=x` as nested dicts and lists of strings."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

STEP = re.compile(r"[^\[\]]+|\[\]")


def decode(text: str) -> dict[str, Any]:
    """The nested parameters of a form body or a query string; values stay strings."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        _plant(root, STEP.findall(name), value)
    return {name: _listed(value) for name, value in root.items()}


def _plant(node: dict[str, Any], steps: list[str], value: str) -> None:
    for place, step in enumerate(steps, start=1):
        name = str(len(node)) if step == "[]" else step
        if place == len(steps):
            node[name] = value
            return
        if not isinstance(node.get(name), dict):
            node[name] = {}
        node = node[name]


def _listed(value: Any) -> Any:
    """A dict whose names are 0, 1, 2… was a list."""
    if not isinstance(value, dict):
        return value
    if value and all(name.isdecimal() for name in value):
        return [_listed(value[name]) for name in sorted(value, key=int)]
    return {name: _listed(inner) for name, inner in value.items()}
