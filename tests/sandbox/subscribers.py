"""Builders for subscriptions, and what the sandbox told of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import stripe

from tests.sandbox.sandbox_process import RunningSandbox

DECLINES = "pm_card_chargeCustomerFail"


def monthly_price(client: stripe.StripeClient, **more: Any) -> stripe.Price:
    """599 dollars a month, or as told."""
    params: Any = {
        "currency": "usd",
        "unit_amount": 59900,
        "recurring": {"interval": "month"},
        "product_data": {"name": "Pro"},
        **more,
    }
    return client.v1.prices.create(params)


def subscriber(client: stripe.StripeClient, card: str = "pm_card_visa") -> stripe.Customer:
    """A new customer whose default card is this test card."""
    customer = client.v1.customers.create()
    use_card(client, customer, card)
    return customer


def subscribe(
    client: stripe.StripeClient, customer: stripe.Customer, **more: Any
) -> stripe.Subscription:
    """A subscription to 599 dollars a month."""
    price = more.pop("price", None) or monthly_price(client).id
    params: Any = {"customer": customer.id, "items": [{"price": price}], **more}
    return client.v1.subscriptions.create(params)


def use_card(
    client: stripe.StripeClient, customer: stripe.Customer, card: str
) -> stripe.PaymentMethod:
    """Make a test card the customer's default."""
    method = client.v1.payment_methods.attach(card, {"customer": customer.id})
    client.v1.customers.update(
        customer.id, {"invoice_settings": {"default_payment_method": method.id}}
    )
    return method


def advance_to(sandbox: RunningSandbox, moment: int) -> None:
    """Let time pass until the moment."""
    sandbox.advance(max(0, moment - sandbox.now()))


def period(subscription: stripe.Subscription) -> tuple[int, int]:
    """The current period, which is the item's."""
    (item,) = subscription["items"].data
    return item.current_period_start, item.current_period_end


def invoices(
    client: stripe.StripeClient, subscription: stripe.Subscription
) -> list[stripe.Invoice]:
    """All invoices of a subscription, oldest first."""
    found = client.v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
    return found[::-1]


def told(client: stripe.StripeClient, thing: stripe.Subscription | stripe.Invoice) -> list[str]:
    """The types of the events about an object, oldest first."""
    found = events_since(client, thing.created)
    return [str(event.type) for event in found if event.data.object["id"] == thing.id][::-1]


def events_since(client: stripe.StripeClient, moment: int) -> list[stripe.Event]:
    """What happened since, newest first; not before, for the clock of these tests runs far."""
    page = client.v1.events.list({"created": {"gte": moment}, "limit": 100})
    return list(page.auto_paging_iter())


def day(moment: int) -> str:
    """The date, such as 2027-01-31."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
