"""Start the Stripe sandbox as a real process, and ask it what it saw."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stripe

READY_WITHIN = 20.0
HOUR = 60 * 60
DAY = 24 * HOUR


@dataclass(frozen=True)
class RunningSandbox:
    """One sandbox process and its keys."""

    url: str
    api_key: str
    webhook_secret: str
    process: subprocess.Popen[bytes]

    def client(self, *, retries: int = 0, timeout: float = 10.0) -> stripe.StripeClient:
        """The official SDK, pointed here; it repeats nothing unless told to."""
        return stripe.StripeClient(
            self.api_key,
            base_addresses={"api": self.url},
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout),
        )

    def ask(self, method: str, control: str, body: object = None) -> Any:
        """One of the sandbox's own controls, such as `faults`."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/_sandbox/{control}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def payments(self, **wanted: str) -> list[dict[str, Any]]:
        """The truth of money, narrowed to rows that have these values."""
        return self.truth("payments", **wanted)

    def truth(self, control: str, **wanted: str) -> list[dict[str, Any]]:
        """The rows of a control that have these values."""
        rows = self.ask("GET", control)
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def events_about(self, customer: str) -> list[dict[str, Any]]:
        """What was told of this customer, oldest first."""
        told: list[dict[str, Any]] = self.ask("GET", f"events?customer={customer}")
        return told

    def now(self, customer: str | None = None) -> int:
        """The sandbox's time, or the customer's own."""
        query = f"?customer={customer}" if customer else ""
        now: int = self.ask("GET", f"clock{query}")["now"]
        return now

    def advance(self, seconds: int, customer: str | None = None) -> None:
        """Move the sandbox's clock, or one customer's, and do what is due on the way."""
        whose = {"customer": customer} if customer else {}
        self.ask("POST", "clock", {"advance": seconds, **whose})

    def fault(self, fault: str, method: str = "*", path: str = "*", **more: object) -> None:
        """Let something go wrong."""
        self.ask("POST", "faults", {"fault": fault, "method": method, "path": path, **more})

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running_sandbox(
    directory: Path,
    webhook_url: str | None = None,
    *,
    api_key: str | None = None,
    webhook_secret: str | None = None,
) -> Iterator[RunningSandbox]:
    """A sandbox with its state in `directory`, stopped at the end; start it twice to restart it."""
    directory.mkdir(parents=True, exist_ok=True)
    api_key = api_key or f"sk_test_{secrets.token_hex(12)}"
    webhook_secret = webhook_secret or f"whsec_{secrets.token_hex(16)}"
    port = _free_port()
    command = [sys.executable, "-m", "worker.sandbox", "--dir", str(directory)]
    command += ["--port", str(port), *(["--webhook-url", webhook_url] if webhook_url else [])]
    keys = {"STRIPE_API_KEY": api_key, "STRIPE_WEBHOOK_SECRET": webhook_secret}
    with (directory / "sandbox.log").open("ab") as log:
        process = subprocess.Popen(command, env={**os.environ, **keys}, stdout=log, stderr=log)
    sandbox = RunningSandbox(f"http://127.0.0.1:{port}", api_key, webhook_secret, process)
    try:
        _wait_until_ready(sandbox, directory / "sandbox.log")
        yield sandbox
    finally:
        process.terminate()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(sandbox: RunningSandbox, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if sandbox.process.poll() is not None:
            break
        try:
            sandbox.ask("GET", "healthz")
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"The sandbox did not start: {log.read_text()}")
