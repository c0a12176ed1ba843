from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import default_card
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    advance_to,
    day,
    events_since,
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


def test_a_renewal_is_a_draft_for_an_hour_and_then_paid(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    _, end = period(made)

    advance_to(sandbox, end)
    renewed = client.v1.subscriptions.retrieve(made.id)
    draft = client.v1.invoices.retrieve(str(renewed.latest_invoice))
    sandbox.advance(HOUR)
    paid = client.v1.invoices.retrieve(draft.id)

    assert (renewed.status, period(renewed)[0]) == ("active", end)
    assert (draft.status, draft.billing_reason, draft.created) == (
        "draft",
        "subscription_cycle",
        end,
    )
    assert draft.automatically_finalizes_at == end + HOUR
    assert (paid.status, paid.amount_paid) == ("paid", 59900)
    assert paid.status_transitions.paid_at == end + HOUR
    (line,) = paid.lines.data
    assert (line.period.start, line.period.end) == period(renewed)
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 2


def test_a_subscription_begun_on_the_31st_is_billed_on_the_last_day_of_short_months(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    now = datetime.fromtimestamp(sandbox.ask("GET", "clock")["now"], UTC)
    advance_to(sandbox, int(datetime(now.year + 1, 1, 31, 12, tzinfo=UTC).timestamp()))
    made = subscribe(client, customer)

    sandbox.advance(150 * DAY)

    starts = [day(invoice.lines.data[0].period.start)[5:] for invoice in invoices(client, made)]
    leap = (now.year + 1) % 4 == 0
    assert starts == ["01-31", "02-29" if leap else "02-28", "03-31", "04-30", "05-31", "06-30"]


def test_one_jump_of_fourteen_months_is_fourteen_renewals(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)

    sandbox.advance(14 * 31 * DAY)

    every = invoices(client, made)
    assert [invoice.status for invoice in every] == ["paid"] * 15
    lines = [invoice.lines.data[0].period for invoice in every]
    assert all(one.end == following.start for one, following in pairwise(lines))
    assert len(sandbox.payments(customer=customer.id, status="succeeded")) == 15


def test_a_jump_ends_where_small_steps_do(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    def life(steps: int) -> list[tuple[str, int]]:
        """What was told of a weekly subscriber whose card declines from now on, and when."""
        subscriber = client.v1.customers.create()
        use_card(client, subscriber, "pm_card_visa")
        made = subscribe(client, subscriber, price=weekly.id)
        use_card(client, subscriber, DECLINES)
        for _ in range(steps):
            sandbox.advance(30 * DAY // steps)
        about = {made.id, *(invoice.id for invoice in invoices(client, made))}
        events = events_since(client, made.created)
        return [
            (event.type, event.created - made.created)
            for event in events
            if event.data.object["id"] in about
        ]

    weekly = client.v1.prices.create(
        {
            "currency": "usd",
            "unit_amount": 900,
            "recurring": {"interval": "week"},
            "product_data": {"name": "Weekly"},
        }
    )
    at_once, in_steps = life(1), life(120)

    assert at_once[0] == ("customer.subscription.deleted", 22 * DAY + HOUR)
    assert at_once == in_steps


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


def test_another_plan_is_not_changed_in_place(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    (item,) = made["items"].data

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.subscriptions.update(made.id, {"items": [{"id": item.id, "quantity": 2}]})

    assert (refused.value.code, refused.value.param) == ("sandbox_unsupported", "items")
