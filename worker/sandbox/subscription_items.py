"""Subscription items: the price that is charged, how often it counts, and the current period."""

from __future__ import annotations

from worker.sandbox.amounts import check_amount
from worker.sandbox.billing_periods import period_end
from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.params import assign, integer, refuse, text
from worker.sandbox.store import Tx, new_id


def make(tx: Tx, subscription: str, wishes: object) -> JsonObject:
    """The one item of a subscription, in its first period."""
    if not isinstance(wishes, list) or len(wishes) != 1 or not isinstance(wishes[0], dict):
        raise invalid("The sandbox has subscriptions with one item each.", param="items")
    (wish,) = wishes
    refuse(wish, tuple(name for name in wish if name not in ("metadata", "price", "quantity")))
    price = _price(tx, text(wish, "price", param="items[0][price]") or "")
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


def _price(tx: Tx, wanted: str) -> JsonObject:
    price = tx.named("price", wanted, "items[0][price]")
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
