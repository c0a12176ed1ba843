"""Our own processes, as the stack runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from worker.local.account import ourselves
from worker.local.child import end_child, spawn

WORKER = ["--pool", "threads", "--concurrency", "8", "-Q", "settle,sweep,intake"]
RESTART_AFTER = 1.0  # seconds; what dies at once is not started in a tight loop
MARK = "FIXBILL_STACK"  # in the environment of our processes: which directory they belong to
LEFTOVER_PATIENCE = 15.0


@dataclass(slots=True)
class Program:
    """How one process starts, and the URL that answers when it is ready."""

    command: list[str]
    ready_url: str | None = None
    more: dict[str, str] = field(default_factory=dict)  # environment of its own
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self, log: Path, environment: Mapping[str, str], directory: Path) -> None:
        self.started = time.monotonic()
        self.child = spawn(
            self.command,
            log,
            account=ourselves(),
            dies_by=signal.SIGTERM,
            environment={**environment, **self.more, MARK: str(directory)},
        )

    def is_dead(self) -> bool:
        return self.child is None or self.child.poll() is not None

    def may_start(self) -> bool:
        return time.monotonic() - self.started > RESTART_AFTER

    def stop(self) -> None:
        if self.child is not None:
            end_child(self.child, signal.SIGTERM)


def programs(
    directory: Path, env: Mapping[str, str], ports: Mapping[str, int], with_sandbox: bool
) -> dict[str, Program]:
    """In the order in which they start; they stop the other way round."""
    python = sys.executable
    celery = [python, "-m", "celery", "-q", "-A", "worker.celery_app"]
    found = {}
    if with_sandbox:
        where = ["--dir", str(directory / "stripe"), "--port", str(ports["stripe"])]
        hook = ["--webhook-url", f"{env['FIXBILL_API_URL']}/webhooks/stripe"]
        found["stripe"] = Program(
            [python, "-m", "worker.sandbox", *where, *hook],
            f"{env['STRIPE_API_BASE']}/_sandbox/healthz",
        )
    api = f"--host 127.0.0.1 --port {ports['api']}"
    found["api"] = Program(
        [python, "-m", "worker.api", *api.split()],
        f"{env['FIXBILL_API_URL']}/readyz",
    )
    found["worker"] = Program(
        [*celery, "worker", *WORKER],
        env["FIXBILL_METRICS_URL"],
        {"METRICS_PORT": str(ports["worker"])},
    )
    schedule = directory / "beat" / "schedule"
    schedule.parent.mkdir(exist_ok=True)
    found["beat"] = Program([*celery, "beat", "--schedule", str(schedule)])
    return found


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return urllib3.request("GET", url, retries=False, timeout=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def end_leftovers(directory: Path) -> None:
    """End what a killed supervisor of this directory left running."""
    file = directory / "processes.json"
    if not file.exists():
        return
    pids = [pid for name, pid in json.loads(file.read_text()).items() if name != "up"]
    ours = [pid for pid in pids if belongs_to(pid, directory)]
    for pid in ours:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + LEFTOVER_PATIENCE
    while any(belongs_to(pid, directory) for pid in ours) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in ours:
        if belongs_to(pid, directory):
            os.kill(pid, signal.SIGKILL)


def belongs_to(pid: int, directory: Path) -> bool:
    """Whether this live process was started for this directory: no reused pid, no zombie."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={directory}".encode() in environment
