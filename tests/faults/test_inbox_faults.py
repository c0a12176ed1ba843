"""Faults between the inbox and the ledger: after each, every fix is settled exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from sqlalchemy import Engine, text

from tests.builders import (
    add_customer,
    arrival,
    deployed,
    fixes_of,
    outcomes,
    publish_all,
)
from tests.faults.proxy import proxy_to
from tests.running import eventually
from tests.stack import Database
from worker import inbox
from worker.clock import Clock
from worker.customers import create_customer
from worker.due import Tools, sweep
from worker.inbox import Inbox
from worker.local.valkey import Valkey
from worker.settle import settle_arrivals
from worker.settler import Settler, partitions_of
from worker.storage.waiting import due_waiting
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import verify

ALL = partitions_of(0, 1)


def once(engine: Engine, how_many: int) -> bool:
    """So many fixes, each settled, and the books whole."""
    broken = [check.name for check in verify(engine, None) if not check.ok]
    assert broken == []
    return len(outcomes(engine)) == how_many


def settle_all(settler: Settler, box: Inbox) -> None:
    """Turns until nothing is left."""
    settler.turn(ALL, lambda: box.depth().entries == 0)


def test_a_read_whose_reply_is_lost_is_read_again(
    engine: Engine, valkey: Valkey, redis: Redis, clock: Clock
) -> None:
    add_customer(engine, credits=100)
    server = urlsplit(valkey.url)
    assert server.port is not None
    with proxy_to("127.0.0.1", server.port) as proxy:
        through = inbox.connect(valkey.url.replace(str(server.port), str(proxy.port)))
        settler, box = Settler(engine, through, clock, trust_redis=True), Inbox(redis)
        turn = threading.Thread(
            target=settler.turn, args=(ALL, lambda: len(outcomes(engine)) == 100)
        )
        turn.start()
        assert eventually(lambda: len(redis.keys("inbox:*")) == len(ALL))

        proxy.swallow.set()
        publish_all(redis, fixes_of("acme", 100))
        assert proxy.swallowed.wait(10)
        turn.join(30)
        through.close()

    assert once(engine, 100)
    assert box.depth().entries == 0


def test_valkey_killed_with_entries_pending_gives_them_out_again(
    engine: Engine, clock: Clock, tmp_path: Path
) -> None:
    add_customer(engine, credits=100)
    with Valkey.start(tmp_path) as valkey:
        store = inbox.connect(valkey.url)
        Inbox(store).create_groups()
        publish_all(store, fixes_of("acme", 100))
        assert Inbox(store).fresh(1000)  # delivered, never acknowledged

        os.kill(valkey.pid, signal.SIGKILL)
        assert eventually(lambda: valkey.poll() is not None)
        store.close()

    with Valkey.start(tmp_path) as valkey:
        store = inbox.connect(valkey.url)
        settle_all(Settler(engine, store, clock, trust_redis=True), Inbox(store))

        assert once(engine, 100)
        assert Inbox(store).depth().entries == 0
        store.close()


def test_a_holder_that_is_frozen_loses_its_partitions_to_another(
    engine: Engine, database: Database, valkey: Valkey, redis: Redis, clock: Clock
) -> None:
    add_customer(engine, credits=100)
    command = [sys.executable, "-m", "tests.faults.settler_process"]
    frozen = subprocess.Popen([*command, database.worker_url, valkey.url, "2s"])
    try:
        assert eventually(lambda: locks_held(engine) == len(ALL))
        os.kill(frozen.pid, signal.SIGSTOP)

        publish_all(redis, fixes_of("acme", 100))
        settler = Settler(engine, redis, clock, trust_redis=True)
        assert eventually(lambda: settler.turn(ALL, lambda: len(outcomes(engine)) == 100), 20)
        os.kill(frozen.pid, signal.SIGCONT)
        publish_all(redis, [deployed("fix-after")])

        assert eventually(lambda: len(outcomes(engine)) == 101, 20)
        assert once(engine, 101)
    finally:
        frozen.kill()
        frozen.wait()


def locks_held(engine: Engine) -> int:
    with engine.begin() as tx:
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        mine = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        return int(tx.scalar(text(query + mine)) or 0)


def test_a_customer_created_while_their_event_is_being_set_aside_is_billed(
    engine: Engine, redis: Redis, stripe: StripeGateway, clock: Clock
) -> None:
    aside = engine.connect()
    transaction = aside.begin()
    event = deployed(customer_id="newcomer")
    settle_arrivals(aside, [arrival(event)], clock.now())

    create_customer("newcomer", "trial", engine, clock)
    with engine.begin() as tx:
        assert due_waiting(tx, 10) == []
    transaction.commit()
    aside.close()
    sweep("waiting_fix", Tools(engine, redis, stripe, clock))

    assert outcomes(engine, "newcomer") == {"fix-1": "credited"}
