from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import stripe

from tests.sandbox.sandbox_process import HOUR, RunningSandbox, running_sandbox
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
    """One with a clock of its own."""
    with running_sandbox(tmp_path_factory.mktemp("subscription_items")) as one:
        yield one


def move(
    client: stripe.StripeClient, subscription: stripe.Subscription, price: str, **more: Any
) -> stripe.Subscription:
    """The subscription at another price from its next invoice on."""
    (item,) = subscription["items"].data
    params: Any = {"items": [{"id": item.id, "price": price}], "proration_behavior": "none", **more}
    return client.v1.subscriptions.update(subscription.id, params)


def priced(invoice: stripe.Invoice) -> tuple[int, str]:
    """What an invoice asks for, and the price its only line names."""
    (line,) = invoice.lines.data
    assert line.pricing is not None
    assert line.pricing.price_details is not None
    return invoice.total, str(line.pricing.price_details.price)


def test_another_price_counts_from_the_next_invoice_on(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    old, new = made["items"].data[0].price.id, monthly_price(client, unit_amount=79900).id

    moved = move(client, made, new, metadata={"plan_version": "2"})
    before = invoices(client, made)
    advance_to(sandbox, period(made)[1] + HOUR)

    (item,) = moved["items"].data
    assert (moved.status, period(moved)) == ("active", period(made))
    assert (item.id, item.price.id) == (made["items"].data[0].id, new)
    assert moved.metadata.to_dict() == {"plan_version": "2"}
    assert told(client, made)[1] == "customer.subscription.updated"
    assert [priced(invoice) for invoice in before] == [(59900, old)]
    assert [priced(invoice) for invoice in invoices(client, made)] == [(59900, old), (79900, new)]
    paid = sandbox.payments(customer=customer.id, status="succeeded")
    assert [row["amount"] for row in paid] == [59900, 79900]


def test_a_draft_keeps_the_price_it_was_made_with(
    sandbox: RunningSandbox, client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    made = subscribe(client, customer)
    old = made["items"].data[0].price.id
    advance_to(sandbox, period(made)[1])

    move(client, made, monthly_price(client, unit_amount=79900).id)
    sandbox.advance(HOUR)

    assert [priced(invoice) for invoice in invoices(client, made)] == [(59900, old)] * 2


@pytest.mark.parametrize("behavior", ["create_prorations", "always_invoice", None])
def test_a_price_is_not_changed_with_prorations(
    client: stripe.StripeClient, customer: stripe.Customer, behavior: str | None
) -> None:
    made = subscribe(client, customer)
    (item,) = made["items"].data
    wish: Any = {"items": [{"id": item.id, "price": monthly_price(client).id}]}
    if behavior:
        wish["proration_behavior"] = behavior

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.subscriptions.update(made.id, wish)

    assert (refused.value.code, refused.value.param) == (
        "sandbox_unsupported",
        "proration_behavior",
    )


@pytest.mark.parametrize(
    ("price", "code"),
    [
        ({"recurring": {"interval": "year"}}, "sandbox_unsupported"),
        ({"recurring": {"interval": "month", "interval_count": 2}}, "sandbox_unsupported"),
        ({"currency": "eur"}, None),
        ({"active": False}, None),
    ],
)
def test_a_price_that_does_not_fit_is_refused_and_changes_nothing(
    client: stripe.StripeClient, customer: stripe.Customer, price: Any, code: str | None
) -> None:
    made = subscribe(client, customer)
    active = price.pop("active", True)
    new = monthly_price(client, **price)
    client.v1.prices.update(new.id, {"active": active})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        move(client, made, new.id)

    assert (refused.value.code, refused.value.param) == (code, "items[0][price]")
    kept = client.v1.subscriptions.retrieve(made.id)
    assert kept["items"].data[0].price.id == made["items"].data[0].price.id


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        ({"quantity": 2}, "sandbox_unsupported", "items[0][quantity]"),
        ({"id": "si_0"}, "resource_missing", "items[0][id]"),
        ({"id": None}, None, "items"),
    ],
)
def test_nothing_else_of_an_item_is_changed(
    client: stripe.StripeClient,
    customer: stripe.Customer,
    item: dict[str, Any],
    code: str | None,
    param: str,
) -> None:
    made = subscribe(client, customer)
    (there,) = made["items"].data
    wish = {"id": there.id, "price": there.price.id, **item}
    given: Any = {name: value for name, value in wish.items() if value is not None}

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.subscriptions.update(made.id, {"items": [given], "proration_behavior": "none"})

    assert (refused.value.code, refused.value.param) == (code, param)


def test_only_a_subscription_that_has_begun_changes_its_price(
    client: stripe.StripeClient, customer: stripe.Customer
) -> None:
    use_card(client, customer, DECLINES)
    made = subscribe(client, customer)

    with pytest.raises(stripe.InvalidRequestError, match="first invoice is not paid"):
        move(client, made, monthly_price(client).id)
    client.v1.subscriptions.cancel(made.id)
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription can only update"):
        move(client, made, monthly_price(client).id)
