"""One caller with a connection to each server, who asks them in turn, and the database beside them.

python -m tests.bench.asking QUESTIONS; writes the seconds that each answer took.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import psycopg

WARM_UP = 50  # rounds that do not count


def ask(url: str, key: str) -> Callable[[], None]:
    """Asks for this again and again, over one connection."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc)
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = {"Authorization": f"Bearer {key}"}

    def once() -> None:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body

    return once


def select(database: str, statement: str, customer_id: str) -> Callable[[], None]:
    """A transaction of its own each time, as a request has."""
    connection = psycopg.connect(database)

    def once() -> None:
        with connection.transaction():
            assert connection.execute(statement, (customer_id,)).fetchall()

    return once


def seconds(asked: dict[str, Callable[[], None]], times: int) -> dict[str, list[float]]:
    """They take turns, so all of them meet the same machine."""
    took: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(WARM_UP + times):
        for name, once in asked.items():
            begun = perf_counter()
            once()
            if number >= WARM_UP:
                took[name].append(perf_counter() - begun)
    return took


def main(questions: dict[str, Any]) -> None:
    asked = {name: ask(*each) for name, each in questions["http"].items()}
    asked |= {name: select(*each) for name, each in questions["sql"].items()}
    print(json.dumps(seconds(asked, questions["times"])))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
