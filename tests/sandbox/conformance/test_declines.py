from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conformance.conftest import BACK, tries
from tests.sandbox.conftest import CARDS_ONLY, default_card, error_body, unconfirmed


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeCustomerFailLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeCustomerFailStolenCard", "card_declined", "stolen_card"),
    ],
)
def test_a_customers_card_is_declined_and_another_one_pays(
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str,
    code: str,
    decline_code: str,
) -> None:
    bad = client.v1.payment_methods.attach(card, {"customer": customer.id})
    intent = unconfirmed(client, customer, bad.id)

    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})

    told = error_body(declined.value)
    assert (declined.value.http_status, told["type"]) == (402, "card_error")
    assert (told["code"], told["decline_code"]) == (code, decline_code)
    after = client.v1.payment_intents.retrieve(intent.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    assert (told["payment_intent"]["id"], told["charge"]) == (intent.id, after.latest_charge)
    assert after.last_payment_error is not None
    assert after.last_payment_error.decline_code == decline_code
    paid = client.v1.payment_intents.confirm(
        intent.id, {"off_session": True, "payment_method": default_card(customer)}
    )
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert tries(client, paid) == ["succeeded", "failed"]


def test_a_generic_decline_advises_to_try_again_later(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    bad = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})

    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(
            unconfirmed(client, customer, bad.id).id, {"off_session": True}
        )

    assert error_body(declined.value)["advice_code"] == "try_again_later"


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
def test_a_declining_card_can_be_neither_attached_nor_charged(
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str,
    code: str,
    decline_code: str | None,
) -> None:
    with pytest.raises(stripe.CardError) as at_attach:
        client.v1.payment_methods.attach(card, {"customer": customer.id})
    with pytest.raises(stripe.CardError) as at_confirm:
        client.v1.payment_intents.create(
            {
                "amount": 2900,
                "currency": "usd",
                "payment_method": card,
                "confirm": True,
                "automatic_payment_methods": CARDS_ONLY,
            }
        )

    for problem in (at_attach, at_confirm):
        assert problem.value.code == code
        assert decline_code in (None, error_body(problem.value)["decline_code"])


def test_a_bank_that_wants_the_customer_declines_off_session_and_asks_on_session(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequired", {"customer": customer.id}
    )
    intent = unconfirmed(client, customer, card.id)

    with pytest.raises(stripe.CardError) as needed:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    alone = client.v1.payment_intents.retrieve(intent.id)
    asked = client.v1.payment_intents.confirm(
        intent.id, {"payment_method": card.id, "return_url": BACK}
    )

    assert (needed.value.http_status, needed.value.code) == (402, "authentication_required")
    assert alone.status == "requires_payment_method"
    assert asked.status == "requires_action"
    assert asked.next_action is not None
    assert asked.next_action.redirect_to_url is not None
    assert asked.next_action.redirect_to_url.return_url == BACK
    assert client.v1.payment_intents.cancel(intent.id).status == "canceled"
