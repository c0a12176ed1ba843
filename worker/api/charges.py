"""A customer's charges, and how each was collected."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from schemas.listings import ChargeAnswer, ChargeList, ChargeReport, Status
from worker.api.access import Caller, Opened, reading
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.paging import Cursor, Limit
from worker.api.pay import ChargeId
from worker.api.places import BY_TIME_AND_ID, page_from, window_in
from worker.api.problems import Refusal, problems
from worker.storage.charges import ChargeKey
from worker.usage.charges import charge_detail, list_charges

router = APIRouter()

CHARGES = "/api/v1/customers/{customer_id}/charges"


@router.get(
    CHARGES,
    response_model=ChargeList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def charges(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    status: Annotated[Status | None, Query(description="Those that stand so alone.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """What was and is to be collected, newest first."""
    window = window_in(cursor, limit, BY_TIME_AND_ID, str, str)
    with reading(customer_id, doors, key) as (tx, as_of):
        found = list_charges(tx, customer_id, status=status, window=window)
    answer = ChargeList(**page_from(found)._asdict(), as_of=as_of)
    return answered(request, answer, ChargeAnswer)


@router.get(
    CHARGES + "/{charge_id}",
    response_model=ChargeReport,
    responses=problems(401, 403, 404, 422, 503),
)
def charge(
    request: Request, customer_id: CustomerId, charge_id: ChargeId, doors: Opened, key: Caller
) -> Response:
    """One charge with its lines, attempts, refunds and disputes."""
    with reading(customer_id, doors, key) as (tx, as_of):
        found = charge_detail(tx, ChargeKey(customer_id, charge_id))
    if found is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no charge {charge_id} of {customer_id}.")
    return answered(request, ChargeReport(**dict(found), as_of=as_of))
