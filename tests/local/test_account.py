"""Whom Postgres runs as: a normal user, root with a user namespace, root without one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import psycopg
import pytest

from tests.local.conftest import REPOSITORY, Supervisor, all_gone
from worker.local.account import NAMESPACE, anybody_enters, nobody, ourselves
from worker.local.account import unprivileged as account_for
from worker.local.errors import ForeignDirectoryError
from worker.local.postgres import Postgres, find_programs

PACKAGES = sysconfig.get_path("purelib")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
with_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or account_for(find_programs(None) / "postgres").prefix != NAMESPACE,
    reason="needs root and user namespaces",
)

# Runs in a world of its own: no further user namespace can be made in it, /var/lib is empty.
WITHOUT_NAMESPACES = """
read go
exec sh -e -c '
    echo 0 > /proc/sys/user/max_user_namespaces
    mount -t tmpfs tmpfs /var/lib
    umask 077
    exec "$@"' sh "$@"
"""
START_TWICE = """
import os, sys
from pathlib import Path
import psycopg
from worker.local.postgres import Postgres

directory, bin_dir = map(Path, sys.argv[1:])
for count in (0, 1):
    with Postgres.start(directory, bin_dir=bin_dir) as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS starts (n int)")
            connection.execute("INSERT INTO starts VALUES (1)")
            assert connection.execute("SELECT count(*) FROM starts").fetchone() == (count + 1,)
        assert os.stat(f"/proc/{server.pid}").st_uid not in (0, 1000)
print(os.path.realpath(directory / "postgres" / "data"))
"""


def copy_of_programs(to: Path) -> Path:
    """Install the wheel's programs below a directory that only we enter."""
    programs = find_programs(None)
    package = programs.parent.parent
    to.mkdir(mode=0o700)
    for each in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(each, to / each.name, symlinks=True, copy_function=link_or_copy)
    return to / package.name / "pginstall" / "bin"


def link_or_copy(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)


def start_twice_without_namespaces(directory: Path, bin_dir: Path) -> str:
    inner = [sys.executable, "-c", START_TWICE, str(directory), str(bin_dir)]
    world = ["unshare", "--user", "--mount", "sh", "-c", WITHOUT_NAMESPACES, "sh", *inner]
    with subprocess.Popen(
        world, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        while os.readlink(f"/proc/{process.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
            time.sleep(0.01)
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{kind}").write_text("0 0 65536")
        said, _ = process.communicate("go\n", timeout=60)
    assert process.returncode == 0
    return said.strip()


@with_namespaces
def test_root_starts_below_a_closed_directory_without_opening_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    bin_dir = copy_of_programs(closed)

    with Postgres.start(closed / "state", bin_dir=bin_dir) as server:
        psycopg.connect(server.url).close()

    assert closed.stat().st_mode & 0o777 == 0o700
    assert (closed / "state/postgres/data").stat().st_uid == 0


@with_namespaces
def test_root_without_namespaces_becomes_nobody_until_they_come_back(short_path: Path) -> None:
    short_path.chmod(0o755)

    data = start_twice_without_namespaces(short_path, find_programs(None))

    assert data == str(short_path.resolve() / "postgres/data")
    assert Path(data).stat().st_uid == nobody().uid
    with Postgres.start(short_path) as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT count(*) FROM starts").fetchone() == (2,)


@with_namespaces
def test_root_without_namespaces_moves_out_of_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    bin_dir = copy_of_programs(closed)

    data = start_twice_without_namespaces(closed / "state", bin_dir)

    assert data.startswith("/var/lib/fixbill/")
    assert closed.stat().st_mode & 0o777 == 0o700


def starts_and_stops(supervisor: Supervisor) -> None:
    pids = supervisor.reads()
    os.killpg(supervisor.process.pid, signal.SIGINT)

    assert supervisor.reads() == {"answered": True}
    assert all_gone(pids["postgres"], pids["valkey"])


def python_for_anybody() -> str:
    """Return a Python that any user can run with our packages, or skip."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        if anybody_enters(REPOSITORY) and nobody().can_run(
            ["env", f"PYTHONPATH={PACKAGES}", python, "-c", "import psycopg, redis"]
        ):
            return python
    pytest.skip(f"a normal user can run neither {sys.executable} nor the system's Python on it")


@as_root
def test_a_normal_user_starts_and_stops(short_path: Path, supervisors: list[Supervisor]) -> None:
    user, python = nobody(), python_for_anybody()
    os.chown(short_path, user.uid, user.gid)
    env = {"PYTHONPATH": PACKAGES, "PYTHONDONTWRITEBYTECODE": "1"}

    supervisors.append(Supervisor(short_path, python=(python,), env=env, **user.identity))

    starts_and_stops(supervisors[0])
    assert (short_path / "postgres/data").stat().st_uid == user.uid


@with_namespaces
def test_a_user_without_any_right_starts_and_stops(
    short_path: Path, supervisors: list[Supervisor]
) -> None:
    # Where the Python itself is root's alone: our files, yet uid 1000 and no capabilities.
    supervisors.append(Supervisor(short_path, python=(*NAMESPACE, sys.executable)))

    starts_and_stops(supervisors[0])


@as_root
def test_files_of_another_user_are_refused_with_the_owner_named(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    home.mkdir()
    os.chown(home, 4242, 4242)

    with pytest.raises(ForeignDirectoryError, match="belongs to user 4242"):
        Postgres.start(tmp_path)

    assert home.stat().st_uid == 4242


@pytest.mark.skipif(os.geteuid() == 0, reason="root never runs as itself")
def test_a_normal_user_runs_as_itself() -> None:
    assert account_for(find_programs(None) / "postgres") == ourselves()
