"""Where things stand in a TOML text; tomllib tells only where a text stops being TOML."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping

Place = tuple[int | str, ...]  # ("pro", "versions", 0, "price")

POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def lines_of(text: str) -> dict[Place, int]:
    """The line on which each table and key of a sound TOML text begins."""
    found: dict[Place, int] = {(): 1}
    tables: Counter[Place] = Counter()  # of each [[array]], so far
    table: Place = ()
    for line, statement in statements(text):
        header = statement.lstrip().startswith("[")
        place = () if header else table
        value: object = tomllib.loads(statement)
        while isinstance(value, dict) and len(value) == 1:
            ((key, value),) = value.items()
            place = (*place, key)
            found.setdefault(place, line)
            tables[place] += header and isinstance(value, list)
            if tables[place]:
                place = (*place, tables[place] - 1)
                found.setdefault(place, line)
        table = place if header else table
    return found


def statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers and keys with their values: the fewest lines that are sound TOML by themselves."""
    begun = ""
    for line, read in enumerate(text.split("\n"), start=1):
        begun += f"{read}\n"
        try:
            tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue  # goes on in the next line
        yield line - begun.count("\n") + 1, begun
        begun = ""


def line_of(place: Place, lines: Mapping[Place, int]) -> int:
    """Its own line, or that of the nearest thing around it."""
    while place not in lines:
        place = place[:-1]
    return lines[place]


def syntax_error(text: str, error: tomllib.TOMLDecodeError) -> tuple[int, str]:
    """The line of what tomllib could not read, and why."""
    message = str(error)
    position = POSITION.search(message)
    if position is None or position[1] is None:
        return text.rstrip().count("\n") + 1, POSITION.sub(" at the end of the file", message)
    return int(position[1]), POSITION.sub("", message)
