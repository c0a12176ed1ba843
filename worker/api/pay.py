"""How a customer pays: links to add a card and to authenticate a payment, and their pages."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import HTMLResponse, RedirectResponse, Response

from schemas.answers import RecoveryLink, SetupLink
from schemas.events import ID_PATTERN
from worker.api.access import (
    Admin,
    CustomerLinks,
    Doors,
    Opened,
    need_customer,
    not_found,
    rows_of,
)
from worker.api.customers import CustomerId
from worker.api.page_route import PageRoute
from worker.api.pages.render import page
from worker.api.problems import Refusal, problems
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.plan_changes import BILLING_ADDED
from worker.customers import CustomerProblem
from worker.links import BadLink, good_until
from worker.setup import SetupPages, held_cost, setup_link
from worker.storage.charges import ChargeKey, find_one
from worker.storage.customers import find_customer
from worker.storage.grants import has_grant
from worker.stripe_calls import StripeRefused
from worker.usage.current import current_usage

router = APIRouter()
pages = APIRouter(route_class=PageRoute, include_in_schema=False)

ChargeId = Annotated[str, Path(pattern=ID_PATTERN)]
Token = Annotated[str, Path(max_length=1000)]


def in_link(token: Token, links: CustomerLinks) -> ChargeKey:
    """The charge a link is for; 404 for any other text."""
    try:
        return ChargeKey(*links.charge_of(token))
    except BadLink as error:
        raise Refusal(HTTPStatus.NOT_FOUND, f"{error}.") from error


Linked = Annotated[ChargeKey, Depends(in_link)]


@router.post(
    "/api/v1/customers/{customer_id}/setup",
    status_code=HTTPStatus.CREATED,
    responses=problems(401, 403, 404, 422, 502, 503),
)
def setup(customer_id: CustomerId, doors: Opened, key: Admin, links: CustomerLinks) -> SetupLink:
    """A link on which the customer adds a card; it says first what held fixes would cost."""
    need_customer(key, customer_id)
    with rows_of(customer_id, doors.engine) as tx:
        usage = current_usage(tx, customer_id, doors.clock.now(), None)
        bonus_given = has_grant(tx, customer_id, BILLING_ADDED)
    if usage is None:
        raise not_found(customer_id)
    held = held_cost(usage, doors.clock.now(), bonus_given)
    begin = partial(rows_of, customer_id, doors.engine, "READ COMMITTED")
    public = links.public_url
    pages = SetupPages(f"{public}/setup/saved", f"{public}/setup/cancelled")
    try:
        return setup_link(customer_id, held, pages, begin, doors.stripe)
    except CustomerProblem as error:
        raise not_found(customer_id) from error
    except StripeRefused as refusal:
        raise Refusal(HTTPStatus.BAD_GATEWAY, f"Stripe made no link: {refusal}") from refusal


@router.post(
    "/api/v1/customers/{customer_id}/charges/{charge_id}/recovery",
    status_code=HTTPStatus.CREATED,
    responses=problems(401, 403, 404, 409, 422, 503),
)
def recovery(
    customer_id: CustomerId, charge_id: ChargeId, doors: Opened, key: Admin, links: CustomerLinks
) -> RecoveryLink:
    """A link on which the customer authenticates a payment that their bank asked about."""
    need_customer(key, customer_id)
    charge = charge_of(customer_id, charge_id, doors)
    if charge.status is not ChargeStatus.ACTION_REQUIRED:
        raise Refusal(
            HTTPStatus.CONFLICT, f"Charge {charge_id} is {charge.status}: nothing to authenticate."
        )
    url = links.to_charge(customer_id, charge_id)
    return RecoveryLink(url=url, expires_at=good_until(), amount=charge.asked)


@pages.get("/pay/{token}")
def ask(linked: Linked, doors: Opened) -> Response:
    """What is to be paid, and a button."""
    return shown(charge_of(*linked, doors), linked.customer_id)


@pages.post("/pay/{token}")
@pages.post("/pay/{token}/done")  # a failed one, again
def authenticate(token: Token, linked: Linked, doors: Opened, links: CustomerLinks) -> Response:
    """To the bank's page, if it wants to see the customer; the webhook books what comes of it."""
    charge = charge_of(*linked, doors)
    with rows_of(linked.customer_id, doors.engine) as tx:
        customer = find_customer(tx, linked.customer_id)
    if (
        charge.status is not ChargeStatus.ACTION_REQUIRED
        or charge.payment_intent is None
        or customer is None
        or customer.payment_method is None
    ):
        return shown(charge, linked.customer_id)
    back = f"{links.public_url}/pay/{token}/done"
    answer, url = doors.stripe.authenticate(charge.payment_intent, customer.payment_method, back)
    if url is not None:
        return RedirectResponse(url, HTTPStatus.SEE_OTHER)
    return result(answer, charge, linked.customer_id)


@pages.get("/pay/{token}/done")
def done(linked: Linked, doors: Opened) -> Response:
    """What Stripe says now; our books follow by webhook."""
    charge = charge_of(*linked, doors)
    if charge.payment_intent is None:
        return shown(charge, linked.customer_id)
    answer = doors.stripe.retrieve_intent(charge.payment_intent)
    return result(answer, charge, linked.customer_id)


@pages.get("/setup/{outcome}")
def setup_done(outcome: str) -> Response:
    """Where the browser lands after the page for a card."""
    if outcome not in ("saved", "cancelled"):
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such page.")
    return shown_once("setup.html", saved=outcome == "saved")


def shown(charge: Charge, customer_id: str) -> Response:
    return shown_once("pay.html", charge=charge, customer_id=customer_id, status=charge.status)


def result(answer: Answer, charge: Charge, customer_id: str) -> Response:
    """By Stripe's word, which is ahead of our books; 502 without one."""
    if answer.payment_intent is None and answer.kind in (AnswerKind.UNKNOWN, AnswerKind.LATER):
        again = "Stripe gives no answer at present. Nobody pays twice: open the link again later."
        raise Refusal(HTTPStatus.BAD_GATEWAY, again)
    statuses = {AnswerKind.SUCCEEDED: "paid", AnswerKind.UNKNOWN: "processing"}
    status = statuses.get(answer.kind, charge.status)
    return shown_once("pay.html", charge=charge, customer_id=customer_id, status=status)


def shown_once(name: str, **values: object) -> Response:
    """A page that no cache keeps: what it says may be over in a moment."""
    return HTMLResponse(page(name, **values), headers={"Cache-Control": "no-store"})


def charge_of(customer_id: str, charge_id: str, doors: Doors) -> Charge:
    with rows_of(customer_id, doors.engine) as tx:
        charge = find_one(tx, ChargeKey(customer_id, charge_id))
    if charge is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no charge {charge_id}.")
    return charge


router.include_router(pages)
