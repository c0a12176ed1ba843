"""Customers: whom to charge, and with which card by default."""

from __future__ import annotations

from worker.sandbox import bank, payment_methods, standing
from worker.sandbox.errors import JsonObject, missing_object, not_in_sandbox
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, nested, refuse, text
from worker.sandbox.store import Condition, Tx, new_id, where

PLAIN = ("address", "description", "email", "name", "phone", "shipping", "preferred_locales")
UNSUPPORTED = (
    "balance",
    "business_name",
    "cash_balance",
    "coupon",
    "individual_name",
    "invoice_prefix",
    "next_invoice_sequence",
    "source",
    "tax",
    "tax_exempt",
    "tax_id_data",
    "test_clock",
    "validate",
)
EVERY = -1  # what SQLite calls no limit
NOT_DELETED = Condition("json_extract(body, '$.deleted') IS NOT ?", 1)


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A new customer, with a card attached when one is named."""
    refuse(params, UNSUPPORTED)
    customer: JsonObject = {
        "id": new_id("cus", 14),
        "object": "customer",
        **dict.fromkeys(PLAIN),
        "balance": 0,
        "created": tx.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "invoice_settings": {"default_payment_method": None},
        "livemode": False,
        "metadata": {},
    }
    tx.add(customer)
    if token := text(params, "payment_method"):
        method = payment_methods.usable(tx, token)
        payment_methods.attach_to(tx, method, customer["id"])
    _settle(tx, customer, params)
    happened(tx, "customer.created", customer)
    return customer


def update(tx: Tx, customer: JsonObject, params: JsonObject) -> JsonObject:
    """New particulars, or another default card."""
    refuse(params, UNSUPPORTED)
    _settle(tx, customer, params)
    happened(tx, "customer.updated", customer)
    return customer


def delete(tx: Tx, customer: JsonObject, _params: JsonObject) -> JsonObject:
    """Its cards go with it; what it has paid stays, and names it."""
    theirs = where("customer", customer["id"])
    for subscription in tx.page("subscription", [theirs], "ASC", EVERY):
        if subscription["status"] not in standing.ENDED:
            raise not_in_sandbox("deleting a customer with a subscription")
    for method in tx.page("payment_method", [theirs], "ASC", EVERY):
        tx.replace({**method, "customer": None})
        bank.spend(tx, method["id"])
    gone: JsonObject = {"id": customer["id"], "object": "customer", "deleted": True}
    tx.replace(gone)
    happened(tx, "customer.deleted", customer)
    return gone


def _settle(tx: Tx, customer: JsonObject, params: JsonObject) -> None:
    assign(customer, params, PLAIN)
    settings = nested(params, "invoice_settings")
    if "default_payment_method" in settings:
        chosen = text(settings, "default_payment_method")
        if chosen:
            _require_attached(tx, customer["id"], chosen)
        customer["invoice_settings"]["default_payment_method"] = chosen
    tx.replace(customer)


def _require_attached(tx: Tx, customer: str, chosen: str) -> None:
    method = tx.find("payment_method", chosen)
    if method is None or method["customer"] != customer:
        raise missing_object("PaymentMethod", chosen, "invoice_settings[default_payment_method]")


KIND = Kind(
    "customer",
    "customers",
    param="id",
    create=create,
    update=update,
    delete=delete,
    filters={"email": field()},
    unasked=lambda _params: (NOT_DELETED,),
    children=("payment_methods",),
)
