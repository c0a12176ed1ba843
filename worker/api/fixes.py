"""A customer's fixes, and what became of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from schemas.events import ID_PATTERN, Repository, Time
from schemas.listings import FixAnswer, FixHistory, FixList, Outcome
from worker.api.access import Caller, Opened, reading
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.paging import Cursor, Limit
from worker.api.places import BY_TIME_AND_ID, page_from, window_in
from worker.api.problems import Refusal, problems
from worker.usage.fixes import Filters, fix_history, list_fixes

router = APIRouter()

FIXES = "/api/v1/customers/{customer_id}/fixes"

MOMENT = "2026-03-01T00:00:00Z"
FixId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get(
    FIXES,
    response_model=FixList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def fixes(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    outcome: Annotated[Outcome | None, Query(description="Those settled so alone.")] = None,
    repository: Annotated[Repository | None, Query(description="Those in it alone.")] = None,
    start: Annotated[
        Time | None,
        Query(alias="from", description="Those deployed then or later.", examples=[MOMENT]),
    ] = None,
    end: Annotated[
        Time | None,
        Query(alias="to", description="Those deployed before.", examples=[MOMENT]),
    ] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Every fix once, the newest deployment first."""
    window = window_in(cursor, limit, BY_TIME_AND_ID, str, str)
    with reading(customer_id, doors, key) as (tx, as_of):
        found = list_fixes(tx, customer_id, Filters(outcome, repository, start, end), window)
    answer = FixList(**page_from(found)._asdict(), as_of=as_of)
    return answered(request, answer, FixAnswer)


@router.get(
    FIXES + "/{fix_id}",
    response_model=FixHistory,
    responses=problems(401, 403, 404, 422, 503),
)
def fix(
    request: Request, customer_id: CustomerId, fix_id: FixId, doors: Opened, key: Caller
) -> Response:
    """One fix: every event about it, what became of it, and how its charge was collected."""
    with reading(customer_id, doors, key) as (tx, as_of):
        found = fix_history(tx, customer_id, fix_id, as_of)
    if found is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no fix {fix_id} of {customer_id}.")
    return answered(request, found)
