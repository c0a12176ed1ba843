"""A real HTTP server on loopback that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: Message
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer. With `cut`, the connection ends in the middle of it."""

    status: int
    body: object = None
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    cut: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answering = Callable[[Asked], Reply]


def receipt(event: dict[str, Any], status: str = "accepted", **more: Any) -> dict[str, Any]:
    """What the API says of one event."""
    data = event["data"]
    found = {"event_id": event["id"], "customer_id": data["customer_id"]}
    return {**found, "fix_id": data["fix_id"], "status": status, **more}


def accept(asked: Asked, status: str = "accepted", **more: Any) -> Reply:
    """The API on a good day."""
    if isinstance(asked.document, list):
        return Reply(207, {"results": [receipt(each, status, **more) for each in asked.document]})
    return Reply(202 if status == "accepted" else 200, receipt(asked.document, status, **more))


def settle(asked: Asked, outcome: str = "credited", **more: Any) -> Reply:
    return accept(asked, "settled", outcome=outcome, **more)


def problem(status: int, detail: str, **more: Any) -> Reply:
    document = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}
    return Reply(status, document, PROBLEM)


@dataclass
class ScriptedApi:
    """Answers with what stands in `script`, one after the other, and then as on a good day."""

    server: ThreadingHTTPServer
    script: list[Reply | Answering] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        step = self.script.pop(0) if self.script else accept
        return step if isinstance(step, Reply) else step(asked)

    def reset(self) -> None:
        self.script.clear()
        self.asked.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ScriptedApi

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        reply = self.api.answer(Asked(self.path, self.headers, body))
        time.sleep(reply.delay)
        self.send_response(reply.status)
        for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content[: len(reply.content) // 2] if reply.cut else reply.content)
        self.close_connection = reply.cut

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True  # the other side had waited long enough

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def scripted_api() -> Iterator[ScriptedApi]:
    class ThisHandler(Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), ThisHandler)
    ThisHandler.api = api = ScriptedApi(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
