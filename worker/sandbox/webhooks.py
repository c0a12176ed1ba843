"""Deliveries: signed events posted to one address from rows, again and again until a 2xx."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from worker.sandbox.store import Store

TIMEOUT = 10.0
AT_ONCE = 8
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
ANSWER_MAX = 64 * 1024


@dataclass
class Webhooks:
    """Reads what is due, sends it, and notes what came of it."""

    store: Store
    url: str | None
    secret: str
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """There may be something new to deliver."""
        self.awake.set()

    async def run(self) -> None:
        """Deliver for ever; without an address, events stay undelivered."""
        if self.url is None:
            return
        sending: dict[int, asyncio.Task[None]] = {}
        while True:
            self.awake.clear()
            sending = {seq: task for seq, task in sending.items() if not task.done()}
            for seq, event in self._due():
                if seq not in sending and len(sending) < AT_ONCE:
                    sending[seq] = asyncio.create_task(self._send(seq, event))
            try:
                await asyncio.wait_for(self.awake.wait(), self._until_next(set(sending)))
            except TimeoutError:
                continue

    def _due(self) -> list[tuple[int, str]]:
        with self.store.transaction() as tx:
            return tx.db.execute(
                "SELECT deliveries.seq, body FROM deliveries JOIN objects ON id = event"
                " WHERE state = 'pending' AND due <= ? ORDER BY due, deliveries.seq LIMIT ?",
                (time.time(), 2 * AT_ONCE),
            ).fetchall()

    def _until_next(self, sending: set[int]) -> float | None:
        """Seconds until another delivery is due; one that ends wakes the loop by itself."""
        if len(sending) >= AT_ONCE:
            return None
        with self.store.transaction() as tx:
            rows = tx.db.execute(
                "SELECT seq, due FROM deliveries WHERE state = 'pending' ORDER BY due LIMIT ?",
                (2 * AT_ONCE,),
            ).fetchall()
        waits = [max(0.0, due - time.time()) for seq, due in rows if seq not in sending]
        return min(waits, default=None)

    async def _send(self, seq: int, event: str) -> None:
        payload = json.dumps(json.loads(event), indent=2).encode()
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await post(str(self.url), payload, signature(payload, self.secret))
        except (OSError, TimeoutError, ValueError):
            status = 0
        self._note(seq, delivered=200 <= status < 300)
        self.wake()

    def _note(self, seq: int, *, delivered: bool) -> None:
        with self.store.transaction() as tx:
            if delivered:
                tx.db.execute("UPDATE deliveries SET state = 'delivered' WHERE seq = ?", (seq,))
                return
            (attempts,) = tx.db.execute(
                "UPDATE deliveries SET attempts = attempts + 1 WHERE seq = ? RETURNING attempts",
                (seq,),
            ).fetchone()
            pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, 10), LONGEST_PAUSE)
            tx.db.execute("UPDATE deliveries SET due = ? WHERE seq = ?", (time.time() + pause, seq))


def signature(payload: bytes, secret: str) -> str:
    """The `Stripe-Signature` header, in wall time: a receiver compares it with its own clock."""
    now = int(time.time())
    signed = hmac.new(secret.encode(), b"%d.%s" % (now, payload), hashlib.sha256).hexdigest()
    return f"t={now},v1={signed}"


async def post(url: str, payload: bytes, signed: str) -> int:
    """Post once and return the status. By hand, so that stopping never waits for a thread."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
    try:
        writer.write(_head(parts, len(payload), signed) + payload)
        await writer.drain()
        status_line = await reader.readline()
        # Read on so that the receiver can finish its answer.
        await reader.read(ANSWER_MAX)
        return int(status_line.split()[1]) if len(status_line.split()) > 1 else 0
    finally:
        writer.close()


def _head(parts: SplitResult, length: int, signed: str) -> bytes:
    lines = (
        f"POST {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc}",
        "User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        "Content-Type: application/json; charset=utf-8",
        f"Content-Length: {length}",
        f"Stripe-Signature: {signed}",
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode()
