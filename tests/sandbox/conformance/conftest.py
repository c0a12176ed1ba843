"""What the sandbox and Stripe's test mode must both do: the same cases, through the official SDK.

Against Stripe they run only when FIXBILL_CONFORMANCE_STRIPE_KEY holds a test key, and then they
leave customers and payments behind in that account.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import error_body

KEY = "FIXBILL_CONFORMANCE_STRIPE_KEY"
BACK = "https://example.com/back"


def stripe_test_key(environment: Mapping[str, str]) -> str | None:
    """The key to call Stripe with; never one that moves real money."""
    key = environment.get(KEY)
    if key and not key.startswith(("sk_test_", "rk_test_")):
        raise ValueError(f"{KEY} does not hold a test key; nothing was called.")
    return key


@pytest.fixture(params=["sandbox", "stripe"])
def client(request: pytest.FixtureRequest) -> stripe.StripeClient:
    """One of the two; the fixtures that make customers and intents use it too."""
    if request.param == "sandbox":
        ours: stripe.StripeClient = request.getfixturevalue("sandbox").client()
        return ours
    key = stripe_test_key(os.environ)
    if not key:
        pytest.skip(f"{KEY} is not set")
    return stripe.StripeClient(key, max_network_retries=2)


@pytest.fixture
def paid(client: stripe.StripeClient, intent: stripe.PaymentIntent) -> stripe.PaymentIntent:
    """A payment of 29 dollars."""
    return client.v1.payment_intents.confirm(intent.id, {"off_session": True})


def refused(call: Any, *arguments: Any) -> dict[str, Any]:
    """The error of a call that asks for what cannot be."""
    with pytest.raises(stripe.InvalidRequestError) as problem:
        call(*arguments)
    return error_body(problem.value)


def tries(client: stripe.StripeClient, intent: stripe.PaymentIntent) -> list[str]:
    """How each try at the card ended, newest first."""
    charges = client.v1.charges.list({"payment_intent": intent.id}).data
    return [charge.status for charge in charges]
