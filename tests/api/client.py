"""The API as it is built for production, on real servers, and a settler that runs when told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from httpx import ASGITransport, AsyncClient, Response
from redis import Redis
from sqlalchemy import Engine

from schemas.events import Event
from schemas.inbox import PARTITIONS
from worker.api.access import Doors
from worker.api.app import build_app
from worker.clock import Clock
from worker.inbox import Inbox
from worker.keys import SCOPES, create_key
from worker.links import Links
from worker.settler import Settler
from worker.stripe_gateway import StripeGateway

TRACK_FIX = "/api/v1/billing/track_fix"
Headers = dict[str, str | bytes]


WEBHOOK_SECRETS = ("whsec_of_today", "whsec_of_tomorrow")
NOWHERE = "127.0.0.1:1"  # nothing listens there, so a connection is refused at once


@dataclass
class Api:
    """The API, and what stands behind it."""

    doors: Doors
    engine: Engine  # the worker's
    redis: Redis  # the inbox, whatever the API itself is told

    def __post_init__(self) -> None:
        # An error that escapes would be told to the server, which answers 500 by itself.
        self.app = ASGITransport(build_app(self.doors), raise_app_exceptions=False)
        self.admin = self.key()

    def key(
        self,
        *scopes: str,
        customers: Sequence[str] | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """A fresh API key; without scopes it has all."""
        return create_key(
            "a test", scopes or SCOPES, customers, expires_at, self.engine, self.doors.clock
        )

    def ask(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> Response:
        """One request, with these headers alone."""

        async def answered() -> Response:
            async with AsyncClient(transport=self.app, base_url="http://fixbill") as client:
                sent = [(name.encode(), as_text(value)) for name, value in (headers or {}).items()]
                return await client.request(method, path, headers=sent, content=body)

        return asyncio.run(answered())

    def post(
        self, body: object, *, key: str | None = None, headers: Headers | None = None
    ) -> Response:
        """An event, events, or bytes as they are."""
        return self.ask("POST", TRACK_FIX, self.signed(key) | (headers or {}), as_bytes(body))

    def wait_for(self, body: object, *, key: str | None = None, seconds: int = 10) -> Response:
        """Posted, and answered when it is settled."""
        return self.post(body, key=key, headers={"Prefer": f"wait={seconds}"})

    def usage(self, customer_id: str = "acme", key: str | None = None) -> Response:
        return self.ask("GET", f"/api/v1/customers/{customer_id}/usage", self.signed(key))

    def signed(self, key: str | None = None) -> Headers:
        return {"Authorization": f"Bearer {key or self.admin}"}

    def settled(self) -> None:
        """Everything in the inbox is settled when this returns."""
        settle_inbox(self.engine, self.redis, self.doors.clock)
        assert Inbox(self.redis).depth().entries == 0

    @contextmanager
    def settling(self) -> Iterator[None]:
        """A settler is at work beside the requests."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.005):
                settle_inbox(self.engine, self.redis, self.doors.clock)

        settler = threading.Thread(target=work)
        settler.start()
        try:
            yield
        finally:
            stop.set()
            settler.join()

    def behind(self, **changes: Any) -> Api:
        """The same API with other doors, such as a Redis that is away."""
        return Api(replace(self.doors, **changes), self.engine, self.redis)


def settle_inbox(engine: Engine, redis: Redis, clock: Clock) -> None:
    """One turn of a settler that ends as soon as nothing is left to settle."""
    inbox = Inbox(redis)
    settler = Settler(engine, redis, clock, trust_redis=True)
    assert settler.turn(range(PARTITIONS), lambda: inbox.depth().entries == 0)


def as_text(value: str | bytes) -> bytes:
    """As it goes over the wire, be it text or not."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")


def as_bytes(body: object) -> bytes:
    if isinstance(body, Event):
        return body.to_bytes()
    if isinstance(body, list):
        return b"[" + b",".join(map(as_bytes, body)) + b"]"
    assert isinstance(body, bytes)
    return body


def problem_in(response: Response, status: int) -> dict[str, Any]:
    """The problem that was answered, which must be one, with this status."""
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert {"type", "title"} <= problem.keys()
    return problem


def doors_to(engine: Engine, redis: Redis, clock: Clock) -> Doors:
    return Doors(
        engine,
        redis,
        clock,
        webhook_secrets=WEBHOOK_SECRETS,
        stripe=StripeGateway("sk_test_nowhere", f"http://{NOWHERE}"),
        links=Links(f"http://{NOWHERE}", "a secret for links"),
    )
