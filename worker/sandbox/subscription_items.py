"""Subscription items: the price that is charged, how often it counts, and the current period."""

from __future__ import annotations

from worker.sandbox.amounts import check_amount
from worker.sandbox.billing_periods import period_end
from worker.sandbox.errors import JsonObject, Refusal, invalid, missing_object, not_in_sandbox
from worker.sandbox.params import assign, integer, text
from worker.sandbox.store import Tx, new_id


def make(tx: Tx, subscription: str, wishes: object) -> JsonObject:
    """The one item of a subscription, in its first period."""
    wish = _wish(wishes, ("metadata", "price", "quantity"))
    price = _price(tx, wish)
    quantity = integer(wish, "quantity") if "quantity" in wish else 1
    check_amount(price["unit_amount"] * quantity, price["currency"])
    item: JsonObject = {
        "id": new_id("si", 14),
        "object": "subscription_item",
        "created": tx.now,
        "current_period_end": period_end(tx.now, price["recurring"], tx.now),
        "current_period_start": tx.now,
        "discounts": [],
        "metadata": {},
        "price": price,
        "quantity": quantity,
        "subscription": subscription,
        "tax_rates": [],
    }
    assign(item, wish, ())
    return item


def reprice(tx: Tx, item: JsonObject, wishes: object) -> None:
    """Another price from the next invoice on; the current period stays as it was paid."""
    wish = _wish(wishes, ("id", "price"))
    if "id" not in wish:
        raise _one_item_each()
    if wish["id"] != item["id"]:
        raise missing_object("subscription_item", wish["id"], "items[0][id]")
    price = _price(tx, wish)
    if price["currency"] != item["price"]["currency"]:
        raise invalid(
            f"The price specified only supports `{price['currency']}`. This doesn't match the"
            f" expected currency: `{item['price']['currency']}`.",
            param="items[0][price]",
        )
    if price["recurring"] != item["price"]["recurring"]:
        raise invalid(
            "The sandbox does not implement a change of the billing interval.",
            param="items[0][price]",
            code="sandbox_unsupported",
        )
    check_amount(price["unit_amount"] * item["quantity"], price["currency"])
    item["price"] = price


def _wish(wishes: object, names: tuple[str, ...]) -> JsonObject:
    if not isinstance(wishes, list) or len(wishes) != 1 or not isinstance(wishes[0], dict):
        raise _one_item_each()
    wish: JsonObject = wishes[0]
    for name in wish:
        if name not in names:
            raise not_in_sandbox(f"items[0][{name}]")
    return wish


def _one_item_each() -> Refusal:
    return invalid("The sandbox has subscriptions with one item each.", param="items")


def _price(tx: Tx, wish: JsonObject) -> JsonObject:
    price = tx.named("price", text(wish, "price", param="items[0][price]") or "", "items[0][price]")
    if not price["active"]:
        raise invalid(
            "The price specified is inactive. This field only accepts active prices.",
            param="items[0][price]",
        )
    if price["recurring"] is None:
        raise invalid(
            "The price specified is set to `type=one_time` but this field only accepts prices with"
            " `type=recurring`.",
            param="items[0][price]",
        )
    return price
