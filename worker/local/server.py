"""What every embedded server needs: a directory to itself, a port that stays, an orderly end."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import random
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from worker.local.child import end_child
from worker.local.errors import DirectoryInUseError, ForeignDirectoryError, StartError

LOOPBACK = "127.0.0.1"
# Below the range that systems hand to outgoing connections: no client of the
# server can be sitting on its port when it comes back after a crash.
PORTS = range(15_000, 32_000)
READY_WITHIN = 120.0  # seconds: recovery after a crash may replay a gigabyte of log


class DirectoryLock:
    """One supervisor per directory; the kernel lets go of it however the holder ends."""

    def __init__(self, home: Path) -> None:
        try:
            self._fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError:
            raise ForeignDirectoryError(home, home.stat().st_uid) from None
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._fd, 32).decode().strip()
            os.close(self._fd)
            raise DirectoryInUseError(home, holder) from None
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._fd >= 0:
            # Closing alone would leave it with a fork that inherited the descriptor.
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            os.close(self._fd)
            self._fd = -1


@dataclass
class Server:
    """A running server: our child, and its directory's lock."""

    stop_signal: ClassVar[signal.Signals]

    url: str = field(repr=False)  # holds the password
    pid: int
    _child: subprocess.Popen[bytes] = field(repr=False)
    _lock: DirectoryLock = field(repr=False)

    def stop(self) -> None:
        """Stop in an orderly way and wait for the end; a second call does nothing."""
        end_child(self._child, self.stop_signal)
        self._lock.release()

    def poll(self) -> int | None:
        """Return the exit code if it has died; its directory is then free for a new start."""
        code = self._child.poll()
        if code is not None:
            self._lock.release()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()


def bring_up(
    home: Path,
    log: Path,
    spawn_on: Callable[[int], subprocess.Popen[bytes]],
    answers_on: Callable[[int], bool],
    *,
    stop_signal: signal.Signals,
    passing: bytes | None = None,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start and wait for the first answer; again after a failure that passes."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        port = reserve_port(home)
        log_size = log.stat().st_size if log.exists() else 0
        child = spawn_on(port)
        try:
            _wait_until_ready(child, partial(answers_on, port), log, deadline)
            return child, port
        except BaseException as error:
            end_child(child, stop_signal)
            # Somebody took the port in between, or the log names a reason that goes away.
            passes = not is_free(port) or (passing and passing in log.read_bytes()[log_size:])
            if not isinstance(error, StartError) or not passes or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _wait_until_ready(
    child: subprocess.Popen[bytes], answers: Callable[[], bool], log: Path, deadline: float
) -> None:
    while not answers():
        if child.poll() is not None:
            raise StartError(f"The server ended with code {child.returncode}", log)
        if time.monotonic() > deadline:
            raise StartError(f"The server did not answer within {READY_WITHIN:.0f} s", log)
        time.sleep(0.01)


def reserve_port(home: Path) -> int:
    """Return the port of last time if nobody took it since, else a new one, and keep it."""
    kept = home / "port"
    port = int(kept.read_text()) if kept.exists() else 0
    if port not in PORTS or not is_free(port):
        port = next(p for p in random.sample(PORTS, len(PORTS)) if is_free(p))
        write_private(kept, f"{port}\n")
    return port


def is_free(port: int) -> bool:
    """Return whether a server could listen there now."""
    with socket.socket() as probe:
        # As the servers do: connections of a server just gone do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def keep_password(home: Path) -> str:
    """Return the directory's password, made on first use."""
    kept = home / "password"
    if not kept.exists():
        write_private(kept, secrets.token_hex(24))
    return kept.read_text()


def write_private(path: Path, text: str) -> None:
    """Write a file only its owner reads, all of it or nothing."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def package_dir(package: str) -> Path | None:
    """Return where a package is installed, without importing it."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None
