"""What a customer does in a browser: put a card in place, and answer their bank."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.sandbox import (
    checkout_sessions,
    clocks,
    intents,
    later,
    payment_attempts,
    payment_methods,
    setup_intents,
    templates,
)
from worker.sandbox.amounts import written
from worker.sandbox.contents import DUE
from worker.sandbox.errors import Answer, JsonObject, Refusal
from worker.sandbox.form import decode
from worker.sandbox.store import Store, Tx

Page = Callable[[Tx, str, JsonObject], Response]

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none';"
    " frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}
OUTCOMES: dict[tuple[str, str], Callable[[Tx, JsonObject], None]] = {
    ("payment_intent", "complete"): payment_attempts.authenticated,
    ("payment_intent", "fail"): payment_attempts.authentication_failed,
    ("setup_intent", "complete"): setup_intents.authenticated,
    ("setup_intent", "fail"): setup_intents.authentication_failed,
}
REDIRECT_STATUS = {"succeeded": "succeeded", "processing": "pending", "requires_action": "pending"}


def routes(store: Store, wake: Callable[[], None]) -> list[Route]:
    """The pages; like Stripe's own they need no API key, the id in the address is the key."""
    pages: dict[tuple[str, str], Page] = {
        ("GET", "/checkout/{id}"): _show_checkout,
        ("POST", "/checkout/{id}"): _save_card,
        ("GET", "/authenticate/{id}"): _show_authentication,
        ("POST", "/authenticate/{id}"): _authenticate,
    }
    return [
        Route(path, _endpoint(store, wake, page), methods=[method])
        for (method, path), page in pages.items()
    ]


def _endpoint(store: Store, wake: Callable[[], None], page: Page) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        form = decode((await request.body()).decode(errors="replace"))
        origin = str(request.base_url).rstrip("/")
        with store.transaction(origin=origin) as tx:
            later.run_due(tx, DUE)
            clocks.follow(tx, request.path_params["id"])
            response = page(tx, request.path_params["id"], form)
            later.run_due(tx, DUE)
        wake()
        return response

    return answer


def _show_checkout(tx: Tx, session_id: str, _form: JsonObject) -> Response:
    session = tx.find("checkout.session", session_id)
    if session is None or session["status"] != "open":
        return _closed(session)
    intent = tx.get("setup_intent", session["setup_intent"])
    return _checkout(tx, session, problem=(intent["last_setup_error"] or {}).get("message"))


def _save_card(tx: Tx, session_id: str, form: JsonObject) -> Response:
    """Once only: whoever clicks again is sent on to where the first click led."""
    session = tx.find("checkout.session", session_id)
    if session and session["status"] == "complete":
        return _go(_success_url(session))
    if session is None or session["status"] != "open":
        return _closed(session)
    number = str(form.get("number", ""))
    try:
        with tx.undone_on_refusal():
            method = payment_methods.create(tx, _card(tx, number))
            outcome = checkout_sessions.save(tx, session, method["id"])
    except Refusal as refusal:
        outcome = refusal.answer
    if isinstance(outcome, Answer):
        return _checkout(tx, session, number, outcome.body["error"]["message"])
    if outcome["next_action"]:
        return _go(outcome["next_action"]["redirect_to_url"]["url"])
    return _go(_success_url(session))


def _card(tx: Tx, number: str) -> JsonObject:
    """The page asks for nothing but the number: any other detail of a test card would do."""
    later_year = str(time.gmtime(tx.now).tm_year + 4)
    return {"type": "card", "card": {"number": number, "exp_month": "12", "exp_year": later_year}}


def _checkout(
    tx: Tx, session: JsonObject, number: str = "", problem: str | None = None
) -> Response:
    customer = tx.find("customer", session["customer"] or "") or {}
    who = customer.get("name") or customer.get("email") or customer.get("id")
    message = (session["custom_text"]["submit"] or {}).get("message")
    return _html(templates.checkout(who, message, session["cancel_url"], number, problem))


def _closed(session: JsonObject | None) -> Response:
    if session is None:
        return _html(templates.notice("Not found", "There is no such checkout page."), 404)
    if session["status"] == "complete":
        return _html(templates.notice("All done", "The card was saved; nothing is left to do."))
    return _html(templates.notice("Too late", "This checkout page is no longer open."), 410)


def _success_url(session: JsonObject) -> str:
    address: str = session["success_url"]
    return address.replace("{CHECKOUT_SESSION_ID}", session["id"])


def _show_authentication(tx: Tx, intent_id: str, _form: JsonObject) -> Response:
    intent, back = tx.find_any(intent_id), intents.way_back(tx, intent_id)
    if intent is None or back is None:
        return _nothing_to_authenticate()
    if intent["status"] != "requires_action":
        return _returned(tx, intent, back)
    return _html(templates.authentication(_question(tx, intent)))


def _question(tx: Tx, intent: JsonObject) -> str:
    details = tx.get("payment_method", intent["payment_method"])["card"]
    card = f"{details['brand'].title()} •••• {details['last4']}"
    if intent["object"] == "setup_intent":
        return f"Save {card} for payments to come?"
    return f"Pay {written(intent['amount'], intent['currency'])} with {card}?"


def _authenticate(tx: Tx, intent_id: str, form: JsonObject) -> Response:
    """Once only, as with the card."""
    intent, back = tx.find_any(intent_id), intents.way_back(tx, intent_id)
    outcome = OUTCOMES.get(((intent or {}).get("object", ""), str(form.get("outcome"))))
    if intent is None or back is None or outcome is None:
        return _nothing_to_authenticate()
    if intent["status"] == "requires_action":
        try:
            with tx.undone_on_refusal():
                outcome(tx, intent)
        except Refusal as refusal:
            return _html(templates.notice("It did not work", str(refusal)), 400)
    return _returned(tx, intent, back)


def _nothing_to_authenticate() -> Response:
    return _html(templates.notice("Not found", "There is nothing to authenticate here."), 404)


def _returned(tx: Tx, intent: JsonObject, back: str) -> Response:
    """To the merchant, told how it went; from a checkout page, on to where that one leads."""
    if session := checkout_sessions.of_setup_intent(tx, intent["id"]):
        checkout_sessions.complete_if_set_up(tx, session)
        return _go(_success_url(session) if session["status"] == "complete" else back)
    kind = intent["object"]
    told = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": REDIRECT_STATUS.get(intent["status"], "failed"),
    }
    parts = urlsplit(back)
    query = "&".join(part for part in (parts.query, urlencode(told)) if part)
    return _go(parts._replace(query=query).geturl())


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, HEADERS)


def _go(address: str) -> Response:
    return RedirectResponse(address, 303, HEADERS)
