from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.sandbox_process import RunningSandbox


def test_an_unknown_url_is_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        client.v1.payouts.list()


def test_a_wrong_api_key_is_401(sandbox: RunningSandbox) -> None:
    stranger = stripe.StripeClient("sk_test_wrong", base_addresses={"api": sandbox.url})

    with pytest.raises(stripe.AuthenticationError) as refused:
        stranger.v1.customers.list()

    assert refused.value.http_status == 401


def test_a_parameter_that_stripe_has_and_the_sandbox_has_not_is_refused(
    client: stripe.StripeClient,
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as to_create:
        client.v1.payment_intents.create(
            {"amount": 2900, "currency": "usd", "capture_method": "manual"}
        )
    with pytest.raises(stripe.InvalidRequestError) as to_list:
        client.v1.charges.list({"transfer_group": "g"})

    assert (to_create.value.code, to_create.value.param) == (
        "sandbox_unsupported",
        "capture_method",
    )
    assert (to_create.value.param, to_list.value.param) == ("capture_method", "transfer_group")


@pytest.mark.parametrize("reason", ["bored", "fraud"])
def test_a_word_that_is_none_of_a_parameters_is_refused(
    client: stripe.StripeClient, intent: stripe.PaymentIntent, reason: str
) -> None:
    wish: Any = {"cancellation_reason": reason}

    with pytest.raises(stripe.InvalidRequestError, match="must be one of duplicate") as refused:
        client.v1.payment_intents.cancel(intent.id, wish)

    assert refused.value.param == "cancellation_reason"
