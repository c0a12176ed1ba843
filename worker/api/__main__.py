"""Serve the API: `python -m worker.api [--host HOST] [--port PORT] [--fd FD]`.

Behind uvicorn's own command a caller could hold connections for as long as they like without
ever sending a whole request; here they cannot, and no log names the secret part of a link.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.api.bounds import ARRIVES_WITHIN, HEAD_BYTES_MAX
from worker.api.problems import problem

CONNECTIONS_MAX = 1000  # of one process; each takes a file
IDLE_MAX = 15  # seconds between two requests on a connection


class BoundedConnection(H11Protocol):
    """There are only so many, and each gets a request to us in time or is closed."""

    waiting: asyncio.TimerHandle | None = None  # for the rest of a request's head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self.end(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections: try again later.")
        else:
            self.await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self.await_head()
        else:
            self.stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self.stop_waiting()
        super().connection_lost(exc)

    def await_head(self) -> None:
        """From its first byte, not from its last: else a byte now and then would do."""
        if self.waiting is None and not self.transport.is_closing():
            self.waiting = self.loop.call_later(ARRIVES_WITHIN, self.give_up)

    def stop_waiting(self) -> None:
        if self.waiting is not None:
            self.waiting.cancel()
            self.waiting = None

    def give_up(self) -> None:
        late = f"No request arrived within {ARRIVES_WITHIN:g} seconds."
        self.end(HTTPStatus.REQUEST_TIMEOUT, late)

    def send_400_response(self, msg: str) -> None:
        self.end(HTTPStatus.BAD_REQUEST, msg)

    def end(self, status: HTTPStatus, detail: str) -> None:
        """A last word where no request could be read."""
        self.stop_waiting()
        answer = problem(status, detail, headers={"Connection": "close"})
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        line = b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode())
        self.transport.write(line + head + b"\r\n" + bytes(answer.body))
        self.transport.close()


OPTIONS: dict[str, Any] = {
    "http": BoundedConnection,
    "ws": "none",
    "timeout_keep_alive": IDLE_MAX,
    "h11_max_incomplete_event_size": HEAD_BYTES_MAX,
    "log_level": "warning",
    "access_log": False,
    "server_header": False,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.api", description="Serve the API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="a socket that listens already")
    options = parser.parse_args(arguments)
    uvicorn.run("worker.api.app:create_app", factory=True, **vars(options), **OPTIONS)


if __name__ == "__main__":
    main()
