"""Pages of lists: a cursor names the last row that was seen, so nothing written moves it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Query

from worker.api.problems import Refusal

Row = TypeVar("Row")

LIMIT_MAX = 1000
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="From the page before.")]


class Page(NamedTuple):
    """What every list answers beside its own fields."""

    data: list[Any]
    has_more: bool
    cursor: str | None


def page_of(found: Sequence[Row], limit: int, place: Callable[[Row], Sequence[str | int]]) -> Page:
    """A page of rows of which one more than `limit` was asked for; `place` is a row's own key."""
    data = list(found[:limit])
    has_more = len(found) > limit
    return Page(data, has_more, cursor_after(place(data[-1])) if has_more else None)


def cursor_after(place: Sequence[str | int]) -> str:
    return urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def place_of(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The place that a cursor names, a value of each kind; None: begin at the beginning."""
    if cursor is None:
        return None
    try:
        place = json.loads(urlsafe_b64decode(cursor))
        if [type(part) for part in place] == list(kinds):
            return list(place)
    except (ValueError, TypeError, RecursionError):
        pass
    again = "This cursor is of no list of ours; begin again without one."
    raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, again, "cursor")
