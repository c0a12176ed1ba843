"""Every call the gateway makes, as it goes over the wire."""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import stripe as sdk

from schemas.plans import load_plans
from tests.builders import PLAN_DATE
from tests.collecting import CONFIRM, CREATE, Case
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.drift import Window
from worker.collect import create, freeze
from worker.stripe_calls import API_VERSION, KeylessPost, StripeRefused
from worker.stripe_gateway import READ, WRITTEN, StripeGateway

# Everything that is public on the gateway and asks Stripe for something.
CALLS = sorted(
    name
    for name, member in vars(StripeGateway).items()
    if inspect.isfunction(member) and not name.startswith("_")
)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # as the SDK makes up keys


@dataclass
class Wire:
    """What was sent, and always the same refusal for it."""

    url: str = ""
    sent: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    refusal = json.dumps({"error": {"type": "invalid_request_error", "message": "no"}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wire.sent.append((self.command, self.path, dict(self.headers)))
            self.send_response(400)
            self.send_header("Content-Length", str(len(refusal)))
            self.end_headers()
            self.wfile.write(refusal)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_facts: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        wire.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield wire
        server.shutdown()
        thread.join()


# What a parameter of this name is given; any other is given an id.
ARGUMENTS: dict[str, object] = {
    "parameters": {},
    "since": datetime(2026, 3, 1, tzinfo=UTC),
    "window": Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)),
    "return_url": "https://fixbill.example/back",
    "kind": "charges",
    "version": load_plans().pinned("pro", PLAN_DATE),
    "ends": True,
    "more": {},
}


def call(gateway: StripeGateway, name: str) -> None:
    method: Callable[..., Any] = getattr(gateway, name)
    wanted = [
        each
        for each in inspect.signature(method).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    with suppress(StripeRefused):
        result = method(**{each.name: ARGUMENTS.get(each.name, "of_ours") for each in wanted})
        if isinstance(result, Iterator):
            list(result)


@pytest.mark.parametrize("name", CALLS)
def test_every_call_pins_the_version_and_every_post_carries_a_key_of_ours(
    wire: Wire, name: str
) -> None:
    gateway = StripeGateway("sk_test_of_nobody", wire.url, retries=0)

    call(gateway, name)

    assert wire.sent
    for method, path, headers in wire.sent:
        assert headers["Stripe-Version"] == API_VERSION, path
        if method == "POST":
            key = headers["Idempotency-Key"]
            assert key, path
            assert not UUID.fullmatch(key), f"{path}: {key}"


def test_a_key_stays_the_same_within_one_call_however_often_it_is_sent(
    sandbox: RunningSandbox, case: Case
) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    sandbox.fault("html_502", "POST", CREATE, times=2)

    answer = create(attempt, case.engine, case.gateway)

    assert answer.kind == "ready"
    assert case.intents() == 1


def test_a_charge_that_is_cut_off_is_sent_again_under_its_key(case: Case) -> None:
    case.sandbox.fault("cut_after", "POST", CONFIRM)

    assert case.collect() == "paid"

    (row,) = case.sandbox.payments(customer=case.stripe_customer)
    assert row["idempotency_key"] == f"{case.intent}-1"


@pytest.mark.parametrize("key", [None, "", "3f2b8c1e-0000-4000-8000-000000000000"])
def test_a_post_without_a_key_of_ours_is_not_sent(wire: Wire, key: str | None) -> None:
    gateway = StripeGateway("sk_test_of_nobody", wire.url)
    options: Any = {} if key is None else {"idempotency_key": key}

    with pytest.raises(KeylessPost):
        gateway.client.v1.customers.create({}, options)

    assert wire.sent == []


def test_the_pinned_version_is_the_one_the_sdk_was_made_for() -> None:
    assert sdk.api_version == API_VERSION


def test_a_key_that_may_do_everything_lacks_nothing(stripe: StripeGateway) -> None:
    assert stripe.missing_permissions() == []


@pytest.mark.parametrize("kind", READ)
def test_a_restricted_key_that_may_not_read_something_is_told_so(
    sandbox: RunningSandbox, stripe: StripeGateway, kind: str
) -> None:
    sandbox.fault("http_403", "GET", f"/v1/{kind}")

    assert stripe.missing_permissions() == [f"read {kind}"]


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_restricted_key_that_may_not_write_something_is_told_so(
    sandbox: RunningSandbox, stripe: StripeGateway, kind: str
) -> None:
    sandbox.fault("http_403", "POST", f"/v1/{kind}")

    assert stripe.missing_permissions() == [f"write {kind}"]


def test_asking_what_is_missing_makes_nothing(case: Case) -> None:
    before = case.sandbox.client().v1.events.list({"limit": 1}).data[0].id

    case.gateway.missing_permissions()

    assert case.sandbox.client().v1.events.list({"limit": 1}).data[0].id == before
