"""What every figure is measured on: our own Postgres and Valkey, both durable, and customers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from tests.bench.population import populate
from tests.large_customer import settle_down
from tests.stack import Database, Databases, connected
from worker import inbox
from worker.local.postgres import Postgres
from worker.local.valkey import Valkey
from worker.storage.engine import WORKER

CUSTOMERS = 10_000
SETTINGS = {
    # When exactly a row was committed can be asked afterwards: nobody has to watch.
    "track_commit_timestamp": "on",
    # As in deploy/compose.yaml. With Postgres's own 128 MB the indexes of a million fixes do not
    # fit, and it is the disk that is measured.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}


@dataclass(frozen=True)
class Bed:
    """Postgres with fsync, Valkey that answers when an entry is on disk: the same for everyone."""

    directory: Path
    postgres: Postgres
    valkey: Valkey
    databases: Databases
    redis: Redis
    template: str  # a database with CUSTOMERS in it

    @contextmanager
    def populated(self) -> Iterator[Database]:
        """A fresh copy, and an empty inbox; nothing of the run before is left to be written."""
        self.redis.flushall()
        with self.databases.fresh(self.template) as database:
            self.databases.execute("CHECKPOINT")
            yield database


@contextmanager
def made_up() -> Iterator[Bed]:
    with tempfile.TemporaryDirectory(prefix="fixbill-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)  # started by root, Postgres runs as somebody else
        with (
            Postgres.start(directory, SETTINGS) as postgres,
            Valkey.start(directory) as valkey,
            inbox.connect(valkey.url) as redis,
        ):
            databases = Databases(postgres)
            with databases.fresh() as template:
                with connected(template.worker_url, WORKER) as engine:
                    populate(engine, CUSTOMERS)
                vacuum(template)
                yield Bed(directory, postgres, valkey, databases, redis, template.name)
            databases.close()


def vacuum(database: Database) -> None:
    with connected(database.owner_url, None) as owner:
        settle_down(owner)


def measured(module: str, *arguments: object) -> dict[str, Any]:
    """What a process of its own measured: its memory and processor time are nobody else's."""
    command = [sys.executable, "-m", f"tests.bench.{module}", *map(str, arguments)]
    with tempfile.TemporaryFile() as said:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=said)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found
