"""What a customer, or their portal, may ask."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from schemas.answers import Usage
from schemas.events import ID_PATTERN
from worker.api.access import Caller, Opened, need_customer, not_found, rows_of
from worker.api.answering import answered
from worker.api.problems import problems
from worker.inbox import Inbox
from worker.usage.current import current_usage
from worker.usage.freshness import watermark

router = APIRouter()

CustomerId = Annotated[str, Path(pattern=ID_PATTERN)]


@router.get(
    "/api/v1/customers/{customer_id}/usage",
    response_model=Usage,
    responses=problems(401, 403, 404, 422, 503),
)
def usage(request: Request, customer_id: CustomerId, doors: Opened, key: Caller) -> Response:
    """This cycle: fixes, credits, money, and what to watch out for."""
    need_customer(key, customer_id)
    as_of = watermark(Inbox(doors.redis), customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        answer = current_usage(tx, customer_id, doors.clock.now(), as_of)
    if answer is None:
        raise not_found(customer_id)
    return answered(request, answer)
