"""Servers and the process that started them: they end together, or the next start cleans up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from tests.local.conftest import Supervisor, all_gone, is_alive
from worker.local.child import working_in
from worker.local.errors import last_lines
from worker.local.postgres import Postgres
from worker.local.valkey import Valkey


def test_two_stacks_run_side_by_side(used: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"

    with (
        Postgres.start(used) as one,
        Postgres.start(new) as two,
        Valkey.start(used) as three,
        Valkey.start(new) as four,
    ):
        assert len({server.url for server in (one, two, three, four)}) == 4
        assert [server.poll() for server in (one, two, three, four)] == [None] * 4


def test_kill_9_of_the_supervisor_ends_the_servers(
    used: Path, supervisors: list[Supervisor]
) -> None:
    supervisors.append(Supervisor(used))
    pids = supervisors[0].reads()

    supervisors[0].ends_by(signal.SIGKILL)

    assert all_gone(pids["postgres"], pids["valkey"])
    assert last_lines(used / "postgres/postgres.log").endswith("database system is shut down")


def test_servers_that_outlive_their_supervisor_are_ended_by_the_next_start(
    used: Path, supervisors: list[Supervisor]
) -> None:
    supervisors.append(Supervisor(used, "thread"))
    pids = supervisors[0].reads()
    with psycopg.connect(pids["url"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS n")
    supervisors[0].ends_by(signal.SIGKILL)
    assert is_alive(pids["postgres"])
    assert is_alive(pids["valkey"])

    with Postgres.start(used) as postgres, Valkey.start(used) as valkey:
        assert all_gone(pids["postgres"], pids["valkey"], within=0)
        assert working_in(used / "valkey/data", "valkey-server") == [valkey.pid]
        assert postgres.url == pids["url"]
        with psycopg.connect(postgres.url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_ctrl_c_reaches_the_supervisor_alone_which_stops_the_servers_in_order(
    used: Path, supervisors: list[Supervisor]
) -> None:
    supervisors.append(Supervisor(used))
    pids = supervisors[0].reads()

    os.killpg(supervisors[0].process.pid, signal.SIGINT)

    assert supervisors[0].reads() == {"answered": True}
    assert supervisors[0].process.wait(10) == 0
    assert all_gone(pids["postgres"], pids["valkey"], within=0)


def test_a_supervisor_killed_during_initdb_leaves_nothing_in_the_way(
    tmp_path: Path, supervisors: list[Supervisor]
) -> None:
    supervisors.append(Supervisor(tmp_path))
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("postgres/initdb-*/data/base")):
        assert time.monotonic() < deadline
        time.sleep(0.005)

    supervisors[0].ends_by(signal.SIGKILL)

    assert not (tmp_path / "postgres/data").exists()
    with Postgres.start(tmp_path) as server:
        psycopg.connect(server.url).close()
    assert not list(tmp_path.glob("postgres/initdb-*"))


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_a_server_that_died_is_started_again_on_the_same_url(
    used: Path, kind: type[Postgres] | type[Valkey]
) -> None:
    url = ""
    for _ in range(3):
        with kind.start(used) as server:
            assert url in ("", server.url)
            url = server.url
            os.kill(server.pid, signal.SIGKILL)
            while server.poll() is None:
                time.sleep(0.01)
