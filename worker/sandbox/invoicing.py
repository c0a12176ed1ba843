"""An invoice as a document, from draft to its end; who pays it is the matter of `collection`.

draft ─ finalize ─▶ open ─▶ paid
                     ├────▶ void
                     └────▶ uncollectible ─▶ paid
"""

from __future__ import annotations

from typing import cast

from worker.sandbox import invoice_payments, later, payment_intents
from worker.sandbox.errors import JsonObject
from worker.sandbox.events import happened
from worker.sandbox.later import HOUR
from worker.sandbox.store import Condition, Tx, new_id, where

NONE_OF = ("amount_overpaid", "amount_paid", "amount_shipping", "attempt_count", "starting_balance")
NOT_YET = (
    "automatically_finalizes_at",
    "default_payment_method",
    "description",
    "due_date",
    "effective_at",
    "ending_balance",
    "hosted_invoice_url",
    "invoice_pdf",
    "next_payment_attempt",
    "number",
)
MOMENTS = ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
SUBSCRIPTION = "parent.subscription_details.subscription"
DESCRIPTIONS = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
}


def draft(tx: Tx, subscription: JsonObject, reason: str, period: tuple[int, int]) -> JsonObject:
    """An invoice for the subscription's current period; `period` is the one that led to it."""
    invoice = _blank(tx, subscription, reason)
    invoice["period_start"], invoice["period_end"] = period
    # Stripe leaves a renewal open to changes for an hour; a first invoice is final at once.
    if reason == "subscription_cycle":
        invoice["automatically_finalizes_at"] = tx.now + HOUR
        invoice["next_payment_attempt"] = tx.now + HOUR
        later.at(tx, tx.now + HOUR, "advance_invoice", invoice["id"])
    tx.add(invoice)
    tell(tx, invoice, "created")
    return invoice


def _blank(tx: Tx, subscription: JsonObject, reason: str) -> JsonObject:
    invoice_id = new_id("in")
    (item,) = subscription["items"]["data"]
    line = _line(tx, subscription, item, invoice_id)
    customer = tx.get("customer", subscription["customer"])
    about = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    return {
        "id": invoice_id,
        "object": "invoice",
        **dict.fromkeys(("amount_due", "amount_remaining", "subtotal", "total"), line["amount"]),
        **dict.fromkeys(NONE_OF, 0),
        **dict.fromkeys(NOT_YET),
        "attempted": False,
        "auto_advance": True,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": tx.now,
        "currency": subscription["currency"],
        "customer": subscription["customer"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "discounts": [],
        "issuer": {"type": "self"},
        "lines": {
            "object": "list",
            "data": [line],
            "has_more": False,
            "url": f"/v1/invoices/{invoice_id}/lines",
        },
        "livemode": False,
        "metadata": {},
        "parent": {
            "quote_details": None,
            "subscription_details": about,
            "type": "subscription_details",
        },
        "status": "draft",
        "status_transitions": dict.fromkeys(MOMENTS),
        "total_taxes": [],
    }


def _line(tx: Tx, subscription: JsonObject, item: JsonObject, invoice: str) -> JsonObject:
    price, quantity = item["price"], item["quantity"]
    amount = price["unit_amount"] * quantity
    product = tx.get("product", price["product"])
    return {
        "id": new_id("il"),
        "object": "line_item",
        "amount": amount,
        "currency": price["currency"],
        "description": f"{quantity} × {product['name']}",
        "discount_amounts": [],
        "discountable": True,
        "discounts": [],
        "invoice": invoice,
        "livemode": False,
        "metadata": subscription["metadata"],
        "parent": {
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": None,
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
            "type": "subscription_item_details",
        },
        "period": {"end": item["current_period_end"], "start": item["current_period_start"]},
        "pricing": {
            "price_details": {"price": price["id"], "product": price["product"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        "quantity": quantity,
        "subtotal": amount,
        "taxes": [],
    }


def finalize(tx: Tx, invoice: JsonObject) -> None:
    """Fix the invoice, number it, and make the intent that is to pay it."""
    wish = {
        "amount": str(invoice["amount_due"]),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": DESCRIPTIONS[invoice["billing_reason"]],
    }
    intent = cast(JsonObject, payment_intents.create(tx, wish))  # unconfirmed: never a decline
    invoice |= {
        "automatically_finalizes_at": None,
        "effective_at": tx.now,
        "ending_balance": 0,
        "number": _next_number(tx, invoice["customer"]),
        "status": "open",
    }
    invoice["status_transitions"]["finalized_at"] = tx.now
    invoice_payments.make(tx, invoice, intent)
    tx.replace(invoice)
    tell(tx, invoice, "finalized")


def _next_number(tx: Tx, customer: str) -> str:
    (before,) = tx.db.execute(
        "SELECT count(*) FROM objects WHERE kind = 'invoice'"
        " AND json_extract(body, '$.customer') = ? AND json_extract(body, '$.number') IS NOT NULL",
        (customer,),
    ).fetchone()
    return f"{customer[-8:].upper()}-{before + 1:04}"


def paid(tx: Tx, invoice: JsonObject) -> None:
    """The money has come."""
    payment = invoice_payments.of(tx, invoice)
    invoice_payments.end(tx, payment, "paid")
    invoice |= {"amount_paid": invoice["amount_due"], "amount_remaining": 0, "attempted": True}
    _end(tx, invoice, "paid", "paid_at")
    happened(tx, "invoice_payment.paid", payment)
    for what in ("updated", "paid", "payment_succeeded"):
        tell(tx, invoice, what)


def void(tx: Tx, invoice: JsonObject) -> None:
    """As if it had never been; its intent cannot be confirmed any more."""
    if (intent := intent_of(tx, invoice))["status"] in payment_intents.OPEN:
        payment_intents.cancel(tx, intent, {})
    invoice_payments.end(tx, invoice_payments.of(tx, invoice), "canceled")
    _end(tx, invoice, "void", "voided_at")
    tell(tx, invoice, "voided")


def mark_uncollectible(tx: Tx, invoice: JsonObject) -> None:
    """Given up, though it may still be paid."""
    _end(tx, invoice, "uncollectible", "marked_uncollectible_at")
    tell(tx, invoice, "marked_uncollectible")


def stop(tx: Tx, invoice: JsonObject) -> None:
    """Nothing more happens by itself: the subscription has ended."""
    invoice |= {
        "auto_advance": False,
        "automatically_finalizes_at": None,
        "next_payment_attempt": None,
    }
    tx.replace(invoice)
    tell(tx, invoice, "updated")


def _end(tx: Tx, invoice: JsonObject, status: str, moment: str) -> None:
    invoice |= {"auto_advance": False, "next_payment_attempt": None, "status": status}
    invoice["status_transitions"][moment] = tx.now
    tx.replace(invoice)


def tell(tx: Tx, invoice: JsonObject, what: str) -> None:
    """An event about the invoice."""
    happened(tx, f"invoice.{what}", invoice)


def intent_of(tx: Tx, invoice: JsonObject) -> JsonObject:
    """The intent that pays, or is to pay, a finalized invoice."""
    payment = invoice_payments.of(tx, invoice)["payment"]
    return tx.get("payment_intent", payment["payment_intent"])


def confirmation_secret(tx: Tx, invoice: JsonObject) -> JsonObject | None:
    """What a browser needs to pay the invoice."""
    if invoice["status"] == "draft":
        return None
    return {"client_secret": intent_of(tx, invoice)["client_secret"], "type": "payment_intent"}


def subscription_id(invoice: JsonObject) -> str:
    """The id of the subscription the invoice is for."""
    owner: str = invoice["parent"]["subscription_details"]["subscription"]
    return owner


def of_subscription(subscription: str) -> Condition:
    """The invoices of one subscription."""
    return where(SUBSCRIPTION, subscription)
