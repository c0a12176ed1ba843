from __future__ import annotations

from collections.abc import Iterator

import pytest
import stripe

from tests.sandbox.browser import submit
from tests.sandbox.conftest import default_card, error_body
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    advance_to,
    invoices,
    period,
    subscribe,
    told,
    use_card,
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs years ahead."""
    with running_sandbox(tmp_path_factory.mktemp("invoices")) as one:
        yield one


def renewed(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str = DECLINES,
) -> tuple[stripe.Subscription, stripe.Invoice]:
    """A subscription a month on, whose renewal was just charged to this card."""
    made = subscribe(client, customer)
    use_card(client, customer, card)
    advance_to(sandbox, period(made)[1] + HOUR)
    subscription = client.v1.subscriptions.retrieve(made.id)
    return subscription, client.v1.invoices.retrieve(str(subscription.latest_invoice))


def test_an_invoice_names_its_subscription_its_price_and_its_payment(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)

    invoice = client.v1.invoices.retrieve(
        str(made.latest_invoice), {"expand": ["payments.data.payment.payment_intent"]}
    )

    assert (invoice.total, invoice.amount_paid, invoice.amount_remaining) == (59900, 59900, 0)
    assert invoice.number == f"{customer.id[-8:].upper()}-0001"
    assert invoice.parent is not None
    assert invoice.parent.subscription_details is not None
    assert invoice.parent.subscription_details.subscription == made.id
    (line,) = invoice.lines.data
    assert (line.amount, line.period.start, line.period.end) == (59900, *period(made))
    assert line.pricing is not None
    assert line.pricing.price_details is not None
    assert line.pricing.price_details.price == made["items"].data[0].price.id
    assert invoice.payments is not None
    (payment,) = invoice.payments.data
    intent = payment.payment.payment_intent
    assert isinstance(intent, stripe.PaymentIntent)
    assert (payment.status, payment.amount_paid, intent.status) == ("paid", 59900, "succeeded")
    assert len(sandbox.payments(payment_intent=intent.id)) == 1


def test_an_invoice_is_found_by_its_payment_intent_and_the_reverse(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    subscribe(client, customer)

    (by_invoice,) = client.v1.invoice_payments.list({"invoice": str(made.latest_invoice)}).data
    intent = str(by_invoice.payment.payment_intent)
    (by_intent,) = client.v1.invoice_payments.list(
        {"payment": {"type": "payment_intent", "payment_intent": intent}}
    ).data

    assert by_intent.id == by_invoice.id
    assert client.v1.invoice_payments.retrieve(by_intent.id).invoice == made.latest_invoice


def test_a_renewal_is_told_from_draft_to_paid(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    _, invoice = renewed(sandbox, client, customer, "pm_card_visa")

    assert told(client, invoice) == [
        "invoice.created",
        "invoice.finalized",
        "invoice.updated",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_a_declined_renewal_is_past_due_and_tried_again_until_the_subscription_ends(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    first_try = invoice.created + HOUR
    assert (subscription.status, invoice.status, invoice.attempt_count) == ("past_due", "open", 1)
    assert invoice.next_payment_attempt == first_try + 3 * DAY
    assert told(client, invoice)[-1] == "invoice.payment_failed"

    sandbox.advance(40 * DAY)

    ended = client.v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", first_try + (3 + 5 + 7) * DAY)
    assert ended.cancellation_details is not None
    assert ended.cancellation_details.reason == "payment_failed"
    left = client.v1.invoices.retrieve(invoice.id)
    assert (left.status, left.attempt_count, left.next_payment_attempt) == ("open", 4, None)
    failed = sandbox.payments(customer=customer.id, status="failed")
    assert [row["created"] - first_try for row in failed] == [0, 3 * DAY, 8 * DAY, 15 * DAY]
    assert len(invoices(client, subscription)) == 2


def test_with_another_card_the_next_try_succeeds(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    use_card(client, customer, "pm_card_mastercard")

    sandbox.advance(3 * DAY)

    paid = client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.attempt_count) == ("paid", 2)
    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
    statuses = [row["status"] for row in sandbox.payments(customer=customer.id)]
    assert statuses == ["succeeded", "failed", "succeeded"]


@pytest.mark.parametrize(
    ("card", "asked"),
    [
        ("pm_card_visa_chargeCustomerFailLostCard", 1),
        ("pm_card_authenticationRequired", 1),
        ("pm_card_sandbox_chargeCustomerFailInsufficientFunds", 4),
    ],
)
def test_a_card_that_never_will_pay_is_counted_but_not_asked_again(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    card: str,
    asked: int,
) -> None:
    _, invoice = renewed(sandbox, client, customer, card)

    sandbox.advance(15 * DAY)

    assert client.v1.invoices.retrieve(invoice.id).attempt_count == 4
    assert len(sandbox.payments(customer=customer.id, status="failed")) == asked


def test_a_renewal_without_any_card_fails_without_a_charge(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    client.v1.payment_methods.detach(default_card(customer))

    advance_to(sandbox, period(made)[1] + HOUR)

    assert client.v1.subscriptions.retrieve(made.id).status == "past_due"
    assert len(sandbox.payments(customer=customer.id)) == 1
    (unpaid,) = client.v1.invoices.list({"customer": customer.id, "status": "open"}).data
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        client.v1.invoices.pay(unpaid.id)


def test_paying_the_open_invoice_by_hand_makes_the_subscription_active_again(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    good = client.v1.payment_methods.attach("pm_card_mastercard", {"customer": customer.id})

    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice.id)
    still = client.v1.invoices.retrieve(invoice.id)
    paid = client.v1.invoices.pay(invoice.id, {"payment_method": good.id})
    sandbox.advance(4 * DAY)

    assert error_body(declined.value)["decline_code"] == "generic_decline"
    assert (still.attempt_count, still.next_payment_attempt) == (1, invoice.next_payment_attempt)
    assert (paid.status, paid.amount_remaining) == ("paid", 0)
    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 2
    with pytest.raises(stripe.InvalidRequestError, match="Invoice is already paid"):
        client.v1.invoices.pay(invoice.id)


def test_a_customer_at_hand_is_asked_to_authenticate(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    _, invoice = renewed(sandbox, client, customer, "pm_card_authenticationRequired")

    with pytest.raises(stripe.CardError) as asked:
        client.v1.invoices.pay(invoice.id, {"off_session": False})

    assert asked.value.code == "invoice_payment_intent_requires_action"
    assert error_body(asked.value)["payment_intent"]["status"] == "requires_action"
    assert told(client, invoice)[-1] == "invoice.payment_action_required"


@pytest.mark.parametrize(
    ("outcome", "status", "told_last"),
    [
        ("complete", "paid", "invoice.payment_succeeded"),
        ("fail", "open", "invoice.payment_failed"),
    ],
)
def test_an_invoice_follows_at_once_what_its_customer_told_the_bank(
    sandbox: RunningSandbox,
    client: stripe.StripeClient,
    customer: stripe.Customer,
    outcome: str,
    status: str,
    told_last: str,
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    (payment,) = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    asked = client.v1.payment_intents.confirm(
        str(payment.payment.payment_intent),
        {"payment_method": "pm_card_authenticationRequired", "return_url": "https://example.com"},
    )
    assert asked.next_action is not None
    assert asked.next_action.redirect_to_url is not None

    submit(asked.next_action.redirect_to_url.url, outcome=outcome)

    assert told(client, invoice)[-1] == told_last
    assert client.v1.invoices.retrieve(invoice.id).status == status
    stands = client.v1.subscriptions.retrieve(subscription.id).status
    assert stands == ("active" if status == "paid" else "past_due")


def test_what_a_browser_needs_to_pay_is_shown_only_when_asked_for(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(
        client,
        customer,
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    )

    invoice = made.latest_invoice
    assert isinstance(invoice, stripe.Invoice)
    assert invoice.payments is not None
    (payment,) = invoice.payments.data
    intent = client.v1.payment_intents.retrieve(str(payment.payment.payment_intent))
    assert invoice.confirmation_secret is not None
    assert invoice.confirmation_secret.client_secret == intent.client_secret
    plain = client.v1.invoices.retrieve(invoice.id)
    assert "confirmation_secret" not in plain
    assert "payments" not in plain


def test_a_draft_is_finalized_early_and_paid_at_its_hour(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    advance_to(sandbox, period(made)[1])
    draft = invoices(client, made)[-1]

    final = client.v1.invoices.finalize_invoice(draft.id)
    sandbox.advance(HOUR)

    paid = client.v1.invoices.retrieve(draft.id)
    assert (draft.status, final.status, final.attempted) == ("draft", "open", False)
    assert (paid.status, paid.status_transitions.paid_at) == ("paid", draft.created + HOUR)
    with pytest.raises(stripe.InvalidRequestError, match="already finalized"):
        client.v1.invoices.finalize_invoice(draft.id)


@pytest.mark.parametrize("status", ["void", "uncollectible"])
def test_an_open_invoice_given_up_is_not_tried_again(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer, status: str
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    use_card(client, customer, "pm_card_visa")
    give_up = {
        "void": client.v1.invoices.void_invoice,
        "uncollectible": client.v1.invoices.mark_uncollectible,
    }[status]

    ended = give_up(invoice.id)
    sandbox.advance(15 * DAY)

    assert (ended.status, ended.next_payment_attempt) == (status, None)
    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 1
    with pytest.raises(stripe.InvalidRequestError):
        give_up(invoice.id)


def test_a_voided_invoices_intent_is_canceled_and_a_paid_one_is_not_voided(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    subscription, invoice = renewed(sandbox, client, customer)
    client.v1.invoices.void_invoice(invoice.id)

    (payment,) = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    intent = client.v1.payment_intents.retrieve(str(payment.payment.payment_intent))
    first = invoices(client, subscription)[0]

    assert (payment.status, intent.status) == ("canceled", "canceled")
    with pytest.raises(stripe.InvalidRequestError, match="cannot be voided"):
        client.v1.invoices.void_invoice(first.id)


def test_invoices_are_listed_by_status_and_creation(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    _, late = renewed(sandbox, client, customer)

    unpaid = client.v1.invoices.list({"customer": customer.id, "status": "open"}).data
    early = client.v1.invoices.list({"customer": customer.id, "created": {"lt": late.created}}).data

    assert [invoice.id for invoice in unpaid] == [late.id]
    assert [invoice.billing_reason for invoice in early] == ["subscription_create"]


def test_a_slow_payment_pays_the_renewal_when_the_bank_has_decided(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    subscription, invoice = renewed(sandbox, client, customer, "pm_card_sandbox_processing")
    assert (subscription.status, invoice.status) == ("active", "open")

    sandbox.advance(3 * DAY)

    paid = client.v1.invoices.retrieve(invoice.id)
    assert (paid.status, paid.attempt_count) == ("paid", 1)
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 2
