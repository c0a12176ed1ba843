"""Starting a server as a child that ends with us, and ending one that a killed supervisor left."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from worker.local.account import ENVIRONMENT, Account, ourselves

PROC = Path("/proc")
STOP_PATIENCE = 30.0  # seconds: a last checkpoint writes what is in shared buffers
KILL_PATIENCE = 10.0


def spawn(
    command: Sequence[str | Path],
    log: Path,
    *,
    account: Account,
    dies_by: signal.Signals,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in its own session, so that Ctrl-C reaches only the supervisor."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [*account.prefix, *_dies_with_us(dies_by), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**ENVIRONMENT, **(environment or {})},
            cwd="/",  # ours may be one the account cannot enter
            start_new_session=True,
            **account.identity,
        )


def _dies_with_us(dies_by: signal.Signals) -> list[str]:
    """Return the words that make Linux end the child when we end, even by kill -9."""
    # Linux counts the thread that forked as the parent. Any but the main one may end
    # long before us; a child of such a thread is left to the next start.
    if threading.current_thread() is not threading.main_thread() or not _can_follow_parent():
        return []
    return ["setpriv", "--pdeathsig", dies_by.name.removeprefix("SIG"), "--"]


@cache
def _can_follow_parent() -> bool:
    return ourselves().can_run(["setpriv", "--pdeathsig", "KILL", "--", "true"])


def end_child(child: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Ask, then kill."""
    for each, patience in ((stop_signal, STOP_PATIENCE), (signal.SIGKILL, KILL_PATIENCE)):
        if child.poll() is not None:
            return
        child.send_signal(each)
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)


def end_leftovers(
    data: Path, program: str, marker: str, pid_file: Path, stop_signal: signal.Signals
) -> None:
    """End what a killed supervisor left."""
    # It is not taken over: only a parent sees a server die at once, and reaps it.
    leader = pid_in(pid_file)
    if leader and is_running(leader, program, marker):
        _end_stranger(leader, stop_signal, lambda: is_running(leader, program, marker))
    for orphan in working_in(data, program):  # such as a backend in a long query
        _end_stranger(orphan, signal.SIGKILL, partial(_works_in, PROC / f"{orphan}", data, program))


def _end_stranger(pid: int, ask: signal.Signals, remains: Callable[[], bool]) -> None:
    for each, patience in ((ask, STOP_PATIENCE), (signal.SIGKILL, KILL_PATIENCE)):
        with suppress(ProcessLookupError):
            os.kill(pid, each)
        deadline = time.monotonic() + patience
        while remains() and time.monotonic() < deadline:
            time.sleep(0.01)
        if not remains():
            return


def pid_in(pid_file: Path) -> int | None:
    """Return the pid a server wrote on the first line."""
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def is_running(pid: int, program: str, marker: str) -> bool:
    """Return whether that pid is that program on those arguments: no zombie, no reused pid."""
    command = _command_of(pid)
    return program in command and f" {marker} " in f"{command} "


def _command_of(pid: int) -> str:
    if not PROC.joinpath("self").exists():
        ps = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(ps, capture_output=True, text=True).stdout.strip()
    try:
        words = PROC.joinpath(str(pid), "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace")


def working_in(data: Path, program: str) -> list[int]:
    """Return the live processes of a program in a working directory, as far as /proc shows them."""
    return [int(p.name) for p in PROC.glob("[0-9]*") if _works_in(p, data, program)]


def _works_in(process: Path, data: Path, program: str) -> bool:
    try:
        executable = Path(os.readlink(process / "exe").removesuffix(" (deleted)"))
        return executable.name == program and process.joinpath("cwd").samefile(data)
    except OSError:  # ended meanwhile, a zombie, or not ours to look at
        return False
