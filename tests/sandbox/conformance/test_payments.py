from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.conformance.conftest import refused, tries
from tests.sandbox.conftest import CARDS_ONLY, default_card, unconfirmed
from tests.sandbox.receiver import eventually


def test_create_with_confirm_pays_at_once(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    paid = client.v1.payment_intents.create(
        {
            "amount": 1500,
            "currency": "EUR",
            "customer": customer.id,
            "payment_method": default_card(customer),
            "confirm": True,
            "off_session": True,
            "automatic_payment_methods": CARDS_ONLY,
            "expand": ["latest_charge", "customer"],
        }
    )

    assert (paid.status, paid.currency, paid.amount_received) == ("succeeded", "eur", 1500)
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert isinstance(paid.customer, stripe.Customer)


@pytest.mark.parametrize(("off_session", "status"), [(True, "succeeded"), (False, None)])
def test_a_payment_that_might_redirect_needs_a_return_url_while_the_customer_is_there(
    client: stripe.StripeClient, customer: stripe.Customer, off_session: bool, status: str | None
) -> None:
    wish: Any = {
        "amount": 2900,
        "currency": "usd",
        "customer": customer.id,
        "payment_method": default_card(customer),
        "automatic_payment_methods": {"enabled": True},
    }
    intent = client.v1.payment_intents.create(wish)
    confirm = client.v1.payment_intents.confirm

    if status:
        assert confirm(intent.id, {"off_session": off_session}).status == status
    else:
        assert "return_url" in refused(confirm, intent.id)["message"]


def test_a_paid_intent_is_not_confirmed_changed_or_canceled(
    client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    intents = client.v1.payment_intents

    again = refused(intents.confirm, paid.id, {"off_session": True})
    changed = refused(intents.update, paid.id, {"amount": 9900})
    canceled = refused(intents.cancel, paid.id)

    codes = {problem["code"] for problem in (again, changed, canceled)}
    assert codes == {"payment_intent_unexpected_state"}
    assert tries(client, paid) == ["succeeded"]


def test_an_intent_is_changed_until_it_is_paid_and_its_metadata_after_that(
    client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    client.v1.payment_intents.update(intent.id, {"amount": 4400, "metadata": {"note": "x"}})
    paid = client.v1.payment_intents.confirm(intent.id)
    told = client.v1.payment_intents.update(intent.id, {"metadata": {"note": "", "later": "y"}})

    assert paid.amount_received == 4400
    assert told.metadata.to_dict() == {"charge_id": "0192", "later": "y"}


def test_a_canceled_intent_cannot_be_paid(
    client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    canceled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    problem = refused(client.v1.payment_intents.confirm, intent.id)
    assert problem["code"] == "payment_intent_unexpected_state"


def test_an_intent_without_a_card_cannot_be_paid(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    wish: Any = {
        "amount": 2900,
        "currency": "usd",
        "customer": customer.id,
        "automatic_payment_methods": CARDS_ONLY,
    }
    intent = client.v1.payment_intents.create(wish)

    assert intent.status == "requires_payment_method"
    problem = refused(client.v1.payment_intents.confirm, intent.id)
    assert "missing a payment method" in problem["message"]


def test_another_customers_card_is_refused(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    stranger = client.v1.customers.create()

    refused(unconfirmed, client, stranger, default_card(customer))


def test_a_payment_is_told_in_an_event(
    client: stripe.StripeClient, paid: stripe.PaymentIntent
) -> None:
    def told() -> list[str]:
        events = client.v1.events.list({"type": "payment_intent.succeeded", "limit": 100}).data
        return [event.id for event in events if event.data.object["id"] == paid.id]

    assert len(eventually(told)) == 1
