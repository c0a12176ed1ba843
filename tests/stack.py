"""The real servers tests run on: started once a process, with a fresh database for every test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

import pytest
from sqlalchemy import Engine, make_url, text

from migrations.migrate import upgrade
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from worker.local.postgres import Postgres
from worker.storage.engine import API, WORKER, connect
from worker.stripe_gateway import StripeGateway

TEMPLATE = "template_of_tests"
TESTS_MAX = 150  # of one sandbox


@dataclass(frozen=True)
class Database:
    """One migrated database, and how each role logs in to it."""

    name: str
    owner_url: str
    worker_url: str
    api_url: str


@dataclass
class Databases:
    """Copies of one migrated template: some 20 ms to make, 10 to drop."""

    postgres: Postgres
    admin: Engine = field(init=False)
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.admin = connect(self.postgres.url, role=None).execution_options(
            isolation_level="AUTOCOMMIT"
        )
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        engine = connect(self.url(TEMPLATE), role=None)
        with engine.begin() as tx:
            upgrade(tx)
            # Every test logs in anew; a password that takes 5 ms to check would cost more than it.
            tx.execute(text("SET LOCAL scram_iterations = 1"))
            for role in (WORKER, API):
                tx.execute(text(f"ALTER ROLE {role} LOGIN PASSWORD '{self.password}'"))
            owner = make_url(self.postgres.url)
            tx.execute(text(f"ALTER ROLE {owner.username} PASSWORD '{owner.password}'"))
        engine.dispose()

    @contextmanager
    def fresh(self, template: str = TEMPLATE) -> Iterator[Database]:
        """A database of its own for one test; `template0` is empty."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield Database(name, self.url(name), self.url(name, WORKER), self.url(name, API))
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        with self.admin.connect() as connection:
            connection.execute(text(statement))

    def url(self, database: str, login: str | None = None) -> str:
        login_and_password, _, address = self.postgres.url.rpartition("@")
        if login is not None:
            login_and_password = f"postgresql://{login}:{self.password}"
        return f"{login_and_password}@{address.rpartition('/')[0]}/{database}"

    def close(self) -> None:
        self.admin.dispose()


@dataclass
class Sandboxes:
    """One sandbox after the other: what is compared with all of Stripe's lists gets no longer."""

    running: ExitStack
    directories: pytest.TempPathFactory
    one: RunningSandbox | None = None
    tests: int = 0  # that have used it

    def current(self) -> RunningSandbox:
        if self.one is None or self.tests > TESTS_MAX:
            self.running.close()
            directory = self.directories.mktemp("sandbox")
            self.one, self.tests = self.running.enter_context(running_sandbox(directory)), 0
        return self.one


@contextmanager
def connected(url: str, role: str | None) -> Iterator[Engine]:
    """An engine that is closed at the end."""
    engine = connect(url, role)
    try:
        yield engine
    finally:
        engine.dispose()


class HastyGateway(StripeGateway):
    """Gives up after `seconds` and repeats nothing by itself: each fault is met at once."""

    def __init__(self, sandbox: RunningSandbox, seconds: float = 5.0) -> None:
        super().__init__(sandbox.api_key, sandbox.url, timeout=(seconds, seconds), retries=0)
