"""The whole stack on one machine: servers, sandbox, API, worker and beat, started and kept up."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import time
from pathlib import Path
from typing import Self

from sqlalchemy import text

from migrations.migrate import upgrade
from worker.clock import Clock
from worker.keys import SCOPES, create_key
from worker.local.errors import StartError
from worker.local.postgres import Postgres
from worker.local.programs import Program, answers, end_leftovers, programs
from worker.local.server import DirectoryLock, reserve_port, write_private
from worker.local.valkey import Valkey
from worker.settings import settings
from worker.storage.engine import API, WORKER, connect

READY_WITHIN = 60.0  # seconds
WATCH_EVERY = 0.2


PASSED_ON = (
    "celery_broker_url",
    "inbox_redis_url",
    "plans_file",
    "settlers",
    "collectors",
    "portal_origins",
    "rate_read_per_second",
    "rate_publish_per_second",
    "breaker_customer_day_amount",
    "breaker_customer_day_attempts",
    "breaker_hour_amount",
    "breaker_hour_attempts",
    "log_level",
)


class Stack:
    """Everything `fixbill up` runs. State, logs, ports and secrets live in `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory.resolve()
        self.lock = DirectoryLock(self.directory)
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.programs: dict[str, Program] = {}
        self.environment: dict[str, str] = {}
        self.ports: dict[str, int] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Bring everything up and wait until it answers; what was up is stopped on failure."""
        self.env_file.unlink(missing_ok=True)
        try:
            end_leftovers(self.directory)
            self.start_servers()
            self.environment = self.describe()
            self.prepare_database()
            self.programs = programs(
                self.directory, self.environment, self.ports, settings().stripe_api_key is None
            )
            for name in self.programs:
                self.launch(name)
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        self.write_state()

    def start_servers(self) -> None:
        """Only those that the environment does not name."""
        if settings().database_url is None and self.postgres is None:
            self.postgres = Postgres.start(self.directory)
        if settings().redis_url is None and self.valkey is None:
            self.valkey = Valkey.start(self.directory)

    def describe(self) -> dict[str, str]:
        """The settings of this stack, as `env` has them."""
        env = settings()
        owner = self.postgres.url if self.postgres else env.need("database_url")
        api = self.port("api")
        return {
            "DATABASE_URL": self.login(owner, WORKER) if self.postgres else owner,
            "API_DATABASE_URL": self.login(owner, API) if self.postgres else owner,
            "OWNER_DATABASE_URL": owner,
            "REDIS_URL": self.valkey.url if self.valkey else env.need("redis_url"),
            "TRUST_REDIS": "1",
            **passed_on(),
            "FIXBILL_API_URL": f"http://127.0.0.1:{api}",
            "PUBLIC_URL": env.public_url or f"http://127.0.0.1:{api}",
            "LINK_SECRET": env.need("link_secret")
            if env.link_secret
            else self.secret("link_secret"),
            "FIXBILL_METRICS_URL": f"http://127.0.0.1:{self.port('worker')}/metrics",
            **self.stripe(),
        }

    def stripe(self) -> dict[str, str]:
        """The sandbox, unless a key for Stripe itself is given."""
        env = settings()
        if env.stripe_api_key is not None:
            given = {"STRIPE_API_KEY": env.need("stripe_api_key")}
            if env.stripe_api_base:
                given["STRIPE_API_BASE"] = env.stripe_api_base
            return given | {"STRIPE_WEBHOOK_SECRET": env.need("stripe_webhook_secret")}
        return {
            "STRIPE_API_BASE": f"http://127.0.0.1:{self.port('stripe')}",
            "STRIPE_API_KEY": self.secret("stripe_api_key", "sk_test_"),
            "STRIPE_WEBHOOK_SECRET": self.secret("stripe_webhook_secret", "whsec_"),
        }

    def prepare_database(self) -> None:
        """Schema, logins, and an API key of our own."""
        engine = connect(self.environment["OWNER_DATABASE_URL"], role=None)
        with engine.begin() as tx:
            upgrade(tx)
            for role in (WORKER, API) if self.postgres else ():
                password = self.secret(role)
                tx.execute(text(f"ALTER ROLE {role} LOGIN PASSWORD '{password}'"))
        engine.dispose()
        kept = self.secret_file("api_key")
        if not kept.exists():
            worker = connect(self.environment["DATABASE_URL"], WORKER)
            write_private(kept, create_key("fixbill up", SCOPES, None, None, worker, Clock()))
            worker.dispose()
        self.environment["FIXBILL_API_KEY"] = kept.read_text()

    def launch(self, name: str) -> None:
        self.programs[name].start(self.log_of(name), self.environment, self.directory)

    def log_of(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        for name, program in self.programs.items():
            while program.ready_url and not answers(program.ready_url):
                if program.is_dead():
                    raise StartError(f"{name} ended before it was ready", self.log_of(name))
                if time.monotonic() > deadline:
                    late = f"{name} did not answer within {READY_WITHIN:.0f} s"
                    raise StartError(late, self.log_of(name))
                time.sleep(0.05)

    def watch(self) -> None:
        """Start again whatever has died; called over and over by the supervisor."""
        if self.postgres and self.postgres.poll() is not None:
            self.postgres = Postgres.start(self.directory)
            self.take_new_addresses()
        if self.valkey and self.valkey.poll() is not None:
            self.valkey = Valkey.start(self.directory)
            self.take_new_addresses()
        for name, program in self.programs.items():
            if program.is_dead() and program.may_start():
                self.launch(name)
                self.write_state()
        time.sleep(WATCH_EVERY)

    def take_new_addresses(self) -> None:
        """A server comes back on its port, unless someone took it: then all must hear of it."""
        fresh = self.environment | self.describe()
        if fresh != self.environment:
            self.environment = fresh
            self.stop_programs()
        self.write_state()

    def write_state(self) -> None:
        """`env` for shells and programs, `processes.json` for those who look after us."""
        pids = {"up": os.getpid()}
        pids |= {
            name: server.pid
            for name, server in (("postgres", self.postgres), ("valkey", self.valkey))
            if server
        }
        pids |= {name: each.child.pid for name, each in self.programs.items() if each.child}
        write_private(self.directory / "processes.json", json.dumps(pids, indent=1) + "\n")
        lines = [f"export {name}={shlex.quote(each)}" for name, each in self.environment.items()]
        write_private(self.env_file, "\n".join(lines) + "\n")

    def stop(self) -> None:
        """In an orderly way, last started first; a second call does nothing."""
        self.stop_programs()
        for server in (self.valkey, self.postgres):
            if server:
                server.stop()
        for name in ("env", "processes.json"):
            (self.directory / name).unlink(missing_ok=True)
        self.lock.release()

    def stop_programs(self) -> None:
        for program in reversed(self.programs.values()):
            program.stop()

    @property
    def env_file(self) -> Path:
        return self.directory / "env"

    def port(self, name: str) -> int:
        """Chosen once; the same as last time if it is still free."""
        if name not in self.ports:
            home = self.directory / name
            home.mkdir(exist_ok=True, mode=0o700)  # the sandbox keeps the webhook secret in its own
            self.ports[name] = reserve_port(home)
        return self.ports[name]

    def secret_file(self, name: str) -> Path:
        home = self.directory / "secrets"
        home.mkdir(exist_ok=True, mode=0o700)
        return home / name

    def secret(self, name: str, prefix: str = "") -> str:
        """Made at run time, kept for the next start."""
        kept = self.secret_file(name)
        if not kept.exists():
            write_private(kept, prefix + secrets.token_hex(24))
        return kept.read_text()

    def login(self, owner: str, role: str) -> str:
        """The owner's URL with another login."""
        address = owner.rpartition("@")[2]
        return f"postgresql://{role}:{self.secret(role)}@{address}"


def passed_on() -> dict[str, str]:
    """Settings that our processes share with whoever starts the stack."""
    env = settings()
    given = [name for name in PASSED_ON if name in env.model_fields_set]
    return {name.upper(): env.need(name) for name in given}
