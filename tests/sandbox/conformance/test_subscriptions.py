from __future__ import annotations

import stripe

from tests.sandbox.subscribers import subscribe


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
