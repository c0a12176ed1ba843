"""Invoices as the API has them: read, finalized, paid, voided or given up."""

from __future__ import annotations

from worker.sandbox import collection, invoice_payments, invoicing, payment_methods, standing
from worker.sandbox.errors import Answer, JsonObject, card_error, invalid
from worker.sandbox.filters import choice, field
from worker.sandbox.kind import Kind
from worker.sandbox.params import boolean, merged_metadata, refuse, text
from worker.sandbox.store import Tx

STATUSES = ("draft", "open", "void", "paid", "uncollectible")
NO_PAYMENT_METHOD = (
    "This customer has no attached payment source or default payment method. Please consider"
    " adding a default payment method. For more information, visit"
    " https://stripe.com/docs/billing/subscriptions/payment-methods-setting"
    "#payment-method-priority."
)


def update(tx: Tx, invoice: JsonObject, params: JsonObject) -> JsonObject:
    """Other metadata; what the invoice says is the subscription's matter."""
    refuse(params, tuple(name for name in params if name not in ("expand", "metadata")))
    invoice["metadata"] = merged_metadata(invoice["metadata"], params)
    tx.replace(invoice)
    invoicing.tell(tx, invoice, "updated")
    return invoice


def finalize(tx: Tx, invoice: JsonObject, params: JsonObject) -> JsonObject:
    """Make a draft final before its hour is over; it is paid when it would have been."""
    refuse(params, ("auto_advance",))
    if invoice["status"] != "draft":
        raise invalid(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice."
        )
    invoicing.finalize(tx, invoice)
    return invoice


def pay(tx: Tx, invoice: JsonObject, params: JsonObject) -> JsonObject | Answer:
    """Try to be paid now, off session unless told otherwise."""
    refuse(params, ("forgive", "mandate", "paid_out_of_band", "source"))
    method = _card(tx, invoice, text(params, "payment_method"))
    if invoice["status"] == "draft":
        invoicing.finalize(tx, invoice)
    off_session = boolean({"off_session": "true", **params}, "off_session")
    decline = collection.attempt(tx, invoice, method, off_session=off_session)
    if decline:
        return decline
    intent = invoicing.intent_of(tx, invoice)
    if intent["status"] == "requires_action":
        return action_required("invoice", intent)
    return invoice


def _card(tx: Tx, invoice: JsonObject, chosen: str | None) -> str:
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid")
    if invoice["status"] == "void":
        raise invalid("You can only pass in open invoices. This invoice isn't open.")
    if chosen:
        return require_card(tx, invoice["customer"], chosen, "payment_method")
    default = collection.payment_method(tx, collection.subscription_of(tx, invoice))
    if default is None:
        raise invalid(NO_PAYMENT_METHOD, code="resource_missing")
    return default


def require_card(tx: Tx, customer: str, chosen: str, param: str) -> str:
    """A card that belongs to the customer."""
    method = payment_methods.usable(tx, chosen, param)
    if method["customer"] != customer:
        raise invalid(
            f"The customer does not have a payment method with the ID {chosen}. The payment method"
            " must be attached to the customer.",
            param=param,
            code="resource_missing",
        )
    owned: str = method["id"]
    return owned


def action_required(kind: str, intent: JsonObject) -> Answer:
    """The bank wants to see the customer before it pays."""
    return card_error(
        "This payment requires additional user action before it can be completed successfully."
        f" Payment can be completed using the PaymentIntent associated with the {kind}.",
        code=f"{kind}_payment_intent_requires_action",
        payment_intent=intent,
    )


def void(tx: Tx, invoice: JsonObject, _params: JsonObject) -> JsonObject:
    """Take an unpaid invoice back."""
    if invoice["status"] == "paid":
        raise invalid("Invoices with `paid` payments cannot be voided.")
    _require_open(invoice)
    if invoicing.intent_of(tx, invoice)["status"] == "processing":
        raise invalid("Invoices with processing payments cannot be voided.")
    invoicing.void(tx, invoice)
    standing.follow(tx, invoice)
    return invoice


def mark_uncollectible(tx: Tx, invoice: JsonObject, _params: JsonObject) -> JsonObject:
    """Give up an unpaid invoice."""
    if invoice["status"] == "uncollectible":
        raise invalid("This invoice has already been marked uncollectible.")
    _require_open(invoice)
    invoicing.mark_uncollectible(tx, invoice)
    standing.follow(tx, invoice)
    return invoice


def _require_open(invoice: JsonObject) -> None:
    if invoice["status"] != "open":
        raise invalid("You can only pass in open invoices. This invoice isn't open.")


KIND = Kind(
    "invoice",
    "invoices",
    param="invoice",
    update=update,
    actions={
        "finalize": finalize,
        "mark_uncollectible": mark_uncollectible,
        "pay": pay,
        "void": void,
    },
    includable={
        "confirmation_secret": invoicing.confirmation_secret,
        "payments": invoice_payments.all_of,
    },
    filters={
        "customer": field(),
        "status": choice(*STATUSES),
        "subscription": field(invoicing.SUBSCRIPTION),
    },
)
