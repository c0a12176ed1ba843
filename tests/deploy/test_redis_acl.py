"""Users of the stores: each does its work, and nothing else is let through."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError
from sqlalchemy import Engine
from structlog.testing import capture_logs

from producers.publish import Accepted, Refused, publish
from producers.signing import Signer
from schemas.inbox import PARTITIONS, partition_of, stream_of
from tests.api.client import Api, doors_to
from tests.builders import add_customer, deployed, outcomes, reasons
from tests.deploy.conftest import DEPLOY, REPOSITORY
from tests.deploy.stores import Store, started_store
from tests.running import eventually
from tests.stack import Database
from worker.clock import Clock
from worker.inbox import Inbox
from worker.producer_keys import create_producer_key
from worker.settler import Settler, partitions_of
from worker.usage.freshness import watermark

USERS = {
    words[1]: words
    for words in map(str.split, (DEPLOY / "redis/users.acl").read_text().splitlines())
}
# By the user's rules, or by the server's for everybody.
REFUSED = re.compile("no permissions to run|command not allowed")
OURS = ("producer", "api", "worker", "celery")
ALL = partitions_of(0, 1)

# Beside what a password alone allows: a producer does nothing else.
APPENDS = {"xadd", "ping", "client|setinfo"}
FORBIDDEN = {
    *("acl", "bgrewriteaof", "bgsave", "client|kill", "client|list", "client|pause", "cluster"),
    *("config|set", "config|rewrite", "config|resetstat", "copy", "debug", "dump", "eval"),
    *("eval_ro", "failover", "fcall", "flushall", "flushdb", "function", "info", "keys"),
    *("latency", "migrate", "module", "monitor", "psync", "rename", "replicaof", "restore"),
    *("save", "scan", "script|flush", "script|kill", "select", "shutdown", "slaveof", "slowlog"),
    *("swapdb", "sync", "unlink", "xclaim", "xdel", "xgroup|destroy", "xgroup|setid", "xsetid"),
}


@pytest.fixture(scope="module")
def store(services: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with started_store(services["inbox"], tmp_path_factory.mktemp("store")) as one:
        yield one


@pytest.fixture
def signer(engine: Engine, clock: Clock) -> Signer:
    scopes = ["publish", "revert"]
    made = create_producer_key("a pipeline", scopes, None, None, None, engine, clock)
    assert made.secret is not None
    return Signer.of(made.secret)


@pytest.fixture
def empty(store: Store) -> Store:
    """Nothing of the tests before waits in it."""
    with store.client("worker") as redis:
        Inbox(redis).create_groups()
        for number in range(PARTITIONS):
            redis.xtrim(stream_of(number), maxlen=0, approximate=False)
    return store


def commands(redis: Redis) -> dict[str, int]:
    """Every command and subcommand of the server that wants a login, and how many words it has."""
    found: dict[str, int] = {}
    for one in asked(redis, "COMMAND"):
        name, flags, subcommands = one[0].decode(), one[2], one[9]
        for each in subcommands or [one]:
            if b"no_auth" not in flags:
                found[each[0].decode() if subcommands else name] = abs(each[1])
    return found


def allowed(store: Store, user: str, known: dict[str, int]) -> set[str]:
    """What is not refused at the door; whatever else is wrong with such a call."""
    found = set()
    with store.client(user) as redis:
        for name, words in known.items():
            parts = name.split("|")
            reply = asked(redis, *parts, *["x"] * (words - len(parts)))
            if not REFUSED.search(str(reply)):
                found.add(name)
    return found


def asked(redis: Redis, *words: str) -> Any:
    """What is answered on a connection of its own, be it an error."""
    connection: Any = redis.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    except RedisError as error:
        return error
    finally:
        connection.disconnect()
        redis.connection_pool.release(connection)


def test_a_producer_appends_and_nothing_else(store: Store, redis: Redis) -> None:
    known = commands(redis)

    assert len(known) > 300
    assert allowed(store, "producer", known) == APPENDS


@pytest.mark.parametrize("user", ["api", "worker", "celery"])
def test_what_could_destroy_or_reveal_is_forbidden_to_all(
    store: Store, redis: Redis, user: str
) -> None:
    known = commands(redis)
    forbidden = {name for name in known if name in FORBIDDEN or name.split("|")[0] in FORBIDDEN}

    assert {name.split("|")[0] for name in FORBIDDEN} <= {name.split("|")[0] for name in forbidden}
    assert allowed(store, user, {name: known[name] for name in forbidden}) == set()


@pytest.mark.parametrize("user", OURS)
def test_a_user_has_no_command_but_those_of_the_file(store: Store, redis: Redis, user: str) -> None:
    granted = {word[1:] for word in USERS[user] if word.startswith("+")} - {"hello", "auth"}

    assert allowed(store, user, commands(redis)) == granted


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("producer", ("XADD", "events", "*", "e", "x")),
        ("producer", ("XADD", stream_of(PARTITIONS), "*", "e", "x")),
        ("producer", ("XADD", "settle", "*", "e", "x")),
        ("api", ("XADD", "settle", "*", "e", "x")),
        ("worker", ("XADD", stream_of(PARTITIONS), "*", "e", "x")),
        ("celery", ("DEL", stream_of(0))),
        ("celery", ("LPUSH", "events", "x")),
        ("celery", ("GET", stream_of(0))),
        ("celery", ("PUBLISH", "news", "x")),
    ],
    ids=lambda each: each if isinstance(each, str) else " ".join(each[:2]),
)
def test_a_user_reaches_no_keys_but_its_own(
    store: Store, user: str, command: tuple[str, ...]
) -> None:
    with store.client(user) as redis, pytest.raises(NoPermissionError):
        redis.execute_command(*command)


def test_nobody_enters_without_a_name_and_its_password(store: Store) -> None:
    assert USERS["default"][2:] == ["reset", "off"]
    assert set(USERS) == {"default", *OURS}
    for login in ("", "producer:@", "producer:wrong@", "nobody:0123456789abcdef@"):
        with (
            Redis.from_url(f"redis://{login}127.0.0.1:{store.port}/0") as redis,
            pytest.raises(RedisError),
        ):
            redis.ping()


def test_the_store_does_not_start_with_an_empty_password(tmp_path: Any) -> None:
    started = subprocess.run(
        ["sh", str(DEPLOY / "redis/start.sh"), "valkey-server"],
        env={"PATH": os.environ["PATH"], "ACL_FILE": str(tmp_path / "users.acl")}
        | {f"{name}_PASSWORD": "x" for name in ("PRODUCER", "API", "WORKER")}
        | {"CELERY_PASSWORD": ""},
        capture_output=True,
        text=True,
    )

    assert started.returncode != 0
    assert "CELERY_PASSWORD" in started.stderr


def test_every_partition_is_open_to_those_who_append(empty: Store) -> None:
    for user in ("producer", "api", "worker"):
        with empty.client(user) as redis:
            added = [redis.xadd(stream_of(number), {"e": "x"}) for number in range(PARTITIONS)]
            assert len(added) == PARTITIONS


def test_the_product_works_with_these_users(
    empty: Store, engine: Engine, api_engine: Engine, clock: Clock, signer: Signer
) -> None:
    add_customer(engine, credits=9)
    event = deployed("by-redis")
    with (
        empty.client("producer") as producer,
        empty.client("api") as api_redis,
        empty.client("worker") as redis,
    ):
        box = Inbox(redis)
        assert publish([event], redis=producer, signer=signer) == [Accepted(event)]
        api = Api(doors_to(api_engine, api_redis, clock), engine, api_redis).behind(signer=signer)
        assert api.post(deployed("by-http")).status_code == 202
        assert box.depth().entries == 2

        settler = Settler(engine, redis, clock)
        assert settler.turn(ALL, lambda: box.depth().entries == 0)
        box.trim(datetime.now(UTC))

        as_of = watermark(Inbox(api_redis), "acme")
    assert outcomes(engine) == {"by-redis": "credited", "by-http": "credited"}
    assert reasons(engine) == []
    assert as_of is not None


SEND = """
from worker.celery_app import app
app.send_task("fixbill.fix_deployed", args=[{"data": {"customer_id": "acme"}}])
"""


def test_celery_works_with_these_users(
    empty: Store, database: Database, engine: Engine, signer: Signer
) -> None:
    add_customer(engine)
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database.worker_url,
        "INBOX_REDIS_URL": empty.url("worker"),
        "CELERY_BROKER_URL": empty.url("celery"),
        "STRIPE_API_KEY": "sk_test_nowhere",
        "STRIPE_API_BASE": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "celery", "-q", "-A", "worker.celery_app", "worker"]
    options = ["--pool", "threads", "--concurrency", "4", "-Q", "settle,sweep,intake"]
    worker = subprocess.Popen(
        [*command, *options], cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE
    )
    try:
        subprocess.run([sys.executable, "-c", SEND], cwd=REPOSITORY, env=environment, check=True)
        with empty.client("producer") as producer:
            event = deployed(at=datetime.now(UTC) - timedelta(minutes=1))
            publish([event], redis=producer, signer=signer)
        assert eventually(lambda: bool(outcomes(engine)) and bool(reasons(engine)), 30)
    finally:
        worker.terminate()
        log = worker.communicate(timeout=30)[1].decode()
    assert outcomes(engine) == {"fix-1": "charged"}
    assert reasons(engine) == ["unreadable"]  # what came by Celery was no event
    assert not re.search("NoPermission|NOPERM", log)


# What an ACL cannot forbid: see docs/decisions/0017.


def test_a_producer_can_delete_what_was_not_read_yet_which_is_seen(
    empty: Store, engine: Engine, clock: Clock, signer: Signer
) -> None:
    add_customer(engine, credits=9)
    stream = stream_of(partition_of("acme"))
    with empty.client("producer") as producer, empty.client("worker") as redis:
        box = Inbox(redis)
        settler = Settler(engine, redis, clock)

        def drained() -> bool:
            return box.depth().entries == 0

        publish([deployed("before")], redis=producer, signer=signer)
        assert settler.turn(ALL, drained)

        victims = [deployed(f"victim-{number}") for number in range(3)]
        publish(victims, redis=producer, signer=signer)
        producer.xadd(stream, {"e": "x"}, maxlen=1, approximate=False)
        with capture_logs() as logs:
            assert settler.turn(ALL, drained)

    assert outcomes(engine) == {"before": "credited"}
    (seen,) = [each for each in logs if each["event"] == "entries_deleted_unread"]
    assert (seen["log_level"], seen["entries"]) == ("error", 3)


def test_a_producer_can_close_a_partition_by_an_id_of_the_far_future(
    empty: Store, signer: Signer
) -> None:
    customer_id = next(f"c-{n}" for n in range(999) if partition_of(f"c-{n}") == 15)
    with empty.client("producer") as producer:
        producer.xadd(stream_of(15), {"e": "x"}, id=f"{2**64 - 1}-{2**64 - 1}")

        (answer,) = publish([deployed(customer_id=customer_id)], redis=producer, signer=signer)

    assert isinstance(answer, Refused)
    assert "the inbox did not take it" in answer.why
