"""The whole product as its users run it: `fixbill up`, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
from redis import Redis
from sqlalchemy import Engine

from schemas.events import Event
from worker import inbox
from worker.clock import Clock
from worker.due import Tools
from worker.storage.engine import WORKER, connect
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import verify

READY_WITHIN = 90.0
STOPS_WITHIN = 30.0


@dataclass
class RunningStack:
    """A stack that is up, its settings, and the tools to look into it."""

    directory: Path
    supervisor: subprocess.Popen[bytes]

    @cached_property
    def env(self) -> dict[str, str]:
        lines = (self.directory / "env").read_text().splitlines()
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    @cached_property
    def engine(self) -> Engine:
        return connect(self.env["DATABASE_URL"], WORKER)

    @cached_property
    def redis(self) -> Redis:
        return inbox.connect(self.env["REDIS_URL"])

    @cached_property
    def tools(self) -> Tools:
        gateway = StripeGateway(self.env["STRIPE_API_KEY"], self.env["STRIPE_API_BASE"])
        return Tools(self.engine, self.redis, gateway, Clock())

    def close(self) -> None:
        for name in ("engine", "redis"):
            opened = self.__dict__.pop(name, None)
            if isinstance(opened, Engine):
                opened.dispose()
            elif opened is not None:
                opened.close()

    def pids(self) -> dict[str, int]:
        """Name → pid, as it is now."""
        found: dict[str, int] = json.loads((self.directory / "processes.json").read_text())
        return found

    def kill(self, name: str) -> None:
        os.kill(self.pids()[name], signal.SIGKILL)

    def post(self, event: Event | list[Event], wait: int = 0) -> tuple[int, Any]:
        """One event or a batch through the HTTP door."""
        many = isinstance(event, list)
        texts = [each.to_bytes() for each in (event if isinstance(event, list) else [event])]
        reply = urllib3.request(
            "POST",
            f"{self.env['FIXBILL_API_URL']}/api/v1/billing/track_fix",
            body=b"[%s]" % b",".join(texts) if many else texts[0],
            headers=self.authorized | ({"Prefer": f"wait={wait}"} if wait else {}),
            timeout=40,
        )
        return reply.status, reply.json()

    def get(self, path: str) -> Any:
        url = f"{self.env['FIXBILL_API_URL']}{path}"
        return urllib3.request("GET", url, headers=self.authorized, timeout=10).json()

    @property
    def authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.env['FIXBILL_API_KEY']}"}

    def metrics(self) -> str:
        reply = urllib3.request("GET", self.env["FIXBILL_METRICS_URL"], timeout=10)
        return reply.data.decode()

    def payments(self) -> list[dict[str, Any]]:
        """Stripe's own truth of money."""
        reply = urllib3.request("GET", f"{self.env['STRIPE_API_BASE']}/_sandbox/payments")
        body = reply.json()
        found: list[dict[str, Any]] = body["data"] if isinstance(body, dict) else body
        return found

    def broken(self) -> list[str]:
        """What `fixbill verify` would complain about."""
        checks = verify(self.engine, self.tools.stripe)
        return [f"{each.name}: {each.offenders}" for each in checks if not each.ok]


@contextmanager
def running_stack(directory: Path, **more: str) -> Iterator[RunningStack]:
    """Up, then stopped as Ctrl-C would; nothing of it may be left."""
    with started(directory, **more) as supervisor:
        stack = RunningStack(directory, supervisor)
        try:
            yield stack
        finally:
            stack.close()
        pids = stack.pids().values()
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(STOPS_WITHIN) == 0
    assert not [pid for pid in pids if is_alive(pid)]


@contextmanager
def started(directory: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """`fixbill up`, ready; killed at the latest when the test is over."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "env").unlink(missing_ok=True)  # of a supervisor that was killed
    with (directory / "up.log").open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "worker.cli.main", "up", "--dir", str(directory)],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], **more},
            start_new_session=True,
        )
    try:
        env = directory / "env"
        eventually(lambda: env.exists() or supervisor.poll() is not None, READY_WITHIN)
        assert env.exists(), (directory / "up.log").read_text()
        yield supervisor
    finally:
        if supervisor.poll() is None:
            supervisor.kill()
        supervisor.wait()


def eventually(condition: Callable[[], object], within: float = 30.0) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def is_alive(pid: int) -> bool:
    """A zombie is not: whoever should reap it may not do so here."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
