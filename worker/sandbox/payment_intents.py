"""Payment intents: one payment from wish to end. It succeeds at most once, whatever is asked.

requires_payment_method ─ a card ─▶ requires_confirmation ─ confirm ─▶ succeeded
        ▲                                   │
        └────────── declined ◀──────────────┤            any but succeeded ─ cancel ─▶ canceled
                                            └─ 3D Secure ─▶ requires_action
"""

from __future__ import annotations

from dataclasses import asdict

from worker.sandbox import bank, charges, payment_methods
from worker.sandbox.amounts import check_amount, check_currency
from worker.sandbox.cards import DECLINES, Decline
from worker.sandbox.errors import (
    Answer,
    JsonObject,
    card_error,
    invalid,
    missing_object,
    unexpected_state,
)
from worker.sandbox.events import happened
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, integer, nested, refuse, text
from worker.sandbox.store import Condition, Tx, new_id

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
PLAIN = (
    "description",
    "receipt_email",
    "setup_future_usage",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_group",
)
# Each of these would change whose money moves, when, or how much.
UNSUPPORTED = (
    "amount_details",
    "amount_to_confirm",
    "application_fee_amount",
    "confirmation_token",
    "customer_account",
    "hooks",
    "mandate_data",
    "on_behalf_of",
    "payment_method_data",
    "transfer_data",
)
ONLY_WITH_CONFIRM = ("off_session", "error_on_requires_action", "return_url", "mandate")
REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


def create(tx: Tx, params: JsonObject) -> JsonObject | Answer:
    """A wish to be paid, confirmed at once when asked."""
    refuse(params, UNSUPPORTED)
    confirming = boolean(params, "confirm")
    for name in ONLY_WITH_CONFIRM:
        if name in params and not confirming:
            raise invalid(f"'{name}' can only be passed with confirm=true.", param=name)
    intent = _blank(tx)
    tx.add(intent)
    _take(tx, intent, params)
    tx.replace(intent)
    happened(tx, "payment_intent.created", intent)
    return confirm(tx, intent, {**params, "payment_method": ""}) if confirming else intent


def _blank(tx: Tx) -> JsonObject:
    intent_id = new_id("pi")
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": 0,
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{intent_id}_secret_{new_id('x')[2:]}",
        "confirmation_method": "automatic",
        "created": tx.now,
        "currency": None,
        "customer": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "payment_method": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "status": "requires_payment_method",
        **dict.fromkeys(PLAIN),
    }


def _take(tx: Tx, intent: JsonObject, params: JsonObject) -> None:
    """Put the parameters of create or update into the intent."""
    if params.get("capture_method", "automatic_async") not in ("automatic", "automatic_async"):
        refuse(params, ("capture_method",))
    if params.get("confirmation_method", "automatic") != "automatic":
        refuse(params, ("confirmation_method",))
    if "currency" in params:
        intent["currency"] = check_currency(params["currency"])
    if "amount" in params:
        intent["amount"] = integer(params, "amount")
    check_amount(intent["amount"], intent["currency"])
    if customer := text(params, "customer"):
        if tx.find("customer", customer) is None:
            raise missing_object("customer", customer, "customer")
        intent["customer"] = customer
    _take_types(intent, params)
    assign(intent, params, PLAIN)
    if token := text(params, "payment_method"):
        _choose(tx, intent, token)


def _take_types(intent: JsonObject, params: JsonObject) -> None:
    automatic = nested(params, "automatic_payment_methods")
    if automatic:
        intent["automatic_payment_methods"] = {
            "allow_redirects": automatic.get("allow_redirects", "always"),
            "enabled": boolean(automatic, "enabled"),
        }
    if "card" not in params.get("allowed_payment_method_types", ["card"]):
        raise invalid("The sandbox has cards only.", param="allowed_payment_method_types")


def _choose(tx: Tx, intent: JsonObject, token: str) -> None:
    method = payment_methods.usable(tx, token)
    if method["customer"] not in (None, intent["customer"]):
        raise invalid(
            f"The provided PaymentMethod {method['id']} belongs to another Customer. Please"
            " include the Customer in the `customer` parameter on the PaymentIntent.",
            param="payment_method",
        )
    intent["payment_method"] = method["id"]
    intent["status"] = "requires_confirmation"


def update(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject:
    """Other words always; another amount or card only while nothing was paid."""
    refuse(params, UNSUPPORTED)
    words = ("metadata", "description", "receipt_email", "expand")
    if intent["status"] not in OPEN and (fixed := [name for name in params if name not in words]):
        raise unexpected_state(
            f"This PaymentIntent's {fixed[0]} could not be updated because it has a status of"
            f" {intent['status']}. You may only update the {fixed[0]} of a PaymentIntent with one"
            f" of the following statuses: {', '.join(OPEN)}.",
            intent,
        )
    _take(tx, intent, params)
    tx.replace(intent)
    return intent


def confirm(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject | Answer:
    """Charge the card now; a decline is an answer whose effects stay."""
    refuse(params, UNSUPPORTED)
    _require_confirmable(intent)
    if token := text(params, "payment_method"):
        _choose(tx, intent, token)
    _require_ready(intent, params)
    assign(intent, params, ("setup_future_usage", "receipt_email", "shipping"))
    method = payment_methods.usable(tx, intent["payment_method"])
    off_session = params.get("off_session", "false") != "false"
    if bank.wants_customer(bank.card_of(tx, method["id"]), off_session=off_session):
        if boolean(params, "error_on_requires_action"):
            return _declined(tx, intent, method, DECLINES["authentication_required"])
        if not off_session:
            return _ask_customer(tx, intent, params)
    charge, decline = charges.make(tx, intent, method)
    intent["latest_charge"] = charge["id"]
    if decline:
        return _declined(tx, intent, method, decline, charge["id"])
    return _succeeded(tx, intent, method)


def _require_confirmable(intent: JsonObject) -> None:
    if intent["status"] == "succeeded":
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it has already succeeded after being"
            " previously confirmed.",
            intent,
        )
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}."
            f" Only a PaymentIntent with one of the following statuses may be confirmed:"
            f" {', '.join(OPEN)}.",
            intent,
        )


def _require_ready(intent: JsonObject, params: JsonObject) -> None:
    if intent["payment_method"] is None:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can"
            " either update the PaymentIntent with a payment method and then confirm it again, or"
            " confirm it again directly with a payment method or ConfirmationToken.",
            intent,
        )
    automatic = intent["automatic_payment_methods"] or {"enabled": False}
    redirects = automatic["enabled"] and automatic["allow_redirects"] != "never"
    if redirects and not text(params, "return_url"):
        raise invalid(
            "This PaymentIntent is configured to accept payment methods enabled in your Dashboard."
            " Because some of these payment methods might redirect your customer off of your page,"
            " you must provide a `return_url`. If you don't want to accept redirect-based payment"
            " methods, set `automatic_payment_methods[enabled]` to `true` and"
            " `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents"
            " and Payment Intents.",
            param="return_url",
        )


def _ask_customer(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject:
    intent["status"] = "requires_action"
    intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    if url := text(params, "return_url"):
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": url, "url": url},
        }
    tx.replace(intent)
    happened(tx, "payment_intent.requires_action", intent)
    return intent


def _declined(
    tx: Tx, intent: JsonObject, method: JsonObject, decline: Decline, charge: str | None = None
) -> Answer:
    facts = {**asdict(decline), "charge": charge, "payment_method": method}
    intent["status"] = "requires_payment_method"
    intent["payment_method"] = None
    intent["next_action"] = None
    intent["last_payment_error"] = card_error(**facts).body["error"]
    tx.replace(intent)
    happened(tx, "payment_intent.payment_failed", intent)
    return card_error(**facts, payment_intent=intent)


def _succeeded(tx: Tx, intent: JsonObject, method: JsonObject) -> JsonObject:
    intent["status"] = "succeeded"
    intent["amount_received"] = intent["amount"]
    intent["last_payment_error"] = None
    intent["next_action"] = None
    tx.replace(intent)
    if intent["setup_future_usage"] and intent["customer"]:
        payment_methods.attach_to(tx, method, intent["customer"])
    elif method["customer"] is None:
        bank.spend(tx, method["id"])
    happened(tx, "payment_intent.succeeded", intent)
    return intent


def cancel(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject:
    """Give the payment up."""
    reason = text(params, "cancellation_reason")
    if reason and reason not in REASONS:
        raise invalid(
            f"Invalid cancellation_reason: must be one of {', '.join(REASONS)}",
            param="cancellation_reason",
        )
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}."
            " Only a PaymentIntent with one of the following statuses may be canceled:"
            f" {', '.join(OPEN)}.",
            intent,
        )
    intent |= {
        "status": "canceled",
        "canceled_at": tx.now,
        "cancellation_reason": reason,
        "next_action": None,
    }
    tx.replace(intent)
    happened(tx, "payment_intent.canceled", intent)
    return intent


def _conditions(params: JsonObject) -> list[Condition]:
    customer = text(params, "customer")
    return [Condition("json_extract(body, '$.customer') = ?", customer)] if customer else []


KIND = Kind(
    "payment_intent",
    "payment_intents",
    param="intent",
    create=create,
    update=update,
    actions={"confirm": confirm, "cancel": cancel},
    conditions=_conditions,
)
