from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.sandbox.subscribers import monthly_price


def test_a_product_changes_and_is_withdrawn(client: stripe.StripeClient) -> None:
    product = client.v1.products.create({"name": "Pro", "metadata": {"plan": "pro"}})

    client.v1.products.update(product.id, {"name": "Pro+", "active": False})

    kept = client.v1.products.retrieve(product.id)
    assert (kept.name, kept.active, kept.metadata.to_dict()) == ("Pro+", False, {"plan": "pro"})
    active = client.v1.products.list({"ids": [product.id], "active": True}).data
    withdrawn = client.v1.products.list({"ids": [product.id], "active": False}).data
    assert (active, [one.id for one in withdrawn]) == ([], [product.id])


def test_a_product_id_of_ones_own_is_taken_once(client: stripe.StripeClient) -> None:
    client.v1.products.create({"id": "fixbill_pro", "name": "Pro"})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.products.create({"id": "fixbill_pro", "name": "Pro"})

    assert refused.value.code == "resource_already_exists"


def test_a_monthly_price_comes_with_its_product(client: stripe.StripeClient) -> None:
    price = monthly_price(client)

    assert (price.unit_amount, price.currency, price.type) == (59900, "usd", "recurring")
    assert price.recurring is not None
    assert (price.recurring.interval, price.recurring.interval_count) == ("month", 1)
    product = client.v1.products.retrieve(str(price.product))
    assert product.name == "Pro"
    assert [one.id for one in client.v1.prices.list({"product": product.id}).data] == [price.id]


def test_a_lookup_key_stands_for_one_price_at_a_time(client: stripe.StripeClient) -> None:
    old, new = monthly_price(client), monthly_price(client)
    client.v1.prices.update(old.id, {"lookup_key": "pro_monthly"})

    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        client.v1.prices.update(new.id, {"lookup_key": "pro_monthly"})
    client.v1.prices.update(new.id, {"lookup_key": "pro_monthly", "transfer_lookup_key": True})

    (found,) = client.v1.prices.list({"lookup_keys": ["pro_monthly", "other"]}).data
    assert found.id == new.id
    assert client.v1.prices.retrieve(old.id).lookup_key is None


def test_a_new_price_takes_over_a_lookup_key_as_it_is_made(client: stripe.StripeClient) -> None:
    old = monthly_price(client, lookup_key="team_monthly", metadata={"version": "1"})

    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        monthly_price(client, lookup_key="team_monthly")
    new = monthly_price(
        client, lookup_key="team_monthly", transfer_lookup_key=True, metadata={"version": "2"}
    )

    (found,) = client.v1.prices.list(
        {"lookup_keys": ["team_monthly"], "active": True, "expand": ["data.product"]}
    ).data
    assert (found.id, found.metadata.to_dict()) == (new.id, {"version": "2"})
    assert isinstance(found.product, stripe.Product)
    assert client.v1.prices.retrieve(old.id).lookup_key is None


def test_a_withdrawn_price_is_not_among_the_active(client: stripe.StripeClient) -> None:
    price = monthly_price(client)

    client.v1.prices.update(price.id, {"active": False, "metadata": {"note": "old"}})

    assert client.v1.prices.list({"product": str(price.product), "active": True}).data == []
    assert client.v1.prices.retrieve(price.id).metadata.to_dict() == {"note": "old"}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"currency": "usd", "unit_amount": 1, "product": "prod_0"}, "resource_missing", "product"),
        ({"currency": "usd", "product_data": {"name": "A"}}, "parameter_missing", "unit_amount"),
        (
            {"currency": "usd", "unit_amount": 1, "tiers_mode": "volume"},
            "sandbox_unsupported",
            "tiers_mode",
        ),
        (
            {"currency": "usd", "unit_amount": 1, "recurring": {"interval": "hour"}},
            None,
            "recurring[interval]",
        ),
    ],
)
def test_a_wrong_price_is_refused_by_name(
    client: stripe.StripeClient, params: Any, code: str | None, param: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.prices.create(params)

    assert (refused.value.code, refused.value.param) == (code, param)
