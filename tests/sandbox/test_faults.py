from __future__ import annotations

import time

import pytest
import stripe

from tests.sandbox.conftest import error_body
from tests.sandbox.sandbox_process import RunningSandbox

CONFIRM = "/v1/payment_intents/*/confirm"
BEFORE = [
    ("http_500_before", stripe.APIError, 500),
    ("html_502", stripe.APIError, 502),
    ("http_401", stripe.AuthenticationError, 401),
    ("http_403", stripe.PermissionError, 403),
    ("http_429", stripe.RateLimitError, 429),
    ("lock_timeout", stripe.RateLimitError, 429),
    ("http_409_in_use", stripe.APIError, 409),
    ("cut_before", stripe.APIConnectionError, None),
]
AFTER = [
    ("http_500_after", stripe.APIError, 500),
    ("html_502_after", stripe.APIError, 502),
    ("half_json", stripe.APIError, 200),
    ("cut_after", stripe.APIConnectionError, None),
]


@pytest.mark.parametrize(("fault", "problem", "status"), BEFORE)
def test_a_fault_before_leaves_nothing_behind(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    intent: stripe.PaymentIntent,
    fault: str,
    problem: type[stripe.StripeError],
    status: int | None,
) -> None:
    sandbox.fault(fault, "POST", CONFIRM)

    with pytest.raises(problem) as struck:
        client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})

    assert struck.value.http_status == status
    assert client.v1.payment_intents.retrieve(intent.id).status == "requires_confirmation"
    assert sandbox.payments(payment_intent=intent.id) == []
    again = client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})
    assert again.status == "succeeded"


@pytest.mark.parametrize(("fault", "problem", "status"), AFTER)
def test_a_fault_after_has_charged_all_the_same(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    intent: stripe.PaymentIntent,
    fault: str,
    problem: type[stripe.StripeError],
    status: int | None,
) -> None:
    sandbox.fault(fault, "POST", CONFIRM)

    with pytest.raises(problem) as struck:
        client.v1.payment_intents.confirm(intent.id)

    assert struck.value.http_status == status
    assert client.v1.payment_intents.retrieve(intent.id).status == "succeeded"
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_a_500_is_what_its_key_answers_from_then_on(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("http_500_after", "POST", CONFIRM)

    for _ in range(2):
        with pytest.raises(stripe.APIError) as failed:
            client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})

    assert failed.value.headers is not None
    assert failed.value.headers["Idempotent-Replayed"] == "true"
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_half_an_answer_is_whole_when_asked_again_with_its_key(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("half_json", "POST", CONFIRM)
    with pytest.raises(stripe.APIError):
        client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})

    again = client.v1.payment_intents.confirm(intent.id, {}, {"idempotency_key": intent.id})

    assert again.status == "succeeded"
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


@pytest.mark.parametrize(("fault", "charged"), [("timeout_before", 0), ("timeout_after", 1)])
def test_a_call_that_hangs_holds_up_nobody_else(
    sandbox: RunningSandbox, intent: stripe.PaymentIntent, fault: str, charged: int
) -> None:
    sandbox.fault(fault, "POST", CONFIRM, seconds=60)
    impatient = sandbox.client(timeout=0.5)

    with pytest.raises(stripe.APIConnectionError):
        impatient.v1.payment_intents.confirm(intent.id)

    impatient.v1.payment_intents.retrieve(intent.id)
    assert len(sandbox.payments(payment_intent=intent.id)) == charged


def test_a_slow_call_charges_after_its_caller_gave_up(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("slow", "POST", CONFIRM, seconds=0.8)
    with pytest.raises(stripe.APIConnectionError):
        sandbox.client(timeout=0.3).v1.payment_intents.confirm(intent.id)
    assert client.v1.payment_intents.retrieve(intent.id).status == "requires_confirmation"

    deadline = time.monotonic() + 10
    while client.v1.payment_intents.retrieve(intent.id).status != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_the_sdk_repeats_a_cut_call_with_its_key_and_is_charged_once(
    sandbox: RunningSandbox, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("cut_after", "POST", CONFIRM)

    paid = sandbox.client(retries=2).v1.payment_intents.confirm(intent.id)

    assert paid.status == "succeeded"
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_a_fault_waits_for_its_own_path_and_lets_the_first_calls_pass(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("http_500_before", "GET", "/v1/payment_intents/*", times=2, skip=1)

    client.v1.payment_intents.retrieve(intent.id)
    client.v1.payment_intents.update(intent.id, {"description": "another path's method"})
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            client.v1.payment_intents.retrieve(intent.id)

    assert client.v1.payment_intents.retrieve(intent.id).id == intent.id
    assert sandbox.ask("GET", "faults") == []


def test_faults_are_cleared(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("http_500_before", times=1000)
    assert len(sandbox.ask("GET", "faults")) == 1

    sandbox.ask("DELETE", "faults")

    assert client.v1.payment_intents.retrieve(intent.id).id == intent.id


def test_a_key_that_is_not_known_is_refused_in_stripes_words(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    sandbox.fault("http_401", "GET", "/v1/payment_intents/*")

    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key provided: sk_test_"):
        client.v1.payment_intents.retrieve(intent.id)


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("POST", "/v1/refunds", "rak_refund_write"),
        ("GET", "/v1/payment_intents/pi_1", "rak_payment_intent_read"),
        ("POST", "/v1/checkout/sessions", "rak_checkout_session_write"),
        ("DELETE", "/v1/webhook_endpoints/we_1", "rak_webhook_write"),
        ("GET", "/v1/prices", "rak_plan_read"),
    ],
)
def test_a_restricted_key_is_told_which_permission_it_lacks(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    method: str,
    path: str,
    permission: str,
) -> None:
    sandbox.fault("http_403", method, path)

    with pytest.raises(stripe.PermissionError) as lacking:
        client.raw_request(method.lower(), path)

    assert error_body(lacking.value) == {
        "message": "The provided key 'rk_test_********' does not have the required permissions for"
        f" this endpoint on account 'acct_sandbox'. Having the '{permission}' permission would"
        " allow this request to continue.",
        "type": "invalid_request_error",
    }
