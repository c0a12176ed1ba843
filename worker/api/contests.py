"""A customer says that a fix was wrong; the operator decides.

The scope read is enough: whoever may see the bill may object to it, and no money moves by that.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

from schemas.contests import ContestAnswer, ContestList, ContestWish
from schemas.events import ID_PATTERN
from schemas.problems import KEY_REUSED
from worker.api.access import Caller, Opened, need_customer, not_found, reading, rows_of
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.explain import FIX, unknown_fix
from worker.api.fixes import FixId
from worker.api.paging import Cursor, Limit, page_of
from worker.api.places import BY_ID, window_in
from worker.api.problems import Refusal, problems
from worker.contest import ContestProblem, KeyReused, UnknownFix, open_contest, tell_of
from worker.storage.contests import contests_of
from worker.storage.customers import find_customer
from worker.usage.contests import contest_answer

router = APIRouter()

IdempotencyKey = Annotated[
    str | None,
    Header(pattern=ID_PATTERN, description="Yours, of this wish: sent again, it opens no other."),
]
BY_KEY: dict[int | str, dict[str, Any]] = {
    200: {"model": ContestAnswer, "description": "It was open, or opened under this key, before"}
}


@router.post(
    FIX + "/contest",
    status_code=HTTPStatus.CREATED,
    response_model=ContestAnswer,
    responses={**BY_KEY, **problems(401, 403, 404, 409, 422, 503)},
)
def contest(
    customer_id: CustomerId,
    fix_id: FixId,
    wish: ContestWish,
    response: Response,
    doors: Opened,
    key: Caller,
    idempotency_key: IdempotencyKey = None,
) -> ContestAnswer:
    """Say that this fix was wrong, within 30 days of its deployment.

    The same again, by its Idempotency-Key or while it is open by its reason, is the same contest,
    answered with 200. 409: the fix was taken back, is too old, or is contested for another reason.
    """
    need_customer(key, customer_id)
    try:
        with rows_of(customer_id, doors.engine, "READ COMMITTED") as tx:
            if find_customer(tx, customer_id) is None:
                raise not_found(customer_id)
            opened = open_contest(
                tx, customer_id, fix_id, wish.reason, idempotency_key, doors.clock
            )
    except UnknownFix as problem:
        raise unknown_fix(customer_id, fix_id) from problem
    except ContestProblem as problem:
        raise refusal_of(problem) from problem
    if opened.new:
        tell_of(opened.contest)
    else:
        response.status_code = HTTPStatus.OK
    return contest_answer(opened.contest)


def refusal_of(problem: ContestProblem) -> Refusal:
    sentence = f"{str(problem)[0].upper()}{str(problem)[1:]}."
    if isinstance(problem, KeyReused):
        unprocessable = HTTPStatus.UNPROCESSABLE_ENTITY
        return Refusal(unprocessable, sentence, "idempotency-key", KEY_REUSED)
    return Refusal(HTTPStatus.CONFLICT, sentence)


@router.get(
    "/api/v1/customers/{customer_id}/contests",
    response_model=ContestList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def contests(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """What was contested, and what became of it, newest first."""
    _, place, _ = window_in(cursor, limit, BY_ID, str)
    with reading(customer_id, doors, key) as (tx, as_of):
        found = contests_of(tx, customer_id, limit + 1, place[0] if place else None)
    page = page_of([contest_answer(each) for each in found], limit, lambda c: [c.contest_id])
    answer = ContestList(**page._asdict(), as_of=as_of)
    return answered(request, answer, ContestAnswer)
