"""What payment intents and setup intents share: cards, and the way to the customer's bank."""

from __future__ import annotations

from worker.sandbox import payment_methods
from worker.sandbox.errors import JsonObject, invalid
from worker.sandbox.params import boolean, nested, text, web_address
from worker.sandbox.store import Tx, new_id

TITLES = {"payment_intent": "PaymentIntent", "setup_intent": "SetupIntent"}


def new_client_secret(intent_id: str) -> str:
    """What a browser shows to act on the intent."""
    return f"{intent_id}_secret_{new_id('x')[2:]}"


def take_types(intent: JsonObject, params: JsonObject) -> None:
    """How the customer may pay; the sandbox has cards only."""
    automatic = nested(params, "automatic_payment_methods")
    if automatic:
        intent["automatic_payment_methods"] = {
            "allow_redirects": automatic.get("allow_redirects", "always"),
            "enabled": boolean(automatic, "enabled"),
        }
    if "card" not in params.get("allowed_payment_method_types", ["card"]):
        raise invalid("The sandbox has cards only.", param="allowed_payment_method_types")


def choose_card(tx: Tx, intent: JsonObject, token: str) -> None:
    """The card the intent is to use: the customer's, or one that belongs to nobody."""
    method = payment_methods.usable(tx, token)
    if method["customer"] not in (None, intent["customer"]):
        raise invalid(
            f"The provided PaymentMethod {method['id']} belongs to another Customer. Please"
            f" include the Customer in the `customer` parameter on the {TITLES[intent['object']]}.",
            param="payment_method",
        )
    intent |= {
        "payment_method": method["id"],
        "status": "requires_confirmation",
        "next_action": None,
    }


def require_return_url(intent: JsonObject, params: JsonObject) -> None:
    """An intent open to methods that redirect cannot be confirmed without a way back."""
    automatic = intent["automatic_payment_methods"] or {"enabled": False}
    title = TITLES[intent["object"]]
    redirects = automatic["enabled"] and automatic["allow_redirects"] != "never"
    customer_there = params.get("off_session", "false") == "false"
    if redirects and customer_there and not text(params, "return_url"):
        raise invalid(
            f"This {title} is configured to accept payment methods enabled in your Dashboard."
            " Because some of these payment methods might redirect your customer off of your page,"
            " you must provide a `return_url`. If you don't want to accept redirect-based payment"
            " methods, set `automatic_payment_methods[enabled]` to `true` and"
            " `automatic_payment_methods[allow_redirects]` to `never` when creating Setup Intents"
            " and Payment Intents.",
            param="return_url",
        )


def ask_customer(tx: Tx, intent: JsonObject, params: JsonObject) -> None:
    """Send the customer to their bank, which here is a page of the sandbox."""
    intent["status"] = "requires_action"
    intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    if back := web_address(params, "return_url"):
        page = f"{tx.origin}/authenticate/{intent['id']}"
        intent["next_action"] = {
            "type": "redirect_to_url",
            "redirect_to_url": {"return_url": back, "url": page},
        }
        tx.db.execute("INSERT OR REPLACE INTO authentications VALUES (?, ?)", (intent["id"], back))
    tx.replace(intent)


def way_back(tx: Tx, intent_id: str) -> str | None:
    """Where the customer goes after the bank's page; kept after the intent has moved on."""
    row = tx.db.execute(
        "SELECT return_url FROM authentications WHERE intent = ?", (intent_id,)
    ).fetchone()
    return row[0] if row else None
