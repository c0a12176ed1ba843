from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import stripe

from tests.sandbox.conftest import error_body, fresh_key
from tests.sandbox.sandbox_process import DAY, RunningSandbox


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

    sandbox.advance(DAY - 60)
    assert client.v1.customers.create({}, {"idempotency_key": key}).id == first.id
    sandbox.advance(120)
    later = client.v1.customers.create({}, {"idempotency_key": key})

    assert later.id != first.id
    assert later.created >= before + DAY + 60 > time.time() + 60
