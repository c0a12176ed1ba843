"""Why a fix or a charge costs what it costs."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import Response

from schemas.explanations import ChargeExplanation, FixExplanation
from worker.api.access import Caller, Opened, reading
from worker.api.answering import AS_CSV, answered
from worker.api.charges import CHARGES
from worker.api.customers import CustomerId
from worker.api.fixes import FIXES, FixId
from worker.api.pay import ChargeId
from worker.api.problems import Refusal, problems
from worker.storage.charges import ChargeKey
from worker.storage.evidence import FixKey
from worker.usage.explain import explain_charge, explain_fix

router = APIRouter()

FIX = FIXES + "/{fix_id}"
CHARGE = CHARGES + "/{charge_id}"


@router.get(
    FIX + "/explain",
    response_model=FixExplanation,
    responses={304: AS_CSV[304], **problems(401, 403, 404, 422, 503)},
)
def explain_one_fix(
    request: Request, customer_id: CustomerId, fix_id: FixId, doors: Opened, key: Caller
) -> Response:
    """From the events to the card: what was decided, why, what paid, and every transfer.

    `steps` add up to `net`, what the customer pays for this fix in the end.
    """
    with reading(customer_id, doors, key) as (tx, as_of):
        answer = explain_fix(tx, FixKey(customer_id, fix_id), as_of)
    if answer is None:
        raise unknown_fix(customer_id, fix_id)
    return answered(request, answer)


@router.get(
    CHARGE + "/explain",
    response_model=ChargeExplanation,
    responses={304: AS_CSV[304], **problems(401, 403, 404, 422, 503)},
)
def explain_one_charge(
    request: Request, customer_id: CustomerId, charge_id: ChargeId, doors: Opened, key: Caller
) -> Response:
    """What it is made of, how it was collected, what went back of it, and what stays."""
    with reading(customer_id, doors, key) as (tx, as_of):
        answer = explain_charge(tx, ChargeKey(customer_id, charge_id), as_of)
    if answer is None:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no charge {charge_id} of {customer_id}.")
    return answered(request, answer)


def unknown_fix(customer_id: str, fix_id: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, f"There is no fix {fix_id} of {customer_id}.")
