"""What a test may ask of the sandbox itself: the truth, faults, the clock, forgotten keys."""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox import bank, faults, idempotency
from worker.sandbox.errors import JsonObject, Refusal, invalid
from worker.sandbox.store import Store, Tx

Control = Callable[[Tx, JsonObject], object]


def _payments(tx: Tx, _wish: JsonObject) -> object:
    return bank.payments(tx)


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


def _clock(tx: Tx, _wish: JsonObject) -> object:
    return {"now": tx.now}


def _advance_clock(tx: Tx, wish: JsonObject) -> object:
    seconds = wish.get("advance")
    if not isinstance(seconds, int) or seconds < 0:
        raise invalid("'advance' is a whole number of seconds, forward.", param="advance")
    tx.db.execute("UPDATE clock SET advanced = advanced + ?", (seconds,))
    return {"now": tx.now + seconds}


CONTROLS: dict[tuple[str, str], Control] = {
    ("GET", "payments"): _payments,
    ("GET", "faults"): _planned_faults,
    ("POST", "faults"): _plan_fault,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "forget_keys"): _forget_keys,
    ("GET", "clock"): _clock,
    ("POST", "clock"): _advance_clock,
}


def routes(store: Store) -> list[Route]:
    """One route per control; none needs the API key, the sandbox listens on loopback only."""
    return [
        Route(f"/_sandbox/{name}", _endpoint(store, control), methods=[method])
        for (method, name), control in CONTROLS.items()
    ]


def _endpoint(store: Store, control: Control) -> Callable[[Request], object]:
    async def answer(request: Request) -> Response:
        try:
            wish = json.loads(await request.body() or b"{}")
            if not isinstance(wish, dict):
                raise invalid("The body is a JSON object.")
            with store.transaction() as tx:
                return JSONResponse(control(tx, wish))
        except json.JSONDecodeError:
            return JSONResponse({"error": {"message": "The body is not JSON."}}, 400)
        except Refusal as refusal:
            return JSONResponse(refusal.answer.body, refusal.answer.status)

    return answer
