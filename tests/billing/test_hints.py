from __future__ import annotations

from typing import Any

import pytest

from worker.billing.hints import Subject, object_in, subject_of

S = Subject
OBJECT: dict[str, Any] = {"id": "the id", "payment_intent": "its intent", "charge": "its charge"}

TYPES: dict[str, tuple[Subject | None, str | None]] = {
    "payment_intent.succeeded": (S.PAYMENT, "the id"),
    "payment_intent.requires_action": (S.PAYMENT, "the id"),
    "charge.succeeded": (S.PAYMENT, "its intent"),
    "charge.refunded": (S.PAYMENT, "its intent"),
    "charge.dispute.created": (S.DISPUTE, "the id"),
    "charge.dispute.funds_withdrawn": (S.DISPUTE, "the id"),
    "charge.refund.updated": (S.REFUND, "the id"),
    "refund.created": (S.REFUND, "the id"),
    "refund.failed": (S.REFUND, "the id"),
    "checkout.session.completed": (S.CHECKOUT, "the id"),
    "payment_method.detached": (S.PAYMENT_METHOD, "the id"),
    "customer.updated": (S.CUSTOMER, "the id"),
    "customer.subscription.deleted": (S.SUBSCRIPTION, "the id"),
    "invoice.paid": (S.INVOICE, "the id"),
    "customer.created": (None, None),
    "customer.deleted": (None, None),
    "setup_intent.succeeded": (None, None),
    "invoice_payment.paid": (None, None),
    "payout.paid": (None, None),
    "": (None, None),
}


@pytest.mark.parametrize(
    ("type", "subject", "object_id"),
    [(name, *about) for name, about in TYPES.items()],
    ids=TYPES.keys(),
)
def test_an_event_names_one_object_to_ask_for(
    type: str, subject: Subject | None, object_id: str | None
) -> None:
    named = subject_of(type), object_in(type, OBJECT)

    assert named == (subject, object_id)


@pytest.mark.parametrize("thing", [{}, {"id": None}, {"id": 7}, {"id": ["x"]}, {"id": {"x": 1}}])
def test_an_object_without_a_readable_id_names_none(thing: dict[str, Any]) -> None:
    found = object_in("payment_intent.succeeded", thing)

    assert found is None
