"""Invoice payments: which payment intent pays which invoice."""

from __future__ import annotations

from typing import cast

from worker.sandbox.errors import JsonObject
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import nested, text
from worker.sandbox.store import Condition, Tx, new_id, where

INTENT = "payment.payment_intent"


def make(tx: Tx, invoice: JsonObject, intent: JsonObject) -> JsonObject:
    """The default payment of an invoice, made when it is finalized."""
    payment: JsonObject = {
        "id": new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": tx.now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    tx.add(payment)
    return payment


def end(tx: Tx, payment: JsonObject, status: str) -> None:
    """Paid or canceled."""
    payment["status"] = status
    payment["status_transitions"][f"{status}_at"] = tx.now
    if status == "paid":
        payment["amount_paid"] = payment["amount_requested"]
    tx.replace(payment)


def of(tx: Tx, invoice: JsonObject) -> JsonObject:
    """The payment of a finalized invoice."""
    (payment,) = all_of(tx, invoice)["data"]
    return cast(JsonObject, payment)


def all_of(tx: Tx, invoice: JsonObject) -> JsonObject:
    """The payments of an invoice as a list: one, or none while it is a draft."""
    return {
        "object": "list",
        "data": tx.page("invoice_payment", [where("invoice", invoice["id"])], "ASC", 1),
        "has_more": False,
        "url": f"/v1/invoice_payments?invoice={invoice['id']}",
    }


def invoice_of(tx: Tx, intent: JsonObject) -> str | None:
    """The id of the invoice that an intent is to pay."""
    found = tx.page("invoice_payment", [where(INTENT, intent["id"])], "ASC", 1)
    return found[0]["invoice"] if found else None


def _paying(params: JsonObject, name: str) -> Condition:
    return where(INTENT, text(nested(params, name), "payment_intent") or "")


KIND = Kind(
    "invoice_payment",
    "invoice_payments",
    param="invoice_payment",
    filters={"invoice": field(), "payment": _paying, "status": field()},
)
