"""What of a customer's events could not be settled."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.listings import QuarantineEntry, QuarantineList
from worker.api.access import Caller, Opened, reading
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.paging import Cursor, Limit
from worker.api.places import BY_ID, page_from, window_in
from worker.api.problems import problems
from worker.usage.quarantine import list_entries

router = APIRouter()


@router.get(
    "/api/v1/customers/{customer_id}/quarantine",
    response_model=QuarantineList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def quarantine(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Entries that named this customer and were not billed, and why; newest first."""
    window = window_in(cursor, limit, BY_ID, str)
    with reading(customer_id, doors, key) as (tx, as_of):
        found = list_entries(tx, customer_id, window)
    answer = QuarantineList(**page_from(found)._asdict(), as_of=as_of)
    return answered(request, answer, QuarantineEntry)
