"""Deliveries: signed events posted to the endpoints from rows, again and again until a 2xx."""

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
PENDING = (
    "FROM webhook_deliveries AS d JOIN objects AS events ON events.id = d.event"
    " JOIN objects AS endpoints ON endpoints.id = d.endpoint"
    " WHERE d.state = 'pending' AND json_extract(endpoints.body, '$.status') = 'enabled'"
)


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    seq: int
    endpoint: str
    url: str
    event: str


@dataclass
class Webhooks:
    """Reads what is due, sends it, and notes what came of it."""

    store: Store
    awake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """There may be something new to deliver."""
        self.awake.set()

    async def run(self) -> None:
        """Deliver for ever."""
        sending: dict[int, asyncio.Task[None]] = {}
        while True:
            self.awake.clear()
            sending = {seq: task for seq, task in sending.items() if not task.done()}
            for due in self._due():
                if due.seq not in sending and len(sending) < AT_ONCE:
                    sending[due.seq] = asyncio.create_task(self._send(due))
            try:
                await asyncio.wait_for(self.awake.wait(), self._until_next(set(sending)))
            except TimeoutError:
                continue

    def _due(self) -> list[Delivery]:
        with self.store.transaction() as tx:
            rows = tx.db.execute(
                "SELECT d.seq, d.endpoint, json_extract(endpoints.body, '$.url'), events.body"
                f" {PENDING} AND due <= ? ORDER BY due, d.seq LIMIT ?",
                (time.time(), 2 * AT_ONCE),
            )
            return [Delivery(*row) for row in rows]

    def _until_next(self, sending: set[int]) -> float | None:
        """Seconds until another delivery is due; one that ends wakes the loop by itself."""
        if len(sending) >= AT_ONCE:
            return None
        with self.store.transaction() as tx:
            rows = tx.db.execute(
                f"SELECT d.seq, due {PENDING} ORDER BY due LIMIT ?", (2 * AT_ONCE,)
            ).fetchall()
        waits = [max(0.0, due - time.time()) for seq, due in rows if seq not in sending]
        return min(waits, default=None)

    async def _send(self, delivery: Delivery) -> None:
        payload = json.dumps(json.loads(delivery.event), indent=2).encode()
        signed = signature(payload, self._secrets(delivery.endpoint))
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await post(delivery.url, payload, signed)
        except (OSError, TimeoutError, ValueError):
            status = 0
        self._note(delivery.seq, delivered=200 <= status < 300)
        self.wake()

    def _secrets(self, endpoint: str) -> list[str]:
        """Those that sign now, the newest first."""
        with self.store.transaction() as tx:
            rows = tx.db.execute(
                "SELECT secret FROM webhook_secrets"
                " WHERE endpoint = ? AND ifnull(expires > ?, true) ORDER BY seq DESC",
                (endpoint, tx.now),
            )
            return [secret for (secret,) in rows]

    def _note(self, seq: int, *, delivered: bool) -> None:
        with self.store.transaction() as tx:
            if delivered:
                tx.db.execute(
                    "UPDATE webhook_deliveries SET state = 'delivered' WHERE seq = ?", (seq,)
                )
                return
            row = tx.db.execute(
                "SELECT attempts FROM webhook_deliveries WHERE seq = ?", (seq,)
            ).fetchone()
            attempts = row[0] if row else 0  # its endpoint may be deleted by now
            pause = min(FIRST_PAUSE * 2 ** min(attempts, 10), LONGEST_PAUSE)
            tx.db.execute(
                "UPDATE webhook_deliveries SET attempts = ?, due = ? WHERE seq = ?",
                (attempts + 1, time.time() + pause, seq),
            )


def signature(payload: bytes, secrets: list[str]) -> str:
    """The `Stripe-Signature` header, in wall time: a receiver compares it with its own clock."""
    now = int(time.time())
    signed = b"%d.%s" % (now, payload)
    proofs = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join((f"t={now}", *(f"v1={proof}" for proof in proofs)))


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
