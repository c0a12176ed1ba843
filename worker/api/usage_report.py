"""Usage of any cycle or window, grouped."""

from __future__ import annotations

import re
from datetime import date
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from starlette.responses import Response

from schemas.events import Repository
from schemas.usage_report import GROUPS, GroupBy, UsageReport, UsageWindow
from worker.api.access import Caller, Opened, not_found, reading
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.paging import Cursor, Limit, page_of, place_of
from worker.api.problems import Refusal, problems
from worker.billing.fix import FixOutcome
from worker.usage.report import Asked, BadWindow, NoSuchCycle, usage_report, window_of

router = APIRouter()

NUMBER_MAX = 2**31 - 1
DATE = re.compile(r"\d{4}-\d\d-\d\d")

# What a cursor may name.
KEYS: dict[GroupBy, TypeAdapter[Any]] = {
    "day": TypeAdapter(date),
    "repository": TypeAdapter(Repository),
    "outcome": TypeAdapter(FixOutcome),
}


def parse_day(value: object) -> object:
    """pydantic alone would also take 1700000000 for a date."""
    if isinstance(value, str) and not DATE.fullmatch(value):
        raise ValueError("must be a date such as 2026-03-01")
    return value


Day = Annotated[date | None, BeforeValidator(parse_day)]


@router.get(
    "/api/v1/customers/{customer_id}/usage/report",
    response_model=UsageReport,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def report(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    cycle: Annotated[
        int | None,
        Query(ge=1, le=NUMBER_MAX, description="Its number; without it: the current one."),
    ] = None,
    start: Annotated[
        Day, Query(alias="from", description="The first day of a window, UTC.")
    ] = None,
    end: Annotated[
        Day,
        Query(alias="to", description="The day after its last; at most 400 days after `from`."),
    ] = None,
    group_by: GroupBy = "day",
    repository: Annotated[
        Repository | None, Query(description="Count fixes of this one alone.")
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Usage of a cycle, or of a window of days, by day, repository or outcome."""
    window = window_in(start, end, cycle)
    asked = Asked(window or cycle, group_by, repository, place_in(cursor, group_by), limit + 1)
    with reading(customer_id, doors, key) as (tx, as_of):
        try:
            found = usage_report(tx, customer_id, asked, doors.clock.now())
        except NoSuchCycle as error:
            raise Refusal(HTTPStatus.NOT_FOUND, f"{error}.", "cycle") from error
    if found is None:
        raise not_found(customer_id)
    page = page_of(found.groups, limit, lambda each: [group_by, str(getattr(each, group_by))])
    answer = UsageReport(
        **page._asdict(),
        as_of=as_of,
        customer_id=customer_id,
        cycle=found.cycle,
        window=window,
        group_by=group_by,
        total=found.total,
    )
    return answered(request, answer, GROUPS[group_by])


def window_in(start: date | None, end: date | None, cycle: int | None) -> UsageWindow | None:
    try:
        window = window_of(start, end)
    except BadWindow as error:
        sentence = str(error)
        detail = f"{sentence[0].upper()}{sentence[1:]}."
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, error.field) from error
    if window is not None and cycle is not None:
        either = "Ask for a cycle, or for a window with from and to; not for both."
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, either, "cycle")
    return window


def place_in(cursor: str | None, group_by: GroupBy) -> object:
    """The key of the last group that was seen, in a list that is grouped so."""
    place = place_of(cursor, str, str)
    if place is None:
        return None
    try:
        if place[0] == group_by:
            return KEYS[group_by].validate_python(place[1])
    except ValidationError:
        pass
    again = "This cursor is of a list with other groups; begin again without one."
    raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, again, "cursor")
