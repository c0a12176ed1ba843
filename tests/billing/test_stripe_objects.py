"""What Stripe sends becomes a value; what is not what it should be becomes an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.builders import usd
from worker.billing.stripe_objects import (
    Payment,
    StripeDispute,
    StripeFee,
    StripeInvoice,
    StripeRefund,
    StripeSubscription,
    dispute_in,
    fee_in,
    invoice_in,
    payment_in,
    refund_in,
    subscription_in,
)

Body = dict[str, Any]

AT = datetime(2026, 3, 15, 12, tzinfo=UTC)
MONTH_LATER = datetime(2026, 4, 15, 12, tzinfo=UTC)
SECONDS, SECONDS_LATER = int(AT.timestamp()), int(MONTH_LATER.timestamp())

CHARGE: Body = {
    "id": "ch_1",
    "object": "charge",
    "amount": 2900,
    "currency": "usd",
    "customer": "cus_1",
    "created": SECONDS,
    "metadata": {"charge_id": "ch_ours", "customer_id": "acme"},
    "payment_intent": "pi_1",
    "status": "succeeded",
}
REFUND: Body = {
    "id": "re_1",
    "object": "refund",
    "amount": 900,
    "currency": "usd",
    "created": SECONDS,
    "failure_reason": "expired_or_canceled_card",
    "metadata": {"refund_id": "ref_1"},
    "payment_intent": "pi_1",
    "status": "failed",
}
DISPUTE: Body = {
    "id": "du_1",
    "object": "dispute",
    "amount": 2900,
    "currency": "usd",
    "created": SECONDS,
    "payment_intent": "pi_1",
    "reason": "fraudulent",
    "status": "needs_response",
}
TRANSACTION: Body = {
    "id": "txn_1",
    "object": "balance_transaction",
    "amount": 2900,
    "currency": "usd",
    "created": SECONDS,
    "fee": 114,
    "source": CHARGE,
}
INVOICE: Body = {
    "id": "in_1",
    "object": "invoice",
    "amount_due": 59900,
    "amount_paid": 59900,
    "billing_reason": "subscription_create",
    "currency": "usd",
    "customer": "cus_1",
    # Of a first invoice both are the moment it was made; the month stands on its line.
    "period_start": SECONDS,
    "period_end": SECONDS,
    "lines": {
        "data": [
            {
                "period": {"start": SECONDS, "end": SECONDS_LATER},
                "pricing": {"price_details": {"price": "price_1", "product": "prod_1"}},
            }
        ]
    },
    "parent": {"subscription_details": {"subscription": "sub_1"}, "type": "subscription_details"},
    "payments": {
        "data": [
            {"payment": {"type": "charge", "charge": "ch_1"}},
            {"payment": {"type": "payment_intent", "payment_intent": "pi_1"}},
        ]
    },
    "status": "paid",
}
SUBSCRIPTION: Body = {
    "id": "sub_1",
    "object": "subscription",
    "billing_cycle_anchor": SECONDS,
    "cancel_at_period_end": False,
    "customer": "cus_1",
    "ended_at": None,
    "latest_invoice": "in_1",
    "metadata": {"order_id": "order_1"},
    "items": {
        "data": [{"current_period_start": SECONDS, "current_period_end": SECONDS_LATER}],
    },
    "status": "active",
}

PAYMENT = Payment("pi_1", usd(29), "cus_1", "ch_ours", AT)
INVOICED = StripeInvoice(
    "in_1",
    "cus_1",
    "sub_1",
    "paid",
    "subscription_create",
    usd(599),
    "pi_1",
    AT,
    MONTH_LATER,
    ("price_1",),
)
SUBSCRIBED = StripeSubscription(
    "sub_1", "cus_1", "active", AT, MONTH_LATER, False, AT, None, "order_1", "in_1"
)
REFUNDED = StripeRefund("re_1", "pi_1", usd(9), "failed", "ref_1", "expired_or_canceled_card", AT)

READINGS: dict[str, tuple[Callable[[Mapping[str, Any]], object], Body, object]] = {
    "a payment": (payment_in, CHARGE, PAYMENT),
    "a payment that is not for a charge of ours": (
        payment_in,
        CHARGE | {"metadata": {}},
        PAYMENT._replace(charge_id=None),
    ),
    "a payment of nobody": (
        payment_in,
        CHARGE | {"customer": None},
        PAYMENT._replace(stripe_customer=None),
    ),
    "a declined charge": (payment_in, CHARGE | {"status": "failed"}, None),
    "a charge that is under way": (payment_in, CHARGE | {"status": "pending"}, None),
    "a charge without an intent": (payment_in, CHARGE | {"payment_intent": None}, None),
    "a refund": (refund_in, REFUND, REFUNDED),
    "a refund that was made by hand": (
        refund_in,
        {name: value for name, value in REFUND.items() if name != "failure_reason"}
        | {"metadata": {}, "status": "succeeded"},
        REFUNDED._replace(refund_id=None, code=None, status="succeeded"),
    ),
    "a dispute": (
        dispute_in,
        DISPUTE,
        StripeDispute("du_1", "pi_1", usd(29), "needs_response", "fraudulent", AT),
    ),
    "an invoice": (invoice_in, INVOICE, INVOICED),
    "an invoice without a payment yet": (
        invoice_in,
        INVOICE | {"payments": {"data": []}, "amount_paid": 0, "status": "open"},
        INVOICED._replace(payment_intent=None, money=usd(0), status="open"),
    ),
    "an invoice that no intent has paid": (
        invoice_in,
        INVOICE | {"payments": {"data": [{"payment": {"type": "charge", "charge": "ch_1"}}]}},
        INVOICED._replace(payment_intent=None),
    ),
    "an invoice without a subscription": (
        invoice_in,
        INVOICE | {"parent": None, "billing_reason": "manual"},
        INVOICED._replace(subscription_id=None, reason="manual"),
    ),
    "an invoice of nothing": (
        invoice_in,
        INVOICE | {"lines": {"data": []}, "amount_paid": 0, "period_end": SECONDS_LATER},
        INVOICED._replace(money=usd(0), prices=()),
    ),
    "an invoice with a line without a price": (
        invoice_in,
        INVOICE | {"lines": {"data": [*INVOICE["lines"]["data"], {"period": {}, "pricing": None}]}},
        INVOICED,
    ),
    "a subscription": (subscription_in, SUBSCRIPTION, SUBSCRIBED),
    "a subscription that ends": (
        subscription_in,
        SUBSCRIPTION | {"cancel_at_period_end": True, "status": "past_due"},
        SUBSCRIBED._replace(cancel_at_period_end=True, status="past_due"),
    ),
    "a subscription that has ended": (
        subscription_in,
        SUBSCRIPTION | {"ended_at": SECONDS_LATER, "status": "canceled"},
        SUBSCRIBED._replace(ended_at=MONTH_LATER, status="canceled"),
    ),
    "a subscription that was made by hand": (
        subscription_in,
        SUBSCRIPTION | {"metadata": {}, "latest_invoice": None},
        SUBSCRIBED._replace(order_id=None, invoice_id=None),
    ),
}


@pytest.mark.parametrize(("read", "body", "value"), READINGS.values(), ids=READINGS)
def test_what_stripe_sends_is_read(
    read: Callable[[Mapping[str, Any]], object], body: Body, value: object
) -> None:
    found = read(body)

    assert found == value


NEEDED: dict[str, tuple[Callable[[Mapping[str, Any]], object], Body, list[str]]] = {
    "payment": (
        payment_in,
        CHARGE,
        ["status", "payment_intent", "amount", "currency", "customer", "metadata", "created"],
    ),
    "refund": (
        refund_in,
        REFUND,
        ["id", "payment_intent", "amount", "currency", "status", "metadata", "created"],
    ),
    "dispute": (
        dispute_in,
        DISPUTE,
        ["id", "payment_intent", "amount", "currency", "status", "reason", "created"],
    ),
    "invoice": (
        invoice_in,
        INVOICE,
        ["id", "customer", "status", "amount_paid", "currency", "lines"],
    ),
    "subscription": (
        subscription_in,
        SUBSCRIPTION,
        ["id", "customer", "status", "items", "cancel_at_period_end", "billing_cycle_anchor"],
    ),
}
MISSING = {
    f"{kind} without {name}": (read, body, name)
    for kind, (read, body, names) in NEEDED.items()
    for name in names
}


@pytest.mark.parametrize(("read", "body", "name"), MISSING.values(), ids=MISSING)
def test_what_lacks_something_is_not_guessed(
    read: Callable[[Mapping[str, Any]], object], body: Body, name: str
) -> None:
    lacking = deepcopy(body)
    del lacking[name]

    with pytest.raises(KeyError):
        read(lacking)


GARBAGE: dict[str, tuple[Callable[[Mapping[str, Any]], object], Body]] = {
    "an amount that is none": (payment_in, CHARGE | {"amount": None}),
    "an amount in words": (payment_in, CHARGE | {"amount": "2900"}),
    "half a cent": (refund_in, REFUND | {"amount": 0.5}),
    "a currency that is none": (dispute_in, DISPUTE | {"currency": None}),
    "a moment that is none": (payment_in, CHARGE | {"created": None}),
    "a moment in words": (refund_in, REFUND | {"created": "2026-03-15"}),
    "metadata that are none": (payment_in, CHARGE | {"metadata": None}),
    "payments that are not expanded": (invoice_in, INVOICE | {"payments": "inpay_1"}),
    "no item": (subscription_in, SUBSCRIPTION | {"items": {"data": []}}),
    "something else": (subscription_in, CHARGE),
}


@pytest.mark.parametrize(("read", "body"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_an_error(read: Callable[[Mapping[str, Any]], object], body: Body) -> None:
    with pytest.raises((KeyError, ValueError, TypeError, AttributeError, IndexError)):
        read(body)


# Fees.


def test_a_fee_is_of_the_payment_that_cost_it() -> None:
    assert fee_in(TRANSACTION) == StripeFee("txn_1", "pi_1", "cus_1", usd(1, 14), AT)


@pytest.mark.parametrize("source", [REFUND, DISPUTE])
def test_the_fee_of_what_came_of_a_payment_is_of_that_payment(source: Body) -> None:
    found = fee_in(TRANSACTION | {"source": source, "fee": -1500})

    assert found == StripeFee("txn_1", "pi_1", None, -usd(15), AT)


@pytest.mark.parametrize(
    "more",
    [
        {"fee": 0},
        {"source": None},
        {"source": "po_1"},
        {"source": CHARGE | {"payment_intent": None}},
        {"source": {"id": "po_1", "object": "payout"}},
    ],
    ids=["free", "a monthly fee", "not expanded", "without an intent", "a payout"],
)
def test_what_no_payment_has_cost_is_no_fee_of_a_customer(more: Body) -> None:
    assert fee_in(TRANSACTION | more) is None
