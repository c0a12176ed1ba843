from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from tests.sandbox.conftest import default_card
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    invoices,
    subscribe,
    told,
    use_card,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs years ahead."""
    with running_sandbox(tmp_path_factory.mktemp("incomplete")) as one:
        yield one


@pytest.mark.parametrize("behavior", ["allow_incomplete", "default_incomplete"])
def test_without_a_first_payment_a_subscription_is_incomplete_and_expires(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    behavior: str,
) -> None:
    use_card(client, customer, DECLINES)
    made = subscribe(client, customer, payment_behavior=behavior)
    (invoice,) = invoices(client, made)
    assert (made.status, invoice.status) == ("incomplete", "open")

    sandbox.advance(22 * HOUR)
    early = client.v1.subscriptions.retrieve(made.id).status
    sandbox.advance(HOUR)

    late = client.v1.subscriptions.retrieve(made.id)
    assert (early, late.status) == ("incomplete", "incomplete_expired")
    assert late.ended_at == made.created + 23 * HOUR
    assert [one.status for one in invoices(client, made)] == ["void"]
    assert sandbox.payments(customer=customer.id, status="succeeded") == []


def test_paying_the_first_invoice_late_starts_the_subscription(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer, payment_behavior="default_incomplete")

    client.v1.invoices.pay(str(made.latest_invoice))

    assert client.v1.subscriptions.retrieve(made.id).status == "active"
    assert told(client, made)[-1] == "customer.subscription.updated"


@pytest.mark.parametrize(
    ("card", "off_session", "code"),
    [
        (DECLINES, True, "card_declined"),
        ("pm_card_authenticationRequired", True, "authentication_required"),
        ("pm_card_authenticationRequired", False, "invoice_payment_intent_requires_action"),
    ],
)
def test_a_first_invoice_that_is_not_paid_leaves_the_subscription_incomplete(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str,
    off_session: bool,
    code: str,
) -> None:
    use_card(client, customer, card)
    made = subscribe(client, customer, payment_behavior="default_incomplete", off_session=True)

    with pytest.raises(stripe.CardError) as refused:
        client.v1.invoices.pay(str(made.latest_invoice), {"off_session": off_session})

    assert (refused.value.http_status, refused.value.code) == (402, code)
    assert client.v1.subscriptions.retrieve(made.id).status == "incomplete"
    assert [invoice.status for invoice in invoices(client, made)] == ["open"]
    assert sandbox.payments(customer=customer.id, status="succeeded") == []


@pytest.mark.parametrize("card", ["pm_card_visa", DECLINES, "pm_card_authenticationRequired"])
def test_canceled_while_incomplete_it_is_over_and_never_paid(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer, card: str
) -> None:
    good = default_card(customer)
    use_card(client, customer, card)
    made = subscribe(
        client,
        customer,
        payment_behavior="default_incomplete" if card == "pm_card_visa" else "allow_incomplete",
    )
    (payment,) = client.v1.invoice_payments.list({"invoice": str(made.latest_invoice)}).data

    ended = client.v1.subscriptions.cancel(
        made.id, {"cancellation_details": {"comment": "another plan"}}
    )
    use_card(client, customer, "pm_card_visa")
    sandbox.advance(60 * DAY)

    assert (made.status, ended.status) == ("incomplete", "incomplete_expired")
    assert ended.canceled_at == ended.ended_at is not None
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.to_dict() == {
        "comment": "another plan",
        "feedback": None,
        "reason": "cancellation_requested",
    }
    assert [invoice.status for invoice in invoices(client, made)] == ["void"]
    assert told(client, made)[1:] == ["customer.subscription.updated"]
    with pytest.raises(stripe.InvalidRequestError, match="isn't open"):
        client.v1.invoices.pay(str(made.latest_invoice))
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        client.v1.payment_intents.confirm(
            str(payment.payment.payment_intent), {"payment_method": good}
        )
    assert sandbox.payments(customer=customer.id, status="succeeded") == []


def test_canceled_while_its_first_payment_is_on_its_way_it_is_not_renewed(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    use_card(client, customer, "pm_card_sandbox_processing")
    made = subscribe(client, customer)

    ended = client.v1.subscriptions.cancel(made.id)
    sandbox.advance(60 * DAY)

    assert (made.status, ended.status) == ("incomplete", "canceled")
    assert client.v1.subscriptions.retrieve(made.id).status == "canceled"
    assert [invoice.status for invoice in invoices(client, made)] == ["paid"]
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 1


def test_confirming_the_first_intent_starts_the_subscription(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer, payment_behavior="default_incomplete")
    (payment,) = client.v1.invoice_payments.list({"invoice": str(made.latest_invoice)}).data

    client.v1.payment_intents.confirm(
        str(payment.payment.payment_intent), {"payment_method": default_card(customer)}
    )

    assert client.v1.subscriptions.retrieve(made.id).status == "active"
    assert [one.status for one in invoices(client, made)] == ["paid"]
    assert len(sandbox.payments(customer=customer.id)) == 1
