"""Where things stand in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.toml_lines import Place, line_of, lines_of

TEXT = '''# plans
["a b"]  # [[not.this]]
title = "x" # [nor.this]
[["a b".versions]]
price = { amount = 1, currency = "usd" }
retry_days = [
  1,
  # ] [[nor.this]]
  7,
]
note = """
[nor.this]
title = "nor this"
"""
[["a b".versions]]

[ 'a b' . versions . price ]
amount = 3
[c]
versions = [{ effective = 1 },
  { effective = 2 }]
d."e.f" = 1
'''
STANDS: dict[Place, int] = {
    (): 1,
    ("a b",): 2,
    ("a b", "title"): 3,
    ("a b", "versions"): 4,
    ("a b", "versions", 0): 4,
    ("a b", "versions", 0, "price"): 5,
    ("a b", "versions", 0, "price", "currency"): 5,
    ("a b", "versions", 0, "missing"): 4,
    ("a b", "versions", 0, "retry_days"): 6,
    ("a b", "versions", 0, "retry_days", 1): 6,
    ("a b", "versions", 0, "note"): 11,
    ("a b", "versions", 1): 15,
    ("a b", "versions", 1, "price"): 17,
    ("a b", "versions", 1, "price", "amount"): 18,
    ("a b", "versions", 1, "price", "currency"): 17,
    ("c",): 19,
    ("c", "versions"): 20,
    ("c", "versions", 1, "effective"): 20,
    ("c", "d", "e.f"): 22,
    ("elsewhere", "at", "all"): 1,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(("place", "line"), STANDS.items(), ids=str)
def test_a_place_is_found_on_its_line(place: Place, line: int, newline: str) -> None:
    lines = lines_of(TEXT.replace("\n", newline))

    assert line_of(place, lines) == line


KEYS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=5)
VALUES = st.sampled_from(["1", "'# ['", '"""\n[x]\n"""', "[\n1,\n# ]\n[2]]", "{ a = 1 }", "{}"])
FIELDS = st.dictionaries(KEYS, VALUES, max_size=3).map(lambda fields: list(fields.items()))


def quoted(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(KEYS, FIELDS), max_size=4))
def test_every_key_of_every_table_is_found_where_it_was_written(
    tables: list[tuple[str, list[tuple[str, str]]]],
) -> None:
    written: list[str] = []
    expected: dict[Place, int] = {}
    counts: dict[str, int] = {}
    for table, fields in tables:
        number = counts[table] = counts.get(table, -1) + 1
        expected[table, number] = sum(part.count("\n") + 1 for part in written) + 1
        written += [f"[[{quoted(table)}]]", "# a comment ["]
        for key, value in fields:
            expected[table, number, key] = sum(part.count("\n") + 1 for part in written) + 1
            written.append(f"{quoted(key)} = {value}")

    text = "\n".join(written)
    found = lines_of(text)

    assert {place: found[place] for place in expected} == expected
    assert all(reached(tomllib.loads(text), place) for place in found)


def reached(value: Any, place: Place) -> bool:
    for part in place:
        value = value[part]
    return value is not None
