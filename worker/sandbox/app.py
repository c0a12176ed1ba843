"""START HERE: the life of one API call, and the HTTP surface around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox import calls, controls, faults, later, pages, params
from worker.sandbox.calls import Call
from worker.sandbox.contents import DUE
from worker.sandbox.errors import Answer, Refusal, error, key_in_use, server_error
from worker.sandbox.idempotency import recall, remember
from worker.sandbox.replies import broken, reply
from worker.sandbox.resources import perform
from worker.sandbox.store import Store
from worker.sandbox.webhooks import Webhooks


@dataclass
class Sandbox:
    """What one running sandbox holds."""

    store: Store
    api_key: str
    webhooks: Webhooks
    keys_in_use: set[str] = field(default_factory=set)

    async def serve(self, request: Request) -> Response:
        """Who asks, what goes wrong, what was answered before, what is done now."""
        call = await calls.read(request)
        try:
            calls.admit(call, self.api_key)
            fault = self._fault(call)
            if fault and fault.when == "before":
                return broken(call, fault, server_error())
            with self._key_held(call):
                if fault and fault.when == "during":
                    await asyncio.sleep(fault.seconds)
                kept = server_error() if fault and fault.name == "http_500_after" else None
                answer = self._execute(call, kept)
        except Refusal as refusal:
            return reply(call, refusal.answer)
        self.webhooks.wake()
        return broken(call, fault, answer) if fault else reply(call, answer)

    def _fault(self, call: Call) -> faults.Fault | None:
        with self.store.transaction() as tx:
            later.run_due(tx, DUE)
            return faults.strike(tx, call.method, call.path)

    @contextmanager
    def _key_held(self, call: Call) -> Iterator[None]:
        """A second call with the key of one still running is turned away."""
        if call.key is None:
            yield
            return
        if call.key in self.keys_in_use:
            raise Refusal(key_in_use(call.key))
        self.keys_in_use.add(call.key)
        try:
            yield
        finally:
            self.keys_in_use.discard(call.key)

    def _execute(self, call: Call, kept: Answer | None) -> Answer:
        """Do it once: effect, events and the answer under its key are one transaction."""
        with self.store.transaction(call.request_id, call.key, call.origin) as tx:
            if call.key and (earlier := recall(tx, call)):
                return earlier
            try:
                with tx.undone_on_refusal():
                    answer = perform(tx, call)
                    later.run_due(tx, DUE)
            except Refusal as refusal:
                if not refusal.begun:
                    raise
                answer = refusal.answer
            remember(tx, call, kept or answer)
        return kept or answer


async def _healthy(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _crashed(_request: Request, problem: Exception) -> Response:
    """A fault of the sandbox itself, in a form the SDK understands; the traceback is logged."""
    answer = error(500, "api_error", f"The sandbox failed: {problem!r}")
    return JSONResponse(answer.body, answer.status)


def build(store: Store, api_key: str, webhooks: Webhooks) -> Starlette:
    """The sandbox as an ASGI application."""
    sandbox = Sandbox(store, api_key, webhooks)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # The SDK's types take half a second to load: not at the cost of the first call.
        warming = asyncio.create_task(asyncio.to_thread(params.known, "payment_intent", "create"))
        delivering = asyncio.create_task(webhooks.run())
        yield
        delivering.cancel()
        with suppress(asyncio.CancelledError):
            await delivering
        await warming

    return Starlette(
        routes=[
            Route("/_sandbox/healthz", _healthy),
            *controls.routes(store, webhooks.wake),
            *pages.routes(store, webhooks.wake),
            Route("/v1/{path:path}", sandbox.serve, methods=["GET", "POST", "DELETE"]),
        ],
        exception_handlers={Exception: _crashed},
        lifespan=lifespan,
    )
