"""Products: what is sold."""

from __future__ import annotations

from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.events import happened
from worker.sandbox.filters import flag, listed
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, refuse, require, text
from worker.sandbox.store import Tx, new_id

PLAIN = ("description", "statement_descriptor", "tax_code", "unit_label", "url")
UNSUPPORTED = (
    "default_price",
    "default_price_data",
    "images",
    "marketing_features",
    "package_dimensions",
    "shippable",
    "tax_details",
    "type",
)


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A new product, under an id of the caller's choice if there is one."""
    refuse(params, UNSUPPORTED)
    product: JsonObject = {
        "id": _free_id(tx, text(params, "id")),
        "object": "product",
        "active": True,
        "created": tx.now,
        "default_price": None,
        **dict.fromkeys(PLAIN),
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": require(params, "name"),
        "package_dimensions": None,
        "shippable": None,
        "type": "service",
        "updated": tx.now,
    }
    tx.add(product)
    _settle(tx, product, params)
    happened(tx, "product.created", product)
    return product


def _free_id(tx: Tx, chosen: str | None) -> str:
    if chosen and tx.find_any(chosen):
        raise invalid("Product already exists.", param="id", code="resource_already_exists")
    return chosen or new_id("prod", 14)


def update(tx: Tx, product: JsonObject, params: JsonObject) -> JsonObject:
    """Other words, or no longer for sale."""
    refuse(params, UNSUPPORTED)
    _settle(tx, product, params)
    happened(tx, "product.updated", product)
    return product


def _settle(tx: Tx, product: JsonObject, params: JsonObject) -> None:
    if "name" in params and not (name := text(params, "name")):
        raise invalid("Product names cannot be empty.", param="name")
    if "name" in params:
        product["name"] = name
    if "active" in params:
        product["active"] = boolean(params, "active")
    assign(product, params, PLAIN)
    product["updated"] = tx.now
    tx.replace(product)


KIND = Kind(
    "product",
    "products",
    param="id",
    create=create,
    update=update,
    filters={"active": flag, "ids": listed("id")},
)
