"""What a test may ask of the sandbox itself: the truth, faults, the clock, forgotten keys."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox import (
    bank,
    charges,
    clocks,
    disputes,
    events,
    faults,
    idempotency,
    later,
    webhook_endpoints,
)
from worker.sandbox.contents import DUE
from worker.sandbox.errors import JsonObject, Refusal, invalid
from worker.sandbox.store import Store, Tx

Control = Callable[[Tx, JsonObject], object]


def _payments(tx: Tx, _wish: JsonObject) -> object:
    return bank.payments(tx)


def _refunds(tx: Tx, _wish: JsonObject) -> object:
    return bank.refunds(tx)


def _disputes(tx: Tx, _wish: JsonObject) -> object:
    return bank.disputes(tx)


def _events(tx: Tx, wish: JsonObject) -> object:
    return events.about(tx, str(wish.get("customer")))


def _begin_dispute(tx: Tx, wish: JsonObject) -> object:
    intent = tx.find("payment_intent", str(wish.get("payment_intent")))
    charge = charges.successful(tx, intent) if intent else None
    if charge is None or charge["disputed"]:
        raise invalid("'payment_intent' names one that was paid and is not yet disputed.")
    reason = wish.get("reason", "fraudulent")
    amount = wish.get("amount", charge["amount"])
    if reason not in disputes.REASONS:
        raise invalid(f"A reason is one of {', '.join(disputes.REASONS)}.", param="reason")
    if not isinstance(amount, int) or not 0 < amount <= charge["amount"]:
        raise invalid(f"'amount' is from 1 to {charge['amount']}.", param="amount")
    inquiry = bool(wish.get("inquiry", False))
    return disputes.begin(tx, charge, reason, amount, inquiry=inquiry)


def _plan_fault(tx: Tx, wish: JsonObject) -> object:
    faults.plan(tx, wish)
    return faults.planned(tx)


def _planned_faults(tx: Tx, _wish: JsonObject) -> object:
    return faults.planned(tx)


def _clear_faults(tx: Tx, _wish: JsonObject) -> object:
    faults.clear(tx)
    return []


def _forget_keys(tx: Tx, _wish: JsonObject) -> object:
    return {"forgotten": idempotency.forget(tx)}


def _clock(tx: Tx, wish: JsonObject) -> object:
    if "customer" not in wish:
        return {"now": tx.clock, "next": clocks.next_due(tx, None)}
    customer = tx.named("customer", str(wish["customer"]), "customer")
    clocks.follow(tx, customer["id"])
    due = clocks.next_due(tx, customer["id"])
    return {"customer": customer["id"], "now": tx.now, "next": due}


def _advance_clock(tx: Tx, wish: JsonObject) -> object:
    seconds = wish.get("advance")
    if not isinstance(seconds, int) or seconds < 0:
        raise invalid("'advance' is a whole number of seconds, forward.", param="advance")
    if "customer" in wish:
        customer = tx.named("customer", str(wish["customer"]), "customer")
        clocks.advance_customer(tx, customer["id"], seconds)
    else:
        clocks.advance(tx, seconds)
    later.run_due(tx, DUE)
    return _clock(tx, wish)


CONTROLS: dict[tuple[str, str], Control] = {
    ("GET", "payments"): _payments,
    ("GET", "refunds"): _refunds,
    ("GET", "disputes"): _disputes,
    ("POST", "disputes"): _begin_dispute,
    ("GET", "events"): _events,
    ("GET", "faults"): _planned_faults,
    ("POST", "faults"): _plan_fault,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "webhook_endpoints/roll"): webhook_endpoints.roll,
    ("POST", "webhook_endpoints/{id}/roll"): webhook_endpoints.roll,
    ("POST", "events/{id}/resend"): webhook_endpoints.resend,
    ("POST", "forget_keys"): _forget_keys,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _advance_clock,
}


def routes(store: Store, wake: Callable[[], None]) -> list[Route]:
    """One route per control; none needs the API key, the sandbox listens on loopback only."""
    return [
        Route(f"/_sandbox/{name}", _endpoint(store, wake, control), methods=[method])
        for (method, name), control in CONTROLS.items()
    ]


def _endpoint(
    store: Store, wake: Callable[[], None], control: Control
) -> Callable[[Request], object]:
    async def reply(request: Request) -> Response:
        try:
            wish = json.loads(await request.body() or b"{}")
            if not isinstance(wish, dict):
                raise invalid("The body is a JSON object.")
            with store.transaction() as tx:
                later.run_due(tx, DUE)
                wish = {**request.query_params, **wish, **request.path_params}
                clocks.follow(tx, *map(wish.get, clocks.NAMES))
                answer = control(tx, wish)
            wake()
            return JSONResponse(answer)
        except json.JSONDecodeError:
            return JSONResponse({"error": {"message": "The body is not JSON."}}, 400)
        except Refusal as refusal:
            return JSONResponse(refusal.answer.body, refusal.answer.status)

    return reply
