from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conformance.conftest import refused, tries
from tests.sandbox.conftest import fresh_key, unconfirmed


def test_the_same_key_gives_the_same_answer_and_charges_once(
    client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    key = fresh_key()

    first, second = (
        client.v1.payment_intents.confirm(
            intent.id, {"off_session": True}, {"idempotency_key": key}
        )
        for _ in range(2)
    )

    assert (first.id, first.latest_charge) == (second.id, second.latest_charge)
    assert first.last_response is not None
    assert second.last_response is not None
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert tries(client, intent) == ["succeeded"]


def test_the_same_key_with_other_parameters_is_an_error(client: stripe.StripeClient) -> None:
    key = fresh_key()
    made = client.v1.customers.create({"name": "A"}, {"idempotency_key": key})

    with pytest.raises(stripe.IdempotencyError) as other_parameters:
        client.v1.customers.create({"name": "B"}, {"idempotency_key": key})
    with pytest.raises(stripe.IdempotencyError) as other_endpoint:
        client.v1.customers.update(made.id, {"name": "A"}, {"idempotency_key": key})

    assert (other_parameters.value.http_status, other_endpoint.value.http_status) == (400, 400)


def test_a_decline_is_kept_and_a_new_key_tries_again(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    bad = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    intent = unconfirmed(client, customer, bad.id)
    once, again = fresh_key(), fresh_key()

    for key, count in ((once, 1), (once, 1), (again, 2)):
        with pytest.raises(stripe.CardError):
            client.v1.payment_intents.confirm(
                intent.id,
                {"payment_method": bad.id, "off_session": True},
                {"idempotency_key": key},
            )
        assert tries(client, intent) == ["failed"] * count


def test_a_call_with_wrong_parameters_is_not_kept(client: stripe.StripeClient) -> None:
    key = fresh_key()
    create = client.v1.payment_intents.create
    refused(create, {"amount": 1, "currency": "usd"}, {"idempotency_key": key})

    made = create({"amount": 100, "currency": "usd"}, {"idempotency_key": key})

    assert made.amount == 100
