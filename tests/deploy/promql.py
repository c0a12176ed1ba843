"""As much of PromQL as it takes to find names in a query."""

from __future__ import annotations

import re

STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
MATCHERS = re.compile(r"\{[^}]*\}")
RANGES = re.compile(r"\[[^\]]*\]")
GROUPINGS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)")
OFFSETS = re.compile(r"\boffset\s+-?[0-9a-z]+")
NAMES = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()")
OPERATORS = {"and", "or", "unless", "bool", "atan2"}
MATCHER = re.compile(r'(\w+)\s*(=~|=)\s*"([^"]*)"')


def metrics_in(query: str) -> set[str]:
    """The metrics a query reads."""
    bare = STRINGS.sub('""', query)
    for noise in (MATCHERS, RANGES, GROUPINGS, OFFSETS):
        bare = noise.sub(" ", bare)
    return set(NAMES.findall(bare)) - OPERATORS


def values_in(query: str, label: str) -> set[str]:
    """The values of a label that a query asks for; alternatives of a pattern are taken apart."""
    return {
        value
        for name, _, values in MATCHER.findall(query)
        if name == label
        for value in values.split("|")
    }
