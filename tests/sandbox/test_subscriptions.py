from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import default_card
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    advance_to,
    invoices,
    monthly_price,
    period,
    subscribe,
    told,
    use_card,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs years ahead."""
    with running_sandbox(tmp_path_factory.mktemp("subscriptions")) as one:
        yield one


def test_a_subscription_is_active_once_its_first_invoice_is_paid(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer, metadata={"plan": "pro"}, expand=["latest_invoice"])

    assert (made.status, made.metadata.to_dict()) == ("active", {"plan": "pro"})
    (item,) = made["items"].data
    assert (item.price.unit_amount, item.quantity, item.current_period_start) == (
        59900,
        1,
        made.created,
    )
    invoice = made.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    (row,) = sandbox.payments(customer=customer.id)
    assert (row["amount"], row["status"]) == (59900, "succeeded")
    assert told(client, made) == ["customer.subscription.created"]


def test_nothing_is_made_when_an_incomplete_subscription_is_an_error(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    use_card(client, customer, DECLINES)

    with pytest.raises(stripe.CardError) as declined:
        subscribe(client, customer, payment_behavior="error_if_incomplete")

    assert (declined.value.http_status, declined.value.code) == (402, "card_declined")
    assert client.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert client.v1.invoices.list({"customer": customer.id}).data == []


@pytest.mark.parametrize(
    ("off_session", "code"),
    [
        (False, "subscription_payment_intent_requires_action"),
        (True, "authentication_required"),
    ],
)
def test_a_card_that_wants_the_customer_is_an_error_too(
    client: stripe.StripeClient, customer: stripe.Customer, off_session: bool, code: str
) -> None:
    use_card(client, customer, "pm_card_authenticationRequired")

    with pytest.raises(stripe.CardError) as refused:
        subscribe(client, customer, off_session=off_session, payment_behavior="error_if_incomplete")

    assert refused.value.code == code


def test_a_customer_without_a_card_cannot_subscribe(client: stripe.StripeClient) -> None:
    stranger = client.v1.customers.create()

    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source") as refused:
        subscribe(client, stranger)

    assert refused.value.code == "resource_missing"


def test_canceled_at_period_end_it_ends_unrenewed(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    _, end = period(made)

    asked = client.v1.subscriptions.update(
        made.id,
        {"cancel_at_period_end": True, "cancellation_details": {"comment": "too dear"}},
    )
    advance_to(sandbox, end + HOUR)

    ended = client.v1.subscriptions.retrieve(made.id)
    assert (asked.status, asked.cancel_at) == ("active", end)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "cancellation_requested"
    assert ended.cancellation_details.comment == "too dear"
    assert len(invoices(client, made)) == 1
    assert told(client, made)[-1] == "customer.subscription.deleted"


def test_a_cancellation_taken_back_renews(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer, cancel_at_period_end=True)

    kept = client.v1.subscriptions.update(made.id, {"cancel_at_period_end": False})
    advance_to(sandbox, period(made)[1] + HOUR)

    assert (kept.cancel_at, kept.canceled_at) == (None, None)
    assert [invoice.status for invoice in invoices(client, made)] == ["paid", "paid"]


def test_canceled_now_it_ends_now_and_its_open_invoice_is_left_alone(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    use_card(client, customer, DECLINES)
    advance_to(sandbox, period(made)[1] + HOUR)

    ended = client.v1.subscriptions.cancel(made.id)
    sandbox.advance(60 * DAY)

    unpaid = invoices(client, made)[-1]
    assert (ended.status, ended.ended_at) == ("canceled", ended.canceled_at)
    assert (unpaid.status, unpaid.attempt_count, unpaid.auto_advance) == ("open", 1, False)
    assert len(invoices(client, made)) == 2
    with pytest.raises(stripe.InvalidRequestError) as gone:
        client.v1.subscriptions.cancel(made.id)
    assert gone.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription can only update"):
        client.v1.subscriptions.update(made.id, {"cancel_at_period_end": True})


def test_the_subscriptions_own_card_comes_before_the_customers(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    own = client.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})
    made = subscribe(client, customer, default_payment_method=own.id)
    client.v1.payment_methods.detach(own.id)

    advance_to(sandbox, period(made)[1] + HOUR)

    charges = client.v1.charges.list({"customer": customer.id}).data
    assert [charge.payment_method for charge in charges] == [default_card(customer), own.id]


def test_subscriptions_are_listed_by_customer_price_and_status(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    price = monthly_price(client)
    one, other = subscribe(client, customer, price=price.id), subscribe(client, customer)
    client.v1.subscriptions.cancel(other.id)

    def listed(more: dict[str, str]) -> list[str]:
        params: Any = {"customer": customer.id, **more}
        return [subscription.id for subscription in client.v1.subscriptions.list(params).data]

    assert listed({}) == [one.id]
    assert listed({"status": "all"}) == [other.id, one.id]
    assert listed({"status": "ended"}) == listed({"status": "canceled"}) == [other.id]
    assert listed({"status": "all", "price": price.id}) == [one.id]
    with pytest.raises(stripe.InvalidRequestError, match="must be one of"):
        listed({"status": "asleep"})


def test_all_subscriptions_of_a_customer_are_walked_with_their_metadata(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    price = monthly_price(client).id
    made = [
        subscribe(client, customer, price=price, metadata={"version": str(number)})
        for number in range(5)
    ]
    client.v1.subscriptions.cancel(made[2].id)

    pages = client.v1.subscriptions.list({"customer": customer.id, "status": "all", "limit": 2})

    found = [(one.id, one.metadata["version"]) for one in pages.auto_paging_iter()]
    assert found == [(one.id, str(number)) for number, one in enumerate(made)][::-1]


def test_the_same_key_subscribes_once(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    params: Any = {"customer": customer.id, "items": [{"price": monthly_price(client).id}]}

    twice = [
        client.v1.subscriptions.create(params, {"idempotency_key": f"subscribe-{customer.id}"}).id
        for _ in range(2)
    ]

    assert twice[0] == twice[1]
    assert len(sandbox.payments(customer=customer.id)) == 1


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"items": []}, "parameter_missing", "items"),
        ({"items": [{"price": "price_0"}]}, "resource_missing", "items[0][price]"),
        ({"trial_period_days": 7}, "sandbox_unsupported", "trial_period_days"),
        ({"payment_behavior": "pending_if_incomplete"}, None, "payment_behavior"),
        ({"default_payment_method": "pm_card_visa"}, "resource_missing", "default_payment_method"),
    ],
)
def test_a_wrong_subscription_is_refused_by_name(
    client: stripe.StripeClient,
    customer: stripe.Customer,
    params: Any,
    code: str | None,
    param: str,
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        subscribe(client, customer, **params)

    assert (refused.value.code, refused.value.param) == (code, param)
