from __future__ import annotations

import stripe

from tests.sandbox.subscribers import monthly_price, period, subscribe


def test_a_subscription_begins_with_a_paid_invoice_and_ends_when_canceled(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)

    invoice = client.v1.invoices.retrieve(str(made.latest_invoice))
    shown = client.v1.invoices.retrieve(invoice.id, {"expand": ["payments"]})
    ended = client.v1.subscriptions.cancel(made.id)

    assert (made.status, ended.status) == ("active", "canceled")
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert (invoice.amount_paid, invoice.currency) == (59900, "usd")
    assert "payments" not in invoice
    assert shown.payments is not None
    assert [payment.status for payment in shown.payments.data] == ["paid"]


def test_canceled_before_its_first_invoice_was_paid_it_is_expired_and_the_invoice_void(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer, payment_behavior="default_incomplete")

    ended = client.v1.subscriptions.cancel(made.id)

    assert (made.status, ended.status) == ("incomplete", "incomplete_expired")
    assert ended.canceled_at is not None
    assert client.v1.invoices.retrieve(str(made.latest_invoice)).status == "void"


def test_another_price_without_prorations_leaves_the_period_and_makes_no_invoice(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    (item,) = made["items"].data
    new = monthly_price(client, unit_amount=79900).id

    moved = client.v1.subscriptions.update(
        made.id, {"items": [{"id": item.id, "price": new}], "proration_behavior": "none"}
    )

    (after,) = moved["items"].data
    assert (after.id, after.price.id, period(moved)) == (item.id, new, period(made))
    assert moved.latest_invoice == made.latest_invoice
