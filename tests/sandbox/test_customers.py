"""Customers: who is deleted can still be looked at, and nothing more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import stripe


@pytest.fixture
def deleted(client: stripe.StripeClient) -> str:
    """A customer with a card, who has paid 10 dollars."""
    customer = client.v1.customers.create({"name": "Ada", "email": "ada@example.com"}).id
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    client.v1.payment_intents.create(
        {
            "amount": 1000,
            "currency": "usd",
            "customer": customer,
            "payment_method": card,
            "off_session": True,
            "confirm": True,
        }
    )
    assert client.v1.customers.delete(customer).deleted
    return customer


def test_a_deleted_customer_is_a_stub(client: stripe.StripeClient, deleted: str) -> None:
    found = client.v1.customers.retrieve(deleted)

    assert found.to_dict() == {"id": deleted, "object": "customer", "deleted": True}
    assert deleted not in [each.id for each in client.v1.customers.list().auto_paging_iter()]


def test_what_they_paid_stays_and_can_be_refunded(
    client: stripe.StripeClient, deleted: str
) -> None:
    (charge,) = client.v1.charges.list({"customer": deleted}).data

    back = client.v1.refunds.create({"charge": charge.id})

    assert (charge.customer, charge.amount) == (deleted, 1000)
    assert back.status == "succeeded"


def test_their_cards_are_gone(client: stripe.StripeClient, deleted: str) -> None:
    (charge,) = client.v1.charges.list({"customer": deleted}).data
    assert charge.payment_method is not None

    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        client.v1.payment_intents.create(
            {
                "amount": 1000,
                "currency": "usd",
                "payment_method": charge.payment_method,
                "confirm": True,
                "return_url": "https://example.com",
            }
        )


def test_nothing_can_be_done_with_them(client: stripe.StripeClient, deleted: str) -> None:
    tries: list[Callable[[], object]] = [
        lambda: client.v1.customers.update(deleted, {"name": "Ada"}),
        lambda: client.v1.customers.delete(deleted),
        lambda: client.v1.payment_methods.attach("pm_card_visa", {"customer": deleted}),
        lambda: client.v1.payment_intents.create(
            {"amount": 1000, "currency": "usd", "customer": deleted}
        ),
    ]

    for attempt in tries:
        with pytest.raises(stripe.InvalidRequestError) as refused:
            attempt()
        assert refused.value.code == "resource_missing"


def test_the_event_tells_who_it_was(client: stripe.StripeClient, deleted: str) -> None:
    (event, *_) = client.v1.events.list({"type": "customer.deleted"}).data

    assert event.data.object["email"] == "ada@example.com"


def test_a_customer_with_a_subscription_is_more_than_the_sandbox_deletes(
    client: stripe.StripeClient,
) -> None:
    customer = client.v1.customers.create().id
    price = client.v1.prices.create(
        {
            "unit_amount": 100,
            "currency": "usd",
            "recurring": {"interval": "month"},
            "product_data": {"name": "a month"},
        }
    ).id
    client.v1.subscriptions.create(
        {
            "customer": customer,
            "items": [{"price": price}],
            "payment_behavior": "default_incomplete",
        }
    )

    with pytest.raises(stripe.InvalidRequestError, match="with a subscription"):
        client.v1.customers.delete(customer)
