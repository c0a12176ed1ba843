"""One installation, its account at Stripe with everything that goes wrong, and time that jumps."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import stripe
import uvicorn
from redis import Redis
from sqlalchemy import Engine

from tests.api.client import doors_to
from tests.builders import add_customer_with_card
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from worker.api.access import Doors
from worker.api.app import build_app
from worker.clock import Clock
from worker.due import DUE, Tools, done, sweep
from worker.sandbox.cards import CARDS
from worker.sandbox.faults import FAULTS
from worker.stripe_calls import API_VERSION, KeyedRequests
from worker.stripe_gateway import StripeGateway

PATIENCE = 0.4  # seconds after which a call is given up
HANGING = PATIENCE + 0.1  # seconds for which Stripe lets a call hang: done when nobody waits
DELAYED = 1.0  # seconds by which a webhook is late
COLLECTED = ("charge", "withdrawal", "refund", "stripe_event")
CARD_NAMES = [f"pm_card_{card.names[0]}" for card in CARDS if card.attaches]

# Every call the product makes to have money moved, or to learn of it.
ENDPOINTS = (
    ("POST", "/v1/payment_intents"),
    ("GET", "/v1/payment_intents"),
    ("GET", "/v1/payment_intents/*"),
    ("POST", "/v1/payment_intents/*/confirm"),
    ("POST", "/v1/payment_intents/*/cancel"),
    ("POST", "/v1/payment_methods/*/attach"),
    ("POST", "/v1/customers/*"),
    ("GET", "/v1/customers/*"),
    ("POST", "/v1/refunds"),
    ("GET", "/v1/refunds"),
    ("GET", "/v1/refunds/*"),
    ("GET", "/v1/disputes"),
    ("GET", "/v1/disputes/*"),
    ("GET", "/v1/charges"),
    ("GET", "/v1/events"),
)
# Of what was done at Stripe alone we know only what it tells: a lie about it cannot be found out.
BELIEVED = (("GET", "/v1/refunds/*"), ("GET", "/v1/disputes/*"))
FAULTS_AT = [
    (name, endpoint)
    for name, when in FAULTS.items()
    for endpoint in ([("*", "*")] if when == "webhook" else ENDPOINTS)
    if when != "lie" or endpoint not in BELIEVED
]
# What an operator would have Stripe send.
HINTS: Any = [
    "payment_intent.succeeded",
    "payment_intent.requires_action",
    "payment_intent.canceled",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "customer.updated",
]


class Died(Exception):
    """The process ended here; what it had leased waits for the lease to run out."""


class JumpingClock(Clock):
    """Both times jump together, so leases and pauses run out as well."""

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def wall(self) -> datetime:
        return self.now()


class MortalRequests(KeyedRequests):
    """Its process dies at times: before a call is sent, or once it has taken effect."""

    def __init__(self, rng: Random, odds: float) -> None:
        super().__init__(timeout=(PATIENCE, PATIENCE))
        self.rng, self.odds = rng, odds

    def request(self, *call: Any) -> Any:  # type: ignore[override]
        fate = self.rng.random()
        if fate < self.odds / 2:
            raise Died("before")
        reply = super().request(*call)
        if fate < self.odds:
            raise Died("after")
        return reply


class MortalGateway(StripeGateway):
    """Impatient, and in danger at every call."""

    def __init__(self, sandbox: RunningSandbox, rng: Random, odds: float = 0.01) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.client = stripe.StripeClient(
            sandbox.api_key,
            base_addresses={"api": sandbox.url},
            stripe_version=API_VERSION,
            max_network_retries=0,
            http_client=MortalRequests(rng, odds),
        )
        self.intents = self.client.v1.payment_intents


@dataclass
class World:
    """What a schedule acts upon; `ahead` is how far time has jumped."""

    rng: Random
    engine: Engine
    redis: Redis
    sandbox: RunningSandbox
    gateway: StripeGateway
    ahead: timedelta = timedelta(0)
    customers: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def clock(self) -> Clock:
        return JumpingClock(self.ahead)

    @property
    def tools(self) -> Tools:
        return Tools(self.engine, self.redis, self.gateway, self.clock)

    def populate(self, how_many: int) -> None:
        """Every third customer has any of the cards there are, the others a good one."""
        for number in range(how_many):
            card = "pm_card_visa" if number % 3 else self.rng.choice(CARD_NAMES)
            customer_id = f"customer-{number:04}"
            add_customer_with_card(self.engine, self.sandbox, customer_id, card=card)
            self.customers.append(customer_id)

    def harm(self, fault: str, endpoint: tuple[str, str]) -> None:
        """Something will go wrong at this endpoint."""
        seconds = DELAYED if FAULTS[fault] == "webhook" else HANGING
        self.sandbox.fault(fault, *endpoint, seconds=seconds)

    def jump(self, span: timedelta) -> None:
        """For us and for Stripe."""
        self.ahead += span
        self.sandbox.advance(int(span.total_seconds()))

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Sweeps of every kind, and a second process that takes its own share, beside the body."""
        with ThreadPoolExecutor() as pool:
            running = [pool.submit(sweep, kind, self.tools) for kind in COLLECTED]
            running += [pool.submit(take_a_share, kind, self.tools) for kind in COLLECTED]
            yield
            for each in running:
                each.result()
        time.sleep(2 * (HANGING - PATIENCE))  # what still hangs ends before time jumps


def take_a_share(kind: str, tools: Tools) -> int:
    """What a sweep in another process would do with its first few rows."""
    return sum(done(kind, key, tools) for key in DUE[kind].find(tools))


@contextmanager
def serving(doors: Doors) -> Iterator[str]:
    """The product's own API, listening; where Stripe finds it."""
    server = uvicorn.Server(uvicorn.Config(build_app(doors), port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        time.sleep(0.01)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/webhooks/stripe"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def world_of(
    seed: int, directory: Path, engine: Engine, api_engine: Engine, redis: Redis
) -> Iterator[World]:
    """A world in which nothing has happened yet."""
    rng, doors = Random(seed), doors_to(api_engine, redis, Clock())
    secret = doors.webhook_secrets[0]
    with (
        serving(doors) as url,
        running_sandbox(directory, url, webhook_secret=secret) as sandbox,
    ):
        (endpoint,) = sandbox.client().v1.webhook_endpoints.list().data
        sandbox.client().v1.webhook_endpoints.update(endpoint.id, {"enabled_events": HINTS})
        yield World(rng, engine, redis, sandbox, MortalGateway(sandbox, Random(seed)))
