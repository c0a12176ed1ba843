"""A customer's statements: as lists and JSON for programs, as a page for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from schemas.answers import Statement, StatementList, StatementSummary
from worker.api.access import Caller, CustomerLinks, Doors, Opened, need_customer, reading, rows_of
from worker.api.answering import AS_CSV, answered
from worker.api.customers import CustomerId
from worker.api.page_route import PageRoute
from worker.api.pages.statement import statement_page
from worker.api.paging import Cursor, Limit, page_of, place_of
from worker.api.pay import Token
from worker.api.problems import Refusal, problems
from worker.links import BadLink
from worker.storage.customers import find_customer
from worker.storage.statements import CycleKey, list_statements
from worker.usage.statements import StatementProblem, statement_named

router = APIRouter()
pages = APIRouter(route_class=PageRoute, include_in_schema=False)

NUMBER_MAX = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=NUMBER_MAX)]

STATEMENTS = "/api/v1/customers/{customer_id}/statements"


@router.get(
    STATEMENTS,
    response_model=StatementList,
    responses={**AS_CSV, **problems(401, 403, 404, 422, 503)},
)
def statements(
    request: Request,
    customer_id: CustomerId,
    doors: Opened,
    key: Caller,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """What closed cycles came to, newest first."""
    before = place_of(cursor, int)
    with reading(customer_id, doors, key) as (tx, as_of):
        number = None if before is None else min(before[0], NUMBER_MAX)
        found = list_statements(tx, customer_id, limit + 1, number)
    page = page_of(found, limit, lambda each: [each.number])
    answer = StatementList(**page._asdict(), as_of=as_of)
    return answered(request, answer, StatementSummary)


@router.get(
    STATEMENTS + "/{number:int}.html",
    response_class=HTMLResponse,
    responses=problems(401, 403, 404, 422, 503),
)
def statement_html(
    customer_id: CustomerId, number: Number, doors: Opened, key: Caller
) -> HTMLResponse:
    """The same as a page, which also prints well."""
    need_customer(key, customer_id)
    return shown(CycleKey(customer_id, number), doors)


@router.get(
    STATEMENTS + "/{number:int}",
    response_model=Statement,
    responses=problems(401, 403, 404, 422, 503),
)
def statement(
    request: Request, customer_id: CustomerId, number: Number, doors: Opened, key: Caller
) -> Response:
    """One cycle: fixes, credits, money, payments, and every account before and after it."""
    need_customer(key, customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        return answered(request, named(tx, CycleKey(customer_id, number)))


@pages.get("/statement/{token}")
def linked_statement(token: Token, doors: Opened, links: CustomerLinks) -> Response:
    """For a customer who was sent the link."""
    try:
        key = CycleKey(*links.statement_of(token))
    except BadLink as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"{error}.") from error
    return shown(key, doors)


def shown(key: CycleKey, doors: Doors) -> HTMLResponse:
    with rows_of(key.customer_id, doors.engine) as tx:
        found = named(tx, key)
        customer = find_customer(tx, key.customer_id)
    text = statement_page(found, customer.name if customer else None)
    return HTMLResponse(text, headers={"Cache-Control": "no-store"})


def named(tx: Connection, key: CycleKey) -> Statement:
    try:
        return statement_named(tx, key)
    except StatementProblem as problem:
        sentence = str(problem)
        raise Refusal(HTTPStatus.NOT_FOUND, f"{sentence[0].upper()}{sentence[1:]}.") from problem


router.include_router(pages)
