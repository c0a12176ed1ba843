from __future__ import annotations

import pytest
import stripe

from tests.sandbox.conftest import error_body, unconfirmed
from tests.sandbox.sandbox_process import RunningSandbox

ATTACHES_THEN_DECLINES = [
    ("pm_card_chargeCustomerFail", "card_declined", "generic_decline", "try_again_later"),
    ("pm_card_visa_chargeCustomerFailLostCard", "card_declined", "lost_card", "do_not_try_again"),
    (
        "pm_card_visa_chargeCustomerFailStolenCard",
        "card_declined",
        "stolen_card",
        "do_not_try_again",
    ),
    (
        "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
        "try_again_later",
    ),
    (
        "pm_card_sandbox_chargeCustomerFailInsufficientFunds",
        "card_declined",
        "insufficient_funds",
        "try_again_later",
    ),
    (
        "pm_card_sandbox_chargeCustomerFailExpiredCard",
        "expired_card",
        "expired_card",
        "do_not_try_again",
    ),
    (
        "pm_card_sandbox_chargeCustomerFailIncorrectCvc",
        "incorrect_cvc",
        "incorrect_cvc",
        "confirm_card_data",
    ),
    (
        "pm_card_sandbox_chargeCustomerFailProcessingError",
        "processing_error",
        "processing_error",
        "try_again_later",
    ),
    (
        "pm_card_authenticationRequired",
        "authentication_required",
        "authentication_required",
        None,
    ),
]


@pytest.mark.parametrize(("card", "code", "decline_code", "advice_code"), ATTACHES_THEN_DECLINES)
def test_a_customers_card_declines_off_session(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str,
    code: str,
    decline_code: str,
    advice_code: str | None,
) -> None:
    attached = client.v1.payment_methods.attach(card, {"customer": customer.id})
    intent = unconfirmed(client, customer, attached.id)

    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})

    assert (declined.value.http_status, declined.value.code) == (402, code)
    told = error_body(declined.value)
    assert (told["type"], told["decline_code"]) == ("card_error", decline_code)
    assert told.get("advice_code") == advice_code
    (charge,) = client.v1.charges.list({"payment_intent": intent.id}).data
    assert (charge.status, charge.failure_code, charge.id) == ("failed", code, told["charge"])
    (row,) = sandbox.payments(payment_intent=intent.id)
    assert row["status"] == "failed"


def test_a_card_set_up_for_later_needs_the_customer_only_on_session(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    card = client.v1.payment_methods.attach(
        "pm_card_authenticationRequiredSetupForOffSession", {"customer": customer.id}
    )

    off = client.v1.payment_intents.confirm(
        unconfirmed(client, customer, card.id).id, {"off_session": True}
    )
    on = client.v1.payment_intents.confirm(unconfirmed(client, customer, card.id).id)

    assert (off.status, on.status) == ("succeeded", "requires_action")


def test_a_customer_cannot_be_made_with_a_declining_card(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.CardError):
        client.v1.customers.create(
            {"email": "never@example.com", "payment_method": "pm_card_visa_chargeDeclined"}
        )

    assert client.v1.customers.list({"email": "never@example.com"}).data == []
