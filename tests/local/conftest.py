"""Real servers and real supervisors, in directories that are gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from worker.local.postgres import Postgres

REPOSITORY = Path(__file__).parents[2]


class Supervisor:
    """A supervisor in a process group of its own, as a terminal would start it."""

    def __init__(
        self,
        directory: Path,
        starter: str = "main",
        python: Sequence[str] = (sys.executable,),
        **options: Any,
    ) -> None:
        self.process = subprocess.Popen(
            [*python, "-m", "tests.local.supervisor", str(directory), starter],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            start_new_session=True,
            **options,
        )

    def reads(self) -> dict[str, Any]:
        """Return the next thing it says."""
        assert self.process.stdout
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def ends_by(self, signal: int) -> None:
        os.kill(self.process.pid, signal)
        self.process.wait(30)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture(scope="session")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for many tests: each start in it is a later start, often after a crash."""
    directory = tmp_path_factory.mktemp("used")
    Postgres.start(directory).stop()
    return directory


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory outside pytest's closed one."""
    directory = Path(tempfile.mkdtemp(prefix="fb-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def supervisors() -> Iterator[list[Supervisor]]:
    started: list[Supervisor] = []
    yield started
    for supervisor in started:
        supervisor.close()


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A live process that is no server."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_gone(*pids: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while any(is_alive(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
