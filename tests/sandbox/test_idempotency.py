from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from tests.sandbox.conftest import error_body, unconfirmed
from tests.sandbox.sandbox_process import RunningSandbox

DAY = 24 * 60 * 60


def fresh_key() -> str:
    return f"test-{secrets.token_hex(8)}"


def test_the_same_key_gives_the_same_intent_and_charges_once(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    key = fresh_key()
    wish = stripe.params.PaymentIntentCreateParams(
        amount=2900, currency="usd", payment_method="pm_card_visa", confirm=True
    )

    first = client.v1.payment_intents.create(wish, {"idempotency_key": key})
    second = client.v1.payment_intents.create(wish, {"idempotency_key": key})

    assert first.id == second.id
    assert [row["payment_intent"] for row in sandbox.payments(idempotency_key=key)] == [first.id]
    assert first.last_response is not None
    assert second.last_response is not None
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"


def test_the_same_key_with_other_parameters_is_an_error(client: stripe.StripeClient) -> None:
    key = fresh_key()
    made = client.v1.customers.create({"email": "a@example.com"}, {"idempotency_key": key})

    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        client.v1.customers.create({"email": "b@example.com"}, {"idempotency_key": key})
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        client.v1.customers.update(made.id, {"email": "a@example.com"}, {"idempotency_key": key})


def test_a_key_in_use_is_turned_away_with_409(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    key = fresh_key()
    sandbox.fault("slow", "POST", "/v1/payment_intents/*/confirm", seconds=0.6)

    def confirm() -> str:
        try:
            return client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": key}).status
        except stripe.APIError as problem:
            return str(error_body(problem)["code"])

    with ThreadPoolExecutor(2) as both:
        answers = sorted(both.map(lambda _: confirm(), range(2)))

    assert answers == ["idempotency_key_in_use", "succeeded"]
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_many_callers_with_one_key_make_one_payment(
    sandbox: RunningSandbox, customer: stripe.Customer
) -> None:
    key = fresh_key()
    client = sandbox.client(retries=3)

    def pay() -> str:
        return client.v1.payment_intents.create(
            {"amount": 2900, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True},
            {"idempotency_key": key},
        ).id

    with ThreadPoolExecutor(8) as many:
        ids = set(many.map(lambda _: pay(), range(24)))

    assert len(ids) == 1
    assert len(sandbox.payments(idempotency_key=key)) == 1


def test_a_decline_is_kept_and_a_new_key_tries_again(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    bad = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    intent = unconfirmed(client, customer, bad.id)
    key = fresh_key()

    for _ in range(2):
        with pytest.raises(stripe.CardError):
            client.v1.payment_intents.confirm(
                intent.id, {"payment_method": bad.id}, {"idempotency_key": key}
            )
    assert len(sandbox.payments(payment_intent=intent.id)) == 1

    with pytest.raises(stripe.CardError):
        client.v1.payment_intents.confirm(
            intent.id, {"payment_method": bad.id}, {"idempotency_key": fresh_key()}
        )
    assert len(sandbox.payments(payment_intent=intent.id)) == 2


def test_a_call_with_wrong_parameters_is_not_kept(client: stripe.StripeClient) -> None:
    key = fresh_key()
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.payment_intents.create({"amount": 1, "currency": "usd"}, {"idempotency_key": key})

    made = client.v1.payment_intents.create(
        {"amount": 100, "currency": "usd"}, {"idempotency_key": key}
    )

    assert made.amount == 100


def test_a_forgotten_key_executes_again(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    key = fresh_key()
    first = client.v1.customers.create({}, {"idempotency_key": key})

    assert sandbox.ask("POST", "forget_keys")["forgotten"] >= 1

    assert client.v1.customers.create({}, {"idempotency_key": key}).id != first.id


def test_a_key_lives_for_a_day_of_the_sandboxs_clock(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    key = fresh_key()
    first = client.v1.customers.create({}, {"idempotency_key": key})
    before = sandbox.ask("GET", "clock")["now"]

    sandbox.ask("POST", "clock", {"advance": DAY - 60})
    assert client.v1.customers.create({}, {"idempotency_key": key}).id == first.id
    sandbox.ask("POST", "clock", {"advance": 120})
    later = client.v1.customers.create({}, {"idempotency_key": key})

    assert later.id != first.id
    assert later.created >= before + DAY + 60 > time.time() + 60
