"""What the cursors of lists name; a cursor comes from outside, so it may name what no row has."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from schemas.events import Id, Time
from worker.api.paging import Page, cursor_after, place_of
from worker.api.problems import Refusal
from worker.usage.lists import SCAN_MAX, Listed, Window

SEQ_MAX = 2**63 - 1

BY_NUMBER = TypeAdapter(tuple[Annotated[int, Field(ge=1, le=SEQ_MAX)]])
BY_ID = TypeAdapter(tuple[Id])
BY_TIME_AND_ID = TypeAdapter(tuple[Time, Id])


def window_in(cursor: str | None, limit: int, place: TypeAdapter[Any], *kinds: type) -> Window:
    """The part of a list that is asked for."""
    before = place_of(cursor, *kinds)
    try:
        return Window(limit, before and place.validate_python(before), SCAN_MAX)
    except ValidationError as error:
        again = "This cursor is of another list; begin again without one."
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, again, "cursor") from error


def page_from(listed: Listed[Any]) -> Page:
    cursor = None if listed.end is None else cursor_after(listed.end)
    return Page(listed.items, cursor is not None, cursor)
