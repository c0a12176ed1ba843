"""A customer's ledger: transfers, balances, and what would pay for the next fix."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from schemas.answers import Transaction
from schemas.events import Id, Time
from schemas.listings import Balance, Entitlement, TransactionList
from worker.api.access import Caller, Opened, not_found, reading
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.paging import Cursor, Limit
from worker.api.places import BY_NUMBER, page_from, window_in
from worker.api.problems import Refusal, problems
from worker.billing.ledger import MOVEMENTS
from worker.usage.balance import InTheFuture, balance_at
from worker.usage.entitlement import entitlement
from worker.usage.transactions import Filters, list_transactions

router = APIRouter()

CYCLE_MAX = 2**31 - 1
KINDS = f"^({'|'.join(MOVEMENTS)})$"


@router.get(
    "/api/v1/customers/{customer_id}/transactions",
    response_model=TransactionList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def transactions(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    kind: Annotated[
        str | None, Query(pattern=KINDS, description="Those of this kind alone.")
    ] = None,
    cycle: Annotated[
        int | None, Query(ge=1, le=CYCLE_MAX, description="Those that count in this cycle alone.")
    ] = None,
    fix_id: Annotated[Id | None, Query(description="Those about this fix alone.")] = None,
    charge_id: Annotated[Id | None, Query(description="Those about this charge alone.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """Every transfer of the ledger, newest first."""
    window = window_in(cursor, limit, BY_NUMBER, int)
    with reading(customer_id, doors, key) as (tx, as_of):
        filters = Filters(kind, cycle, fix_id, charge_id)
        found = list_transactions(tx, customer_id, window, filters)
    answer = TransactionList(**page_from(found)._asdict(), as_of=as_of)
    return answered(request, answer, Transaction)


@router.get(
    "/api/v1/customers/{customer_id}/balance",
    response_model=Balance,
    responses=problems(401, 403, 404, 422, 503),
)
def balance(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    at: Annotated[Time | None, Query(description="A moment that is past; without it: now.")] = None,
) -> Response:
    """Credits, debts and the customer's own money at a moment."""
    with reading(customer_id, doors, key) as (tx, as_of):
        try:
            found = balance_at(tx, customer_id, at, doors.clock.now())
        except InTheFuture as error:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.", "at") from error
    if found is None:
        raise not_found(customer_id)
    return answered(request, Balance(**dict(found), as_of=as_of))


@router.get(
    "/api/v1/customers/{customer_id}/entitlement",
    response_model=Entitlement,
    responses=problems(401, 403, 404, 422, 503),
)
def next_fix(request: Request, customer_id: CustomerId, doors: Opened, key: Caller) -> Response:
    """Whether a fix that is deployed now would be paid: by a credit, by money, or not at once."""
    with reading(customer_id, doors, key) as (tx, as_of):
        found = entitlement(tx, customer_id, doors.clock.now(), as_of)
    if found is None:
        raise not_found(customer_id)
    return answered(request, found)
