"""Events as files bring them: one event, a JSON array, or JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from schemas.events import (
    JSON_DEPTH_MAX,
    BadEvent,
    Event,
    parse_event,
    parse_json,
    validated,
)

FILE_BYTES_MAX = 64 * 1024 * 1024  # some 100,000 events
PROBLEMS_SHOWN = 10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadFile(ValueError):
    """Some of it is no event; the message has a line for each of the first problems."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        more = len(problems) - PROBLEMS_SHOWN
        shown = problems[:PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        super().__init__("\n".join(shown))


def events_in(body: bytes) -> list[Event]:
    """All events in these bytes, or BadFile: a file is taken as a whole or not at all."""
    if len(body) > FILE_BYTES_MAX:
        raise BadFile([f"is larger than {FILE_BYTES_MAX} bytes; split it"])
    body = body.removeprefix(BYTE_ORDER_MARK)
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    if body.lstrip().startswith(b"["):
        named = [(f"event {n}", partial(validated, each)) for n, each in enumerate(array(body), 1)]
    elif len(lines) > 1 and lines[0][1].rstrip().endswith(b"}"):
        named = [(f"line {number}", partial(parse_event, line)) for number, line in lines]
    else:
        named = [("", partial(parse_event, body))]
    return all_of(named)


def array(body: bytes) -> list[object]:
    try:
        found: list[object] = parse_json(body, FILE_BYTES_MAX, JSON_DEPTH_MAX + 1)
    except BadEvent as error:
        raise BadFile([str(error)]) from None
    if not found:
        raise BadFile(["the array holds no events"])
    return found


def all_of(named: Iterable[tuple[str, Callable[[], Event]]]) -> list[Event]:
    """Every event, or every problem with the place where it stands."""
    events: list[Event] = []
    problems: list[str] = []
    for name, event in named:
        try:
            events.append(event())
        except BadEvent as error:
            problems.append(f"{name}: {error}" if name else str(error))
    if problems:
        raise BadFile(problems)
    return events
