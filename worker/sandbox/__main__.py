"""Start the sandbox: `python -m worker.sandbox --dir DIR --port PORT [--webhook-url URL]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.sandbox import webhook_endpoints
from worker.sandbox.app import build
from worker.sandbox.store import Store
from worker.sandbox.webhooks import Webhooks

STOP_WITHIN = 2


class CuttableConnection(H11Protocol):
    """Hands each call its own connection, so that a fault can cut it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def main() -> None:
    """Read the command line and the environment, then serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.sandbox", description="A Stripe on loopback."
    )
    parser.add_argument("--dir", type=Path, required=True, help="where the sandbox keeps its state")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook-url", help="where signed events are sent")
    options = parser.parse_args()
    api_key = os.environ.get("STRIPE_API_KEY")
    secret = os.environ.get("STRIPE_WEBHOOK_SECRET")
    if not api_key or (options.webhook_url and not secret):
        sys.exit("STRIPE_API_KEY must be set, and STRIPE_WEBHOOK_SECRET with --webhook-url.")

    # After its own clean stop uvicorn raises the signal again: end with 0, not by the signal.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(0))
    store = Store(options.dir / "stripe.sqlite3")
    with store.transaction() as tx:
        webhook_endpoints.from_command_line(tx, options.webhook_url, secret or "")
    try:
        uvicorn.run(
            build(store, api_key, Webhooks(store)),
            host="127.0.0.1",
            port=options.port,
            http=CuttableConnection,
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=STOP_WITHIN,
        )
    finally:
        store.close()


if __name__ == "__main__":
    main()
