from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.sandbox.receiver import Receiver, receiving
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox

CARDS_ONLY: Any = {"enabled": True, "allow_redirects": "never"}


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture(scope="session")
def shared_sandbox(
    tmp_path_factory: pytest.TempPathFactory, receiver: Receiver
) -> Iterator[RunningSandbox]:
    with running_sandbox(tmp_path_factory.mktemp("stripe"), receiver.url) as one:
        yield one


@pytest.fixture
def sandbox(shared_sandbox: RunningSandbox, receiver: Receiver) -> Iterator[RunningSandbox]:
    """The shared sandbox with no fault waiting; tests look only at objects of their own."""
    yield shared_sandbox
    shared_sandbox.ask("DELETE", "faults")
    receiver.refusals.clear()


@pytest.fixture
def client(sandbox: RunningSandbox) -> stripe.StripeClient:
    return sandbox.client()


@pytest.fixture
def customer(client: stripe.StripeClient) -> stripe.Customer:
    """A customer whose default card is good."""
    made = client.v1.customers.create({"email": "billing@example.com"})
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": made.id})
    return client.v1.customers.update(
        made.id, {"invoice_settings": {"default_payment_method": card.id}}
    )


@pytest.fixture
def intent(client: stripe.StripeClient, customer: stripe.Customer) -> stripe.PaymentIntent:
    """An unconfirmed intent of 29 dollars with the customer's card."""
    return unconfirmed(client, customer)


def default_card(customer: stripe.Customer) -> str:
    """The id of the customer's default card."""
    assert customer.invoice_settings is not None
    card = customer.invoice_settings.default_payment_method
    assert isinstance(card, str)
    return card


def unconfirmed(
    client: stripe.StripeClient, customer: stripe.Customer, card: str | None = None
) -> stripe.PaymentIntent:
    """A new unconfirmed intent of 29 dollars."""
    return client.v1.payment_intents.create(
        {
            "amount": 2900,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": card or default_card(customer),
            "automatic_payment_methods": CARDS_ONLY,
            "metadata": {"charge_id": "0192"},
        }
    )


def fresh_key() -> str:
    """An idempotency key nobody has used."""
    return f"test-{secrets.token_hex(8)}"


def error_body(problem: stripe.StripeError) -> dict[str, Any]:
    """The error as it came over the wire; some of it the SDK keeps nowhere else."""
    body: Any = problem.json_body
    error: dict[str, Any] = body["error"]
    return error


def charge_of(client: stripe.StripeClient, intent: str) -> stripe.Charge:
    """The latest charge of an intent."""
    found = client.v1.payment_intents.retrieve(intent, {"expand": ["latest_charge"]}).latest_charge
    assert isinstance(found, stripe.Charge)
    return found


def kinds_of_events(client: stripe.StripeClient, intent: str) -> list[str]:
    """What happened to an intent, and to what belongs to it, oldest first."""
    events = client.v1.events.list({"limit": 100}).data[::-1]
    told = [(event.type, event.data.object.to_dict()) for event in events]
    return [kind for kind, thing in told if intent in (thing["id"], thing.get("payment_intent"))]
