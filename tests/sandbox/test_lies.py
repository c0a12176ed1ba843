from __future__ import annotations

import pytest
import stripe

from tests.sandbox.sandbox_process import RunningSandbox

CONFIRM = "/v1/payment_intents/*/confirm"


@pytest.mark.parametrize(
    ("fault", "field"),
    [("wrong_amount", "amount"), ("wrong_currency", "currency"), ("wrong_customer", "customer")],
)
def test_an_answer_lies_about_one_field_of_a_payment_that_was_made_as_asked(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    intent: stripe.PaymentIntent,
    fault: str,
    field: str,
) -> None:
    sandbox.fault(fault, "POST", CONFIRM)

    told = client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})
    again = client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})

    assert (told.id, told.status) == (intent.id, "succeeded")
    assert told[field] != intent[field]
    assert again[field] == client.v1.payment_intents.retrieve(intent.id)[field] == intent[field]
    (row,) = sandbox.payments(payment_intent=intent.id)
    assert row[field] == intent[field]


def test_a_lie_about_the_amount_is_told_of_what_was_received_too(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("wrong_amount", "POST", CONFIRM)

    told = client.v1.payment_intents.confirm(intent.id)

    assert told.amount == told.amount_received == 3000


def test_a_refund_is_lied_about_too(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    client.v1.payment_intents.confirm(intent.id)
    sandbox.fault("wrong_amount", "POST", "/v1/refunds")

    told = client.v1.refunds.create({"payment_intent": intent.id, "amount": 500})

    assert told.amount == 600
    assert client.v1.refunds.retrieve(told.id).amount == 500


def test_every_object_of_a_list_is_lied_about(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    client.v1.payment_intents.confirm(intent.id)
    for _ in range(2):
        client.v1.refunds.create({"payment_intent": intent.id, "amount": 500})
    sandbox.fault("wrong_currency", "GET", "/v1/refunds")

    told = client.v1.refunds.list({"payment_intent": intent.id})

    assert [refund.currency for refund in told.data] == ["eur", "eur"]


def test_a_refusal_is_true_even_when_its_call_was_to_be_lied_about(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("wrong_amount", "POST", "/v1/refunds")

    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        client.v1.refunds.create({"payment_intent": intent.id})
