"""Prices: what a product costs, once or every so often. An amount never changes."""

from __future__ import annotations

from worker.sandbox import products
from worker.sandbox.amounts import check_currency
from worker.sandbox.errors import JsonObject, invalid, missing_param
from worker.sandbox.events import happened
from worker.sandbox.filters import field, flag, listed
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, integer, nested, refuse, require, text, word
from worker.sandbox.store import Tx, new_id, where

INTERVALS = ("day", "month", "week", "year")
UNSUPPORTED = (
    "billing_scheme",
    "currency_options",
    "custom_unit_amount",
    "tiers",
    "tiers_mode",
    "transform_quantity",
    "unit_amount_decimal",
)


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A new price of a product, which may be made at the same time."""
    refuse(params, UNSUPPORTED)
    require(params, "unit_amount")
    amount = integer(params, "unit_amount")
    if amount < 0:
        raise invalid("Invalid non-negative integer", param="unit_amount")
    recurring = _recurring(nested(params, "recurring"))
    price: JsonObject = {
        "id": new_id("price"),
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": tx.now,
        "currency": check_currency(params["currency"]),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": _product(tx, params),
        "recurring": recurring,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }
    tx.add(price)
    _settle(tx, price, params)
    happened(tx, "price.created", price)
    return price


def _recurring(wish: JsonObject) -> JsonObject | None:
    if not wish:
        return None
    refuse(wish, ("meter", "trial_period_days"))
    if wish.get("usage_type", "licensed") != "licensed":
        refuse(wish, ("usage_type",))
    interval = word(wish, "interval", INTERVALS, param="recurring[interval]")
    if interval is None:
        raise missing_param("recurring[interval]")
    count = integer(wish, "interval_count") if "interval_count" in wish else 1
    if count < 1:
        raise invalid("Invalid positive integer", param="recurring[interval_count]")
    return {
        "interval": interval,
        "interval_count": count,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


def _product(tx: Tx, params: JsonObject) -> str:
    if "product_data" in params:
        return str(products.create(tx, nested(params, "product_data"))["id"])
    return str(tx.named("product", require(params, "product"), "product")["id"])


def update(tx: Tx, price: JsonObject, params: JsonObject) -> JsonObject:
    """Other words, or no longer for sale."""
    refuse(params, UNSUPPORTED)
    _settle(tx, price, params)
    happened(tx, "price.updated", price)
    return price


def _settle(tx: Tx, price: JsonObject, params: JsonObject) -> None:
    if "active" in params:
        price["active"] = boolean(params, "active")
    if lookup_key := text(params, "lookup_key"):
        _take_key(tx, price, lookup_key, transfer=boolean(params, "transfer_lookup_key"))
    assign(price, params, ("lookup_key", "nickname", "tax_behavior"))
    tx.replace(price)


def _take_key(tx: Tx, price: JsonObject, lookup_key: str, *, transfer: bool) -> None:
    """A lookup key stands for one price at a time."""
    for owner in tx.page("price", [where("lookup_key", lookup_key)], "ASC", 1):
        if owner["id"] == price["id"]:
            return
        if not transfer:
            raise invalid(
                f"A price (`{owner['id']}`) already uses that lookup key.", param="lookup_key"
            )
        owner["lookup_key"] = None
        tx.replace(owner)
        happened(tx, "price.updated", owner)


KIND = Kind(
    "price",
    "prices",
    param="price",
    create=create,
    update=update,
    filters={"active": flag, "lookup_keys": listed("lookup_key"), "product": field()},
)
