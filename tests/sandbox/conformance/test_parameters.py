from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.conftest import fresh_key


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": 2900}, "parameter_missing", "currency"),
        ({"amount": 2900, "currency": "usd", "colour": "red"}, "parameter_unknown", "colour"),
        ({"amount": "12.5", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": -1, "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 49, "currency": "usd"}, "amount_too_small", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
        ({"amount": 2900, "currency": "usd", "customer": "cus_0"}, "resource_missing", "customer"),
    ],
)
def test_wrong_parameters_are_refused_by_name(
    client: stripe.StripeClient, params: Any, code: str, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as problem:
        client.v1.payment_intents.create(params)

    assert (problem.value.http_status, problem.value.code) == (400, code)
    assert problem.value.param == param
    assert str(problem.value.request_id).startswith("req_")


def test_an_unknown_object_is_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_unknown")

    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


def test_a_list_is_walked_forward_and_backward(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create()
    made = [
        client.v1.payment_intents.create(
            {"amount": 100 + place, "currency": "usd", "customer": customer.id}
        ).id
        for place in range(5)
    ]

    def listed(**more: Any) -> tuple[list[str], bool]:
        wish: Any = {"customer": customer.id, **more}
        page = client.v1.payment_intents.list(wish)
        return [intent.id for intent in page.data], page.has_more

    pages = client.v1.payment_intents.list({"customer": customer.id, "limit": 2})
    assert listed(limit=2) == (made[:2:-1], True)
    assert listed(limit=2, starting_after=made[3]) == (made[2:0:-1], True)
    assert listed(limit=1, ending_before=made[2]) == ([made[3]], True)
    assert [intent.id for intent in pages.auto_paging_iter()] == made[::-1]


def test_a_list_is_narrowed_by_creation_time(
    client: stripe.StripeClient, intent: stripe.PaymentIntent
) -> None:
    def listed(**created: int) -> list[str]:
        wish: Any = {"customer": intent.customer, "created": created}
        return [found.id for found in client.v1.payment_intents.list(wish).data]

    assert listed(gte=intent.created, lte=intent.created) == [intent.id]
    assert listed(gt=intent.created) == listed(lt=intent.created) == []


def test_a_customer_changes_and_is_found_by_email(client: stripe.StripeClient) -> None:
    email = f"{fresh_key()}@example.com"
    made = client.v1.customers.create({"email": email, "name": "A"})

    client.v1.customers.update(made.id, {"name": "B", "metadata": {"fixbill": "c1"}})

    (found,) = client.v1.customers.list({"email": email}).data
    assert (found.id, found.name, found.livemode) == (made.id, "B", False)
    assert found.metadata is not None
    assert found.metadata.to_dict() == {"fixbill": "c1"}
