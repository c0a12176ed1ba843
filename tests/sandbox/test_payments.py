from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import default_card, unconfirmed
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
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "expand": ["latest_charge", "customer"],
        }
    )

    assert (paid.status, paid.currency) == ("succeeded", "eur")
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert isinstance(paid.customer, stripe.Customer)


def test_a_payment_that_might_redirect_needs_a_return_url(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = client.v1.payment_intents.create(
        {
            "amount": 2900,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": default_card(customer),
            "automatic_payment_methods": {"enabled": True},
        }
    )

    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        client.v1.payment_intents.confirm(intent.id)


def test_a_succeeded_intent_cannot_be_confirmed_changed_or_canceled(
    sandbox: RunningSandbox, client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    client.v1.payment_intents.confirm(intent.id, {"off_session": True})

    with pytest.raises(stripe.InvalidRequestError) as again:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    with pytest.raises(stripe.InvalidRequestError) as changed:
        client.v1.payment_intents.update(intent.id, {"amount": 9900})
    with pytest.raises(stripe.InvalidRequestError) as canceled:
        client.v1.payment_intents.cancel(intent.id)

    codes = {problem.value.code for problem in (again, changed, canceled)}
    assert codes == {"payment_intent_unexpected_state"}
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


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
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        client.v1.payment_intents.confirm(intent.id)


def test_an_intent_without_a_card_cannot_be_paid(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    intent = client.v1.payment_intents.create(
        {"amount": 2900, "currency": "usd", "customer": customer.id}
    )

    assert intent.status == "requires_payment_method"
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        client.v1.payment_intents.confirm(intent.id)


def test_another_customers_card_is_refused(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    stranger = client.v1.customers.create()

    with pytest.raises(stripe.InvalidRequestError, match="belongs to another Customer"):
        unconfirmed(client, stranger, default_card(customer))


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


def test_a_customer_changes_and_is_found_by_email(client: stripe.StripeClient) -> None:
    made = client.v1.customers.create({"email": "only@example.com", "name": "A"})

    client.v1.customers.update(made.id, {"name": "B", "metadata": {"fixbill": "c1"}})

    (found,) = client.v1.customers.list({"email": "only@example.com"}).data
    assert (found.id, found.name) == (made.id, "B")
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"fixbill": "c1"}
    assert (found.object, found.livemode) == ("customer", False)
