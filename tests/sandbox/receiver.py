"""A webhook endpoint in this process that keeps what it is sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

import stripe

PATIENCE = 30.0
DAY = 24 * 60 * 60  # a slow run may look at what came long ago
T = TypeVar("T")


@dataclass
class Receiver:
    """What arrived, and the statuses to answer with before it is always 200."""

    url: str = ""
    deliveries: list[tuple[bytes, str]] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    def take(self, body: bytes, signature: str) -> int:
        self.deliveries.append((body, signature))
        return self.refusals.pop(0) if self.refusals else 200

    def events(self, secret: str, kind: str | None = None) -> list[stripe.Event]:
        """What arrived, each verified by the SDK."""
        verified = [
            stripe.Webhook.construct_event(body, signature, secret, tolerance=DAY)
            for body, signature in list(self.deliveries)
        ]
        return [event for event in verified if kind in (None, event.type)]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(receiver.take(body, self.headers["Stripe-Signature"]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_facts: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}/webhooks/stripe"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def eventually(look: Callable[[], T]) -> T:
    """What `look` sees once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return seen
