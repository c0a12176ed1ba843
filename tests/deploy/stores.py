"""A store of the compose file, started here as its container would start it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from tests.deploy.conftest import DEPLOY, PASSWORD, VARIABLE
from worker import inbox
from worker.local.valkey import answers, find_program

# What the image has, and this machine may not.
IMAGE = {"docker-entrypoint.sh": 'exec "$@"', "chown": "exit 0"}


@dataclass(frozen=True)
class Store:
    """It is up, with the users of deploy/redis/users.acl."""

    port: int

    def url(self, user: str) -> str:
        return f"redis://{user}:{PASSWORD}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> Redis:
        return inbox.connect(self.url(user))


@contextmanager
def started_store(service: dict[str, Any], directory: Path) -> Iterator[Store]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        store = Store(free.getsockname()[1])
    given = {name: VARIABLE.sub(PASSWORD, each) for name, each in service["environment"].items()}
    here = ["--bind", "127.0.0.1", "--port", str(store.port), "--dir", str(directory)]
    server = subprocess.Popen(
        ["sh", str(DEPLOY / "redis/start.sh"), *service["command"], *here],
        env=given | {"PATH": image_in(directory), "ACL_FILE": str(directory / "users.acl")},
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not answers(store.url("worker")) and time.monotonic() < deadline:
            assert server.poll() is None
            time.sleep(0.02)
        yield store
    finally:
        server.terminate()
        server.wait(10)


def image_in(directory: Path) -> str:
    """A PATH on which the programs of the image come first."""
    programs = directory / "bin"
    programs.mkdir()
    for name, script in IMAGE.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    (programs / "valkey-server").symlink_to(find_program(None))
    return f"{programs}:{os.environ['PATH']}"
