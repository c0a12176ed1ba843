"""Payment intents: one payment from wish to end. It succeeds at most once, whatever is asked.

requires_payment_method ─ a card ─▶ requires_confirmation ─ confirm ─▶ succeeded
        ▲                                   │
        └────────── declined ◀──────────────┤            open ─ cancel ─▶ canceled
                                            ├─ 3D Secure ─▶ requires_action ─▶ charged or failed
                                            └─ a slow bank ─▶ processing ─▶ succeeded or declined
"""

from __future__ import annotations

from worker.sandbox import bank, intents, payment_attempts, payment_methods
from worker.sandbox.amounts import check_amount, check_currency
from worker.sandbox.cards import DECLINES
from worker.sandbox.errors import Answer, JsonObject, invalid, unexpected_state
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.params import assign, boolean, integer, refuse, text, word
from worker.sandbox.store import Tx, new_id

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
    "excluded_payment_method_types",
    "hooks",
    "mandate_data",
    "on_behalf_of",
    "payment_details",
    "payment_method_configuration",
    "payment_method_data",
    "payment_method_options",
    "radar_options",
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
        "client_secret": intents.new_client_secret(intent_id),
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
        intent["customer"] = tx.named("customer", customer, "customer")["id"]
    intents.take_types(intent, params)
    assign(intent, params, PLAIN)
    if token := text(params, "payment_method"):
        intents.choose_card(tx, intent, token)


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
        intents.choose_card(tx, intent, token)
    _require_ready(intent, params)
    assign(intent, params, ("setup_future_usage", "receipt_email", "shipping"))
    method = payment_methods.usable(tx, intent["payment_method"])
    off_session = params.get("off_session", "false") != "false"
    wanted = bank.wants_customer(tx, method["id"], off_session=off_session)
    if wanted and boolean(params, "error_on_requires_action"):
        return payment_attempts.decline(tx, intent, method, DECLINES["authentication_required"])
    if wanted and not off_session:
        intents.ask_customer(tx, intent, params)
        happened(tx, "payment_intent.requires_action", intent)
        return intent
    return payment_attempts.charge(tx, intent, method, authenticated=not wanted)


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
    intents.require_return_url(intent, params)


def _confirmed(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject | Answer:
    """By a caller, and not by the invoice it may belong to."""
    outcome = confirm(tx, intent, params)
    payment_attempts.tell_invoice(tx, intent)
    return outcome


def cancel(tx: Tx, intent: JsonObject, params: JsonObject) -> JsonObject:
    """Give the payment up."""
    reason = word(params, "cancellation_reason", REASONS)
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


KIND = Kind(
    "payment_intent",
    "payment_intents",
    param="intent",
    create=create,
    update=update,
    actions={"confirm": _confirmed, "cancel": cancel},
    filters={"customer": field()},
)
