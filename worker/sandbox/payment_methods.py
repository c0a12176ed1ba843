"""Payment methods: cards, their owner, and the check a bank makes when one is attached."""

from __future__ import annotations

import time
from dataclasses import asdict

from worker.sandbox import bank
from worker.sandbox.cards import BY_NUMBER, DECLINES, Card, Decline, named, passes_luhn
from worker.sandbox.errors import (
    JsonObject,
    card_refused,
    invalid,
    missing_object,
    not_in_sandbox,
)
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, integer, nested, refuse, require, text
from worker.sandbox.store import Condition, Tx, new_id

NUMBER_LENGTH_MIN = 12
USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer"
    " attachment, shared with a connected account without Customer attachment, or was detached"
    " from a Customer. It may not be used again. To use a PaymentMethod multiple times, you must"
    " attach it to a Customer first."
)


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A card that belongs to nobody yet."""
    if require(params, "type") != "card":
        raise not_in_sandbox("type")
    details = require(params, "card")
    if not isinstance(details, dict):
        raise invalid("Invalid object", param="card")
    card = _named_card(details) if "token" in details else _numbered_card(tx, details)
    method = _make(tx, card, details)
    assign(method, params, ("billing_details", "allow_redisplay"))
    tx.replace(method)
    return method


def _named_card(details: JsonObject) -> Card:
    token = text(details, "token", param="card[token]") or ""
    card = named(token)
    if card is None:
        raise missing_object("token", token, "card[token]")
    return card


def _numbered_card(tx: Tx, details: JsonObject) -> Card:
    number = str(require(details, "number")).replace(" ", "")
    month, year = integer(details, "exp_month"), integer(details, "exp_year")
    if not number.isdecimal() or not passes_luhn(number) or len(number) < NUMBER_LENGTH_MIN:
        raise card_refused(
            "Your card number is incorrect.", code="incorrect_number", param="number"
        )
    if not 1 <= month <= 12:
        raise card_refused(
            "Your card's expiration month is invalid.",
            code="invalid_expiry_month",
            param="exp_month",
        )
    if (year, month) < time.gmtime(tx.now)[:2]:
        raise card_refused(
            "Your card's expiration year is invalid.", code="invalid_expiry_year", param="exp_year"
        )
    if number not in BY_NUMBER:
        raise card_refused(
            "Your card was declined. Your request was in test mode, but used a non test (live)"
            " card.",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    return BY_NUMBER[number]


def _make(tx: Tx, card: Card, details: JsonObject) -> JsonObject:
    nobody: JsonObject = {"address": None, "email": None, "name": None, "phone": None}
    method: JsonObject = {
        "id": new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": nobody,
        "card": {
            "brand": card.brand,
            "checks": {"cvc_check": "pass" if "cvc" in details else None},
            "country": "US",
            "exp_month": int(details.get("exp_month", 12)),
            "exp_year": int(details.get("exp_year", time.gmtime(tx.now)[0] + 4)),
            "fingerprint": f"sandbox{card.last4}",
            "funding": "debit" if "debit" in card.names[0] else "credit",
            "last4": card.last4,
        },
        "created": tx.now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    tx.add(method)
    bank.keep(tx, method["id"], card)
    return method


def usable(tx: Tx, wanted: str, param: str = "payment_method") -> JsonObject:
    """The payment method a parameter names; `pm_card_visa` and its like become a new one."""
    method = _stored_or_ready_made(tx, wanted)
    if method is None:
        raise missing_object("PaymentMethod", wanted, param)
    if method["customer"] is None and bank.is_spent(tx, method["id"]):
        raise invalid(USED_UP, param=param)
    return method


def _stored_or_ready_made(tx: Tx, wanted: str) -> JsonObject | None:
    if wanted.startswith("pm_card_") and (card := named(wanted)):
        return _make(tx, card, {})
    return tx.find("payment_method", wanted)


def attach(tx: Tx, method: JsonObject, params: JsonObject) -> JsonObject:
    """Give a card to a customer, if its bank agrees."""
    refuse(params, ("customer_account",))
    require(params, "customer")
    customer = str(tx.named("customer", text(params, "customer") or "", "customer")["id"])
    if bank.is_spent(tx, method["id"]):
        raise invalid(USED_UP)
    if method["customer"] not in (None, customer):
        raise invalid(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    attach_to(tx, method, customer)
    return method


def attach_to(tx: Tx, method: JsonObject, customer: str) -> None:
    """Attach, unless the bank says no."""
    if decline := refusal(tx, method):
        raise card_refused(**asdict(decline))
    if method["customer"] != customer:
        method["customer"] = customer
        tx.replace(method)
        happened(tx, "payment_method.attached", method)


def refusal(tx: Tx, method: JsonObject) -> Decline | None:
    """What the bank says against keeping this card; None when it agrees."""
    card = bank.card_of(tx, method["id"])
    return DECLINES[card.decline] if card.decline and not card.attaches else None


def detach(tx: Tx, method: JsonObject, _params: JsonObject) -> JsonObject:
    """Take a card from its customer; it cannot be used again."""
    if method["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is"
            " impossible.",
            code="payment_method_unexpected_state",
        )
    _forget_default(tx, method)
    method["customer"] = None
    tx.replace(method)
    bank.spend(tx, method["id"])
    happened(tx, "payment_method.detached", method)
    return method


def _forget_default(tx: Tx, method: JsonObject) -> None:
    owner = tx.find("customer", method["customer"])
    if owner and owner["invoice_settings"]["default_payment_method"] == method["id"]:
        owner["invoice_settings"]["default_payment_method"] = None
        tx.replace(owner)


def update(tx: Tx, method: JsonObject, params: JsonObject) -> JsonObject:
    """New billing details or a new expiry date."""
    assign(method, params, ("billing_details", "allow_redisplay"))
    for name in nested(params, "card"):
        if name not in ("exp_month", "exp_year"):
            raise not_in_sandbox(f"card[{name}]")
        method["card"][name] = integer(params["card"], name)
    tx.replace(method)
    return method


# Stripe lists no cards that belong to nobody; every id is greater than nothing.
OWNED = Condition("json_extract(body, '$.customer') > ?", "")
KIND = Kind(
    "payment_method",
    "payment_methods",
    param="payment_method",
    title="PaymentMethod",
    create=create,
    update=update,
    actions={"attach": attach, "detach": detach},
    find=_stored_or_ready_made,
    filters={"customer": field(), "type": field()},
    unasked=lambda _params: (OWNED,),
)
