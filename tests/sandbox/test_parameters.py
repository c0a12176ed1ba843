from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.sandbox_process import RunningSandbox

WRONG = [
    ({"amount": 2900}, "parameter_missing", "currency"),
    ({"amount": 2900, "currency": "usd", "colour": "red"}, "parameter_unknown", "colour"),
    ({"amount": "12.5", "currency": "usd"}, "parameter_invalid_integer", "amount"),
    ({"amount": -1, "currency": "usd"}, "parameter_invalid_integer", "amount"),
    ({"amount": 49, "currency": "usd"}, "amount_too_small", "amount"),
    ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
    ({"amount": 2900, "currency": "usd", "customer": "cus_0"}, "resource_missing", "customer"),
    (
        {"amount": 2900, "currency": "usd", "capture_method": "manual"},
        "sandbox_unsupported",
        "capture_method",
    ),
]


@pytest.mark.parametrize(("params", "code", "param"), WRONG)
def test_wrong_parameters_are_refused_by_name(
    client: stripe.StripeClient, params: Any, code: str, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create(params)

    assert (refused.value.http_status, refused.value.code) == (400, code)
    assert refused.value.param == param
    assert str(refused.value.request_id).startswith("req_")


def test_an_unknown_object_is_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_unknown")

    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


def test_an_unknown_url_is_404(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Unrecognized request URL"):
        client.v1.payouts.list()


def test_a_wrong_api_key_is_401(sandbox: RunningSandbox) -> None:
    stranger = stripe.StripeClient("sk_test_wrong", base_addresses={"api": sandbox.url})

    with pytest.raises(stripe.AuthenticationError) as refused:
        stranger.v1.customers.list()

    assert refused.value.http_status == 401


def test_a_list_is_walked_forward_and_backward(client: stripe.StripeClient) -> None:
    customer = client.v1.customers.create()
    made = [
        client.v1.payment_intents.create(
            {"amount": 100 + place, "currency": "usd", "customer": customer.id}
        ).id
        for place in range(5)
    ]
    newest_first = made[::-1]

    first = client.v1.payment_intents.list({"customer": customer.id, "limit": 2})
    second = client.v1.payment_intents.list(
        {"customer": customer.id, "limit": 2, "starting_after": first.data[-1].id}
    )
    back = client.v1.payment_intents.list(
        {"customer": customer.id, "limit": 1, "ending_before": second.data[0].id}
    )
    everything = [
        intent.id
        for intent in client.v1.payment_intents.list(
            {"customer": customer.id, "limit": 2}
        ).auto_paging_iter()
    ]

    assert [intent.id for intent in first.data] == newest_first[:2]
    assert [intent.id for intent in second.data] == newest_first[2:4]
    assert [intent.id for intent in back.data] == [newest_first[1]]
    assert (first.has_more, back.has_more) == (True, True)
    assert everything == newest_first


def test_a_list_is_narrowed_by_creation_time(
    sandbox: RunningSandbox, client: stripe.StripeClient
) -> None:
    customer = client.v1.customers.create()
    early = client.v1.payment_intents.create(
        {"amount": 100, "currency": "usd", "customer": customer.id}
    )
    sandbox.ask("POST", "clock", {"advance": 3600})
    late = client.v1.payment_intents.create(
        {"amount": 100, "currency": "usd", "customer": customer.id}
    )

    after = client.v1.payment_intents.list(
        {"customer": customer.id, "created": {"gt": early.created}}
    )
    before = client.v1.payment_intents.list(
        {"customer": customer.id, "created": {"lte": early.created}}
    )

    assert [intent.id for intent in after.data] == [late.id]
    assert [intent.id for intent in before.data] == [early.id]
