from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import default_card
from tests.sandbox.sandbox_process import RunningSandbox


def test_a_customer_pays_off_session_and_the_truth_has_one_payment(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    assert intent.status == "requires_confirmation"

    paid = client.v1.payment_intents.confirm(intent.id, {"off_session": True})

    assert (paid.status, paid.amount_received, paid.livemode) == ("succeeded", 2900, False)
    charge = client.v1.charges.retrieve(str(paid.latest_charge))
    assert (charge.status, charge.paid, charge.payment_intent) == ("succeeded", True, intent.id)
    assert charge.metadata.to_dict() == {"charge_id": "0192"}
    (row,) = sandbox.payments(payment_intent=intent.id)
    assert (row["status"], row["amount"], row["currency"]) == ("succeeded", 2900, "usd")
    assert (row["charge"], row["metadata"]) == (charge.id, {"charge_id": "0192"})


def test_a_detached_card_is_no_ones_default_and_is_never_used_again(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = default_card(customer)

    client.v1.payment_methods.detach(card)

    kept = client.v1.customers.retrieve(customer.id)
    assert kept.invoice_settings is not None
    assert kept.invoice_settings.default_payment_method is None
    assert client.v1.customers.payment_methods.list(customer.id).data == []
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        client.v1.payment_methods.attach(card, {"customer": customer.id})


@pytest.mark.parametrize(
    ("card", "brand", "last4"),
    [
        ({"token": "tok_mastercard"}, "mastercard", "4444"),
        ({"number": "4242424242424242", "exp_month": 12, "exp_year": 2040}, "visa", "4242"),
    ],
)
def test_a_card_is_made_from_a_token_or_a_test_number(
    client: stripe.StripeClient, card: Any, brand: str, last4: str
) -> None:
    method = client.v1.payment_methods.create({"type": "card", "card": card})

    assert method.card is not None
    assert (method.card.brand, method.card.last4, method.customer) == (brand, last4, None)


@pytest.mark.parametrize(
    ("number", "year", "code"),
    [
        ("4242424242424241", 2040, "incorrect_number"),
        ("4242424242424242", 2001, "invalid_expiry_year"),
        ("4111111111111111", 2040, "card_declined"),
    ],
)
def test_a_number_that_is_no_test_card_is_refused(
    client: stripe.StripeClient, number: str, year: int, code: str
) -> None:
    with pytest.raises(stripe.CardError) as refused:
        client.v1.payment_methods.create(
            {"type": "card", "card": {"number": number, "exp_month": 1, "exp_year": year}}
        )

    assert refused.value.code == code
