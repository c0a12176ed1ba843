"""A customer's statements: as lists and JSON for programs, as a page for people."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from schemas.answers import Statement, StatementList
from worker.api.access import Caller, CustomerLinks, Doors, Opened, need_read, not_found, rows_of
from worker.api.customers import CustomerId
from worker.api.pages.statement import statement_page
from worker.api.pay import Token
from worker.api.problems import Refusal, problems
from worker.links import BadLink
from worker.storage.customers import find_customer
from worker.storage.statements import CycleKey, list_statements
from worker.usage.statements import StatementProblem, statement_named

router = APIRouter()

NUMBER_MAX = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=NUMBER_MAX)]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=100, description="From the page before.")]

STATEMENTS = "/api/v1/customers/{customer_id}/statements"


@router.get(STATEMENTS, responses=problems(401, 403, 404, 422, 503))
def statements(
    customer_id: CustomerId, doors: Opened, key: Caller, limit: Limit = 20, cursor: Cursor = None
) -> StatementList:
    """What closed cycles came to, newest first."""
    need_read(key, customer_id)
    before = None if cursor is None else place_of(cursor)
    with rows_of(customer_id, doors.engine) as tx:
        known = find_customer(tx, customer_id)
        found = list_statements(tx, customer_id, limit + 1, before)
    if known is None:
        raise not_found(customer_id)
    has_more = len(found) > limit
    data = found[:limit]
    return StatementList(
        data=data, has_more=has_more, cursor=cursor_after(data[-1].number) if has_more else None
    )


@router.get(
    STATEMENTS + "/{number:int}.html",
    response_class=HTMLResponse,
    responses=problems(401, 403, 404, 422, 503),
)
def statement_html(
    customer_id: CustomerId, number: Number, doors: Opened, key: Caller
) -> HTMLResponse:
    """The same as a page, which also prints well."""
    need_read(key, customer_id)
    return shown(CycleKey(customer_id, number), doors)


@router.get(STATEMENTS + "/{number:int}", responses=problems(401, 403, 404, 422, 503))
def statement(customer_id: CustomerId, number: Number, doors: Opened, key: Caller) -> Statement:
    """One cycle: fixes, credits, money, payments, and every account before and after it."""
    need_read(key, customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        return named(tx, CycleKey(customer_id, number))


@router.get("/statement/{token}", include_in_schema=False)
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


def cursor_after(number: int) -> str:
    return urlsafe_b64encode(b"%d" % number).decode()


def place_of(cursor: str) -> int:
    """The number of the last statement of the page before."""
    try:
        return min(int(urlsafe_b64decode(cursor)), NUMBER_MAX)
    except ValueError as error:
        again = "This cursor is of no list of ours; begin again without one."
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, again, "cursor") from error
