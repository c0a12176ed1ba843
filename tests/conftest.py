"""Fixtures on real servers. All are lazy: a test of rules starts none of them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.builders import NOW
from tests.collecting import Case, owing_case
from tests.logs import write_plainly
from tests.running import RunningStack, running_stack
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database, Databases, Sandboxes, connected
from worker import inbox
from worker.clock import Clock
from worker.local.postgres import Postgres
from worker.local.valkey import Valkey
from worker.storage.engine import API, WORKER
from worker.stripe_gateway import StripeGateway

# A time limit would fail on a busy machine, and find nothing.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)  # before those that are long are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test that is marked so, only every n-th is not long."""
    seen: Counter[str] = Counter()
    for item in items:
        every = item.get_closest_marker("every")
        if every is not None:
            test = item.nodeid.partition("[")[0]
            if seen[test] % every.args[0]:
                item.add_marker(pytest.mark.long)
            seen[test] += 1


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    write_plainly()


MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own in it
ROOM = 2 * 2**30  # bytes; a process's servers take a tenth of it


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory if there is room: hundreds of databases are made and dropped here.

    Nothing these tests look at depends on the disk; `tests/local` and `tests/faults` do.
    """
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path_factory.mktemp("servers")
        return
    directory = Path(tempfile.mkdtemp(prefix="fixbill-tests-", dir=MEMORY))
    directory.chmod(0o755)  # started by root, Postgres runs as somebody else
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres(servers: Path) -> Iterator[Postgres]:
    """One server for all tests of this process; none of them is about a power cut."""
    hasty = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    with Postgres.start(servers, hasty) as server:
        yield server


@pytest.fixture(scope="session")
def databases(postgres: Postgres) -> Iterator[Databases]:
    template = Databases(postgres)
    yield template
    template.close()


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """A migrated database without a row in it."""
    with databases.fresh() as one:
        yield one


@pytest.fixture
def owner(database: Database) -> Iterator[Engine]:
    """The superuser who owns the tables."""
    with connected(database.owner_url, None) as engine:
        yield engine


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """As the worker logs in."""
    with connected(database.worker_url, WORKER) as engine:
        yield engine


@pytest.fixture
def api_engine(database: Database) -> Iterator[Engine]:
    """As the API logs in."""
    with connected(database.api_url, API) as engine:
        yield engine


@pytest.fixture(scope="session")
def valkey(servers: Path) -> Iterator[Valkey]:
    """One server for all tests of this process."""
    with Valkey.start(servers) as server:
        yield server


@pytest.fixture
def redis(valkey: Valkey) -> Iterator[Redis]:
    """An empty store."""
    with inbox.connect(valkey.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def clock() -> Clock:
    """Business time begins at `NOW`, far from any month's end, and passes; wall time is real."""
    return Clock(NOW - datetime.now(UTC))


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandboxes]:
    with ExitStack() as running:
        yield Sandboxes(running, tmp_path_factory)


@pytest.fixture(scope="module")
def sandbox_process(sandboxes: Sandboxes) -> RunningSandbox:
    return sandboxes.current()


@pytest.fixture
def sandbox(sandboxes: Sandboxes, sandbox_process: RunningSandbox) -> Iterator[RunningSandbox]:
    """This process's Stripe; no fault waits in it. Look only at objects of your own."""
    sandboxes.tests += 1
    sandbox_process.ask("DELETE", "faults")
    yield sandbox_process
    sandbox_process.ask("DELETE", "faults")


@pytest.fixture
def stripe(sandbox: RunningSandbox) -> StripeGateway:
    """The gateway as the product builds it, at the sandbox."""
    return StripeGateway(sandbox.api_key, sandbox.url)


@pytest.fixture
def owing(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> Callable[..., Case]:
    """A customer who owes 29 dollars, or as many times that as `fixes`; with whatever card."""
    return partial(owing_case, engine, sandbox, stripe, clock)


@pytest.fixture
def case(owing: Callable[..., Case]) -> Case:
    """A customer who owes 29 dollars and whose card is good."""
    return owing()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole product, up; shared, so every test uses customers of its own."""
    with running_stack(tmp_path_factory.mktemp("stack")) as one:
        yield one
