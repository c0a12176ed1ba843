from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conformance.conftest import BACK, refused
from tests.sandbox.conftest import CARDS_ONLY, error_body


def test_a_card_that_was_set_up_belongs_to_the_customer(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    done = client.v1.setup_intents.create(
        {
            "customer": customer.id,
            "payment_method": "pm_card_mastercard",
            "usage": "off_session",
            "confirm": True,
            "automatic_payment_methods": CARDS_ONLY,
            "metadata": {"plan": "team"},
        }
    )

    found = client.v1.setup_intents.retrieve(done.id, {"expand": ["payment_method"]})
    assert (found.status, found.usage) == ("succeeded", "off_session")
    assert isinstance(found.payment_method, stripe.PaymentMethod)
    assert found.payment_method.customer == customer.id
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"plan": "team"}
    listed = client.v1.setup_intents.list({"customer": customer.id}).data
    assert [intent.id for intent in listed] == [done.id]
    owned = client.v1.customers.payment_methods.list(customer.id).data
    assert found.payment_method.id in [card.id for card in owned]


def test_a_declining_card_is_not_put_in_place(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = client.v1.setup_intents.create(
        {"customer": customer.id, "automatic_payment_methods": CARDS_ONLY}
    )

    with pytest.raises(stripe.CardError) as declined:
        client.v1.setup_intents.confirm(
            intent.id, {"payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds"}
        )

    assert error_body(declined.value)["setup_intent"]["id"] == intent.id
    after = client.v1.setup_intents.retrieve(intent.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    assert after.last_setup_error is not None
    assert after.last_setup_error.decline_code == "insufficient_funds"


def test_a_canceled_setup_takes_no_card(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = client.v1.setup_intents.create(
        {"customer": customer.id, "automatic_payment_methods": CARDS_ONLY}
    )

    canceled = client.v1.setup_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    card = {"payment_method": "pm_card_visa"}
    problem = refused(client.v1.setup_intents.confirm, intent.id, card)
    assert problem["code"] == "setup_intent_unexpected_state"


def test_a_setup_session_waits_for_its_customer_until_it_expires(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    session = client.v1.checkout.sessions.create(
        {
            "mode": "setup",
            "currency": "usd",
            "customer": customer.id,
            "client_reference_id": "c1",
            "success_url": f"{BACK}?session={{CHECKOUT_SESSION_ID}}",
            "cancel_url": BACK,
            "setup_intent_data": {"metadata": {"consent": "v3"}},
            "custom_text": {"submit": {"message": "At most $500.00 a month."}},
            "expand": ["setup_intent"],
        }
    )

    assert (session.status, session.mode, session.customer) == ("open", "setup", customer.id)
    assert session.url is not None
    assert 0 < session.expires_at - session.created <= 24 * 3600 + 60
    assert isinstance(session.setup_intent, stripe.SetupIntent)
    assert session.setup_intent.metadata is not None
    assert session.setup_intent.metadata.to_dict() == {"consent": "v3"}
    expired = client.v1.checkout.sessions.expire(session.id)
    assert (expired.status, expired.url) == ("expired", None)
    refused(client.v1.checkout.sessions.expire, session.id)
