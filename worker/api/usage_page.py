"""A customer's usage as a page, behind a short-lived link that a portal can show in a frame."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from schemas.links import UsageLink
from worker.api.access import (
    Admin,
    CustomerLinks,
    Opened,
    need_customer,
    not_found,
    rows_of,
    snapshot_of,
)
from worker.api.customers import CustomerId
from worker.api.explain import unknown_fix
from worker.api.fixes import FixId
from worker.api.page_route import PageRoute, shown
from worker.api.pages.explanation import charge_page, fix_page
from worker.api.pages.statement import statement_page
from worker.api.pages.usage import usage_page
from worker.api.pay import ChargeId, Token
from worker.api.problems import Refusal, problems
from worker.api.statements import Number, named
from worker.links import USAGE_GOOD_FOR, BadLink, good_until
from worker.storage.charges import ChargeKey
from worker.storage.customers import find_customer
from worker.storage.evidence import FixKey
from worker.storage.statements import CycleKey
from worker.usage.current import current_usage
from worker.usage.explain import explain_charge, explain_fix
from worker.usage.overview import overview

router = APIRouter()
pages = APIRouter(route_class=PageRoute, include_in_schema=False)

NUMBER_MAX = 2**31 - 1
CycleNumber = Annotated[int | None, Query(ge=1, le=NUMBER_MAX)]


def in_link(token: Token, links: CustomerLinks) -> str:
    """The customer a link is for; 404 for any other text."""
    try:
        return links.usage_of(token)
    except BadLink as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"{error}.") from error


Linked = Annotated[str, Depends(in_link)]


@router.post(
    "/api/v1/customers/{customer_id}/usage/link",
    status_code=HTTPStatus.CREATED,
    responses=problems(401, 403, 404, 422, 503),
)
def usage_link(
    customer_id: CustomerId, doors: Opened, key: Admin, links: CustomerLinks
) -> UsageLink:
    """A link on which the customer sees their usage, for a day; a portal may show it in a frame."""
    need_customer(key, customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        if find_customer(tx, customer_id) is None:
            raise not_found(customer_id)
    return UsageLink(url=links.to_usage(customer_id), expires_at=good_until(USAGE_GOOD_FOR))


@pages.get("/usage/{token}")
def usage(
    token: Token,
    customer_id: Linked,
    doors: Opened,
    links: CustomerLinks,
    cycle: CycleNumber = None,
) -> Response:
    """The current cycle, or an earlier one."""
    now = doors.clock.now()
    with snapshot_of(customer_id, doors) as (tx, as_of):
        customer = find_customer(tx, customer_id)
        standing = current_usage(tx, customer_id, now, as_of)
        found = overview(tx, customer_id, cycle, now)
    if standing is None or found is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no cycle {cycle}.")
    name = customer.name if customer else None
    return shown(usage_page(standing, found, name, token), framed_by=links.portals)


@pages.get("/usage/{token}/statements/{number}")
def statement(number: Number, customer_id: Linked, doors: Opened, links: CustomerLinks) -> Response:
    """The statement of a closed cycle, as long as the link is good."""
    with snapshot_of(customer_id, doors) as (tx, _):
        found = named(tx, CycleKey(customer_id, number))
        customer = find_customer(tx, customer_id)
    text = statement_page(found, customer.name if customer else None)
    return shown(text, framed_by=links.portals)


@pages.get("/usage/{token}/fixes/{fix_id}")
def fix(
    token: Token, fix_id: FixId, customer_id: Linked, doors: Opened, links: CustomerLinks
) -> Response:
    """Why it costs what it costs."""
    with snapshot_of(customer_id, doors) as (tx, as_of):
        found = explain_fix(tx, FixKey(customer_id, fix_id), as_of)
    if found is None:
        raise unknown_fix(customer_id, fix_id)
    return shown(fix_page(found, token), framed_by=links.portals)


@pages.get("/usage/{token}/charges/{charge_id}")
def charge(
    token: Token, charge_id: ChargeId, customer_id: Linked, doors: Opened, links: CustomerLinks
) -> Response:
    """What it is made of, and what became of it."""
    with snapshot_of(customer_id, doors) as (tx, as_of):
        found = explain_charge(tx, ChargeKey(customer_id, charge_id), as_of)
    if found is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no charge {charge_id}.")
    return shown(charge_page(found, token), framed_by=links.portals)


router.include_router(pages)
