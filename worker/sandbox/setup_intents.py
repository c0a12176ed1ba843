"""Setup intents: a card put in place for payments to come.

requires_payment_method ─ a card ─▶ requires_confirmation ─ confirm ─▶ succeeded
        ▲                                   │
        └──── declined, or 3D Secure failed ┤            any but succeeded ─ cancel ─▶ canceled
                                            └─ 3D Secure ─▶ requires_action ─▶ either
"""

from __future__ import annotations

from dataclasses import asdict

from worker.sandbox import bank, intents, payment_methods
from worker.sandbox.cards import Decline
from worker.sandbox.errors import (
    Answer,
    JsonObject,
    card_error,
    error,
    invalid,
    unexpected_state,
)
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, refuse, text, word
from worker.sandbox.store import Tx, new_id

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
USAGES = ("off_session", "on_session")
UNSUPPORTED = (
    "attach_to_self",
    "confirmation_token",
    "customer_account",
    "excluded_payment_method_types",
    "flow_directions",
    "mandate_data",
    "on_behalf_of",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
    "single_use",
)
REASONS = ("abandoned", "requested_by_customer", "duplicate")


def create(tx: Tx, params: JsonObject) -> JsonObject | Answer:
    """A wish to charge a card later, confirmed at once when asked."""
    refuse(params, UNSUPPORTED)
    confirming = boolean(params, "confirm")
    if "return_url" in params and not confirming:
        raise invalid("'return_url' can only be passed with confirm=true.", param="return_url")
    intent = begin(tx, params)
    return confirm(tx, intent, {**params, "payment_method": ""}) if confirming else intent


def begin(tx: Tx, params: JsonObject) -> JsonObject:
    """An intent that waits for its card or its confirmation."""
    intent = _blank(tx)
    _take(tx, intent, params)
    tx.add(intent)
    happened(tx, "setup_intent.created", intent)
    return intent


def _blank(tx: Tx) -> JsonObject:
    intent_id = new_id("seti")
    return {
        "id": intent_id,
        "object": "setup_intent",
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": intents.new_client_secret(intent_id),
        "created": tx.now,
        "customer": None,
        "description": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": {},
        "next_action": None,
        "payment_method": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": "off_session",
    }


def _take(tx: Tx, intent: JsonObject, params: JsonObject) -> None:
    intent["usage"] = word(params, "usage", USAGES) or "off_session"
    if customer := text(params, "customer"):
        intent["customer"] = tx.named("customer", customer, "customer")["id"]
    intents.take_types(intent, params)
    assign(intent, params, ("description",))
    if token := text(params, "payment_method"):
        intents.choose_card(tx, intent, token)


def confirm(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject | Answer:
    """Ask the card's bank; the customer is there, so it may want to see them."""
    refuse(params, UNSUPPORTED)
    _require_open(intent, "confirm")
    if token := text(params, "payment_method"):
        intents.choose_card(tx, intent, token)
    if intent["payment_method"] is None:
        raise unexpected_state(
            "You cannot confirm this SetupIntent because it's missing a payment method. Update the"
            " SetupIntent with a payment method and then confirm it again.",
            intent,
        )
    intents.require_return_url(intent, params)
    method = payment_methods.usable(tx, intent["payment_method"])
    if bank.wants_customer(tx, method["id"], off_session=False):
        intents.ask_customer(tx, intent, params)
        happened(tx, "setup_intent.requires_action", intent)
        return intent
    return _settled(tx, intent, method)


def _require_open(intent: JsonObject, verb: str) -> None:
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"You cannot {verb} this SetupIntent because it has a status of {intent['status']}."
            f" Only a SetupIntent with one of the following statuses may be {verb}ed:"
            f" {', '.join(OPEN)}.",
            intent,
        )


def _settled(tx: Tx, intent: JsonObject, method: JsonObject) -> JsonObject | Answer:
    """The bank checks the card, which then belongs to the customer."""
    if decline := payment_methods.refusal(tx, method):
        return _declined(tx, intent, method, decline)
    if intent["customer"]:
        payment_methods.attach_to(tx, method, intent["customer"])
    if intent["usage"] == "off_session":
        bank.set_up(tx, method["id"])
    intent |= {"status": "succeeded", "next_action": None, "last_setup_error": None}
    tx.replace(intent)
    happened(tx, "setup_intent.succeeded", intent)
    return intent


def _declined(tx: Tx, intent: JsonObject, method: JsonObject, decline: Decline) -> Answer:
    facts = {**asdict(decline), "payment_method": method}
    _failed(tx, intent, card_error(**facts))
    return card_error(**facts, setup_intent=intent)


def _failed(tx: Tx, intent: JsonObject, answer: Answer) -> None:
    intent |= {
        "status": "requires_payment_method",
        "payment_method": None,
        "next_action": None,
        "last_setup_error": answer.body["error"],
    }
    tx.replace(intent)
    happened(tx, "setup_intent.setup_failed", intent)


def authenticated(tx: Tx, intent: JsonObject) -> None:
    """The customer was at their bank, and the bank knew them."""
    _settled(tx, intent, payment_methods.usable(tx, intent["payment_method"]))


def authentication_failed(tx: Tx, intent: JsonObject) -> None:
    """The bank did not know the customer; the card is not put in place."""
    failure = error(
        400,
        "invalid_request_error",
        "The latest attempt to set up the payment method has failed because authentication failed.",
        code="setup_intent_authentication_failure",
        payment_method=tx.get("payment_method", intent["payment_method"]),
    )
    _failed(tx, intent, failure)


def cancel(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject:
    """Give it up; the card is not put in place."""
    reason = word(params, "cancellation_reason", REASONS)
    _require_open(intent, "cancel")
    intent |= {"status": "canceled", "cancellation_reason": reason, "next_action": None}
    tx.replace(intent)
    happened(tx, "setup_intent.canceled", intent)
    return intent


KIND = Kind(
    "setup_intent",
    "setup_intents",
    param="intent",
    create=create,
    actions={"confirm": confirm, "cancel": cancel},
    filters={"customer": field(), "payment_method": field()},
)
