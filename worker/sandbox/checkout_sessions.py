"""Checkout sessions in setup mode: a page on which a customer puts a card in place.

open ─ a card is saved ─▶ complete
  └─ expire, or 24 hours ─▶ expired
"""

from __future__ import annotations

from worker.sandbox import later, setup_intents
from worker.sandbox.amounts import check_currency
from worker.sandbox.errors import Answer, JsonObject, invalid, not_in_sandbox
from worker.sandbox.events import happened
from worker.sandbox.filters import field
from worker.sandbox.kind import Kind
from worker.sandbox.later import DAY, MINUTE
from worker.sandbox.params import assign, integer, nested, require, text, web_address
from worker.sandbox.store import Tx, new_id, where

SUPPORTED = (
    "allowed_payment_method_types",
    "cancel_url",
    "client_reference_id",
    "currency",
    "custom_text",
    "customer",
    "expand",
    "expires_at",
    "metadata",
    "mode",
    "setup_intent_data",
    "success_url",
    "ui_mode",
)
TEXT_LENGTH_MAX = 1200


def create(tx: Tx, params: JsonObject) -> JsonObject:
    """A page to send a customer to."""
    for name in params:
        if name not in SUPPORTED:
            raise not_in_sandbox(name)
    if require(params, "mode") != "setup":
        raise invalid("The sandbox implements mode=setup only.", param="mode")
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise invalid("The sandbox implements ui_mode=hosted_page only.", param="ui_mode")
    session = _blank(tx)
    _take(tx, session, params)
    tx.add(session)
    later.at(tx, session["expires_at"], "checkout_session_expires", session["id"])
    return session


def _blank(tx: Tx) -> JsonObject:
    session_id = new_id("cs_test", 58)
    return {
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": None,
        "amount_total": None,
        "cancel_url": None,
        "client_reference_id": None,
        "created": tx.now,
        "currency": None,
        "custom_fields": [],
        "custom_text": dict.fromkeys(
            ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        ),
        "customer": None,
        "customer_details": None,
        "customer_email": None,
        "expires_at": tx.now + DAY,
        "livemode": False,
        "metadata": {},
        "mode": "setup",
        "payment_intent": None,
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required",
        "setup_intent": None,
        "status": "open",
        "subscription": None,
        "success_url": None,
        "ui_mode": "hosted_page",
        "url": f"{tx.origin}/checkout/{session_id}",
    }


def _take(tx: Tx, session: JsonObject, params: JsonObject) -> None:
    require(params, "success_url")
    for name in ("success_url", "cancel_url"):
        web_address(params, name)
    assign(session, params, ("success_url", "cancel_url", "client_reference_id"))
    # Stripe chooses the ways to pay by currency, unless they are named.
    if "allowed_payment_method_types" not in params:
        require(params, "currency")
    if "currency" in params:
        session["currency"] = check_currency(params["currency"])
    if "expires_at" in params:
        session["expires_at"] = _end(tx, params)
    session["custom_text"]["submit"] = _submit_text(params)
    session["setup_intent"] = _new_setup_intent(tx, params)["id"]
    session["customer"] = text(params, "customer")


def _end(tx: Tx, params: JsonObject) -> int:
    end = integer(params, "expires_at")
    if not tx.now + 30 * MINUTE <= end <= tx.now + DAY:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours from Checkout"
            " Session creation.",
            param="expires_at",
        )
    return end


def _submit_text(params: JsonObject) -> JsonObject | None:
    texts = nested(params, "custom_text")
    for name in texts:
        if name != "submit":
            raise not_in_sandbox(f"custom_text[{name}]")
    if not (submit := nested(texts, "submit")):
        return None
    message = text(submit, "message", param="custom_text[submit][message]") or ""
    if not 0 < len(message) <= TEXT_LENGTH_MAX:
        raise invalid(
            f"The text has 1 to {TEXT_LENGTH_MAX} characters.",
            param="custom_text[submit][message]",
        )
    return {"message": message}


def _new_setup_intent(tx: Tx, params: JsonObject) -> JsonObject:
    wishes = nested(params, "setup_intent_data")
    for name in wishes:
        if name not in ("description", "metadata"):
            raise not_in_sandbox(f"setup_intent_data[{name}]")
    shared = ("customer", "allowed_payment_method_types")
    asked = {name: params[name] for name in shared if name in params}
    return setup_intents.begin(tx, {**wishes, **asked})


def save(tx: Tx, session: JsonObject, method: str) -> JsonObject | Answer:
    """What the button on the page does; an answer says why the card was not taken."""
    intent = tx.get("setup_intent", session["setup_intent"])
    wish = {"payment_method": method, "return_url": session["url"]}
    outcome = setup_intents.confirm(tx, intent, wish)
    complete_if_set_up(tx, session)
    return outcome


def complete_if_set_up(tx: Tx, session: JsonObject) -> None:
    """The session is over once its setup intent has succeeded."""
    intent = tx.get("setup_intent", session["setup_intent"])
    if session["status"] != "open" or intent["status"] != "succeeded":
        return
    session |= {"status": "complete", "url": None, "customer_details": _details(tx, session)}
    tx.replace(session)
    happened(tx, "checkout.session.completed", session)


def _details(tx: Tx, session: JsonObject) -> JsonObject | None:
    if session["customer"] is None:
        return None
    customer = tx.get("customer", session["customer"])
    known = {name: customer[name] for name in ("address", "email", "name", "phone")}
    return {**known, "tax_exempt": "none", "tax_ids": []}


def of_setup_intent(tx: Tx, intent_id: str) -> JsonObject | None:
    """The session whose page a setup intent belongs to."""
    mine = tx.page("checkout.session", [where("setup_intent", intent_id)], "DESC", 1)
    return mine[0] if mine else None


def expire(tx: Tx, session: JsonObject, _params: JsonObject) -> JsonObject:
    """Close the page."""
    if session["status"] != "open":
        raise invalid(
            "Only Checkout Sessions with a status in ['open'] can be expired. This Checkout Session"
            f" has a status of `{session['status']}`."
        )
    session |= {"status": "expired", "url": None}
    tx.replace(session)
    happened(tx, "checkout.session.expired", session)
    intent = tx.get("setup_intent", session["setup_intent"])
    if intent["status"] in setup_intents.OPEN:
        setup_intents.cancel(tx, intent, {"cancellation_reason": "abandoned"})
    return session


def lapse(tx: Tx, session_id: str) -> None:
    """Its time is over; a page that was used stays as it is."""
    session = tx.find("checkout.session", session_id)
    if session and session["status"] == "open":
        expire(tx, session, {})


KIND = Kind(
    "checkout.session",
    "checkout/sessions",
    param="session",
    create=create,
    actions={"expire": expire},
    filters={"customer": field(), "payment_intent": field(), "status": field()},
)
