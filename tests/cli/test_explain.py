"""`fixbill explain`: whatever the id is of, it leads to the fix or the charge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from schemas.explanations import ChargeExplanation, FixExplanation
from tests.builders import HOUR, add_customer, entry, one_row, rows_of, settle_entries
from tests.cli.running import Cli, fixed_now, hidden_in, nothing_set
from tests.stack import Database, Databases, connected
from tests.usage.histories import Dispute, Pay, ReturnFix, Stray, begin
from worker import inbox
from worker.clock import Clock
from worker.contest import open_contest
from worker.local.valkey import Valkey
from worker.storage import tables
from worker.storage.engine import WORKER


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[tuple[Database, Engine]]:
    """acme and globex have a fix of the same id; what else there is, is acme's."""
    with databases.fresh() as one, connected(one.worker_url, WORKER) as engine:
        fill(engine)
        yield one, engine


def fill(engine: Engine) -> None:
    now = datetime.now(UTC)
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
        settle_entries(engine, [entry(fixed_now("fix-0", customer_id), at=now)], now)
    lives: dict[str, tuple[Any, ...]] = {
        "initech": (Pay(2), ReturnFix(0), Stray(1000)),
        "hooli": (Pay(1), Dispute(100)),
    }
    for customer_id, steps in lives.items():
        world = begin(engine, customer_id, 0)
        for step in steps:
            step.take(world)
    future = fixed_now("early", "acme").model_copy(update={"time": now + HOUR})
    settle_entries(engine, [entry(future, at=now), entry(b"garbage", at=now)], now)
    settle_entries(engine, [entry(fixed_now("lost", "stranger"), at=now)], now)
    with engine.begin() as tx:
        open_contest(tx, "acme", "fix-0", "wrong", None, Clock())


@pytest.fixture
def cli(
    filled: tuple[Database, Engine],
    valkey: Valkey,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Cli]:
    database, engine = filled
    inbox.Inbox(redis).create_groups()
    with nothing_set(monkeypatch):
        one = Cli(monkeypatch, capsys, engine, redis)
        one.set(DATABASE_URL=database.worker_url, REDIS_URL=valkey.url, STRIPE_API_KEY="sk_test_1")
        yield one


def value(cli: Cli, table: Any, column: str, **wanted: Any) -> str:
    return str(one_row(cli.engine, table, **wanted)[column])


IDS: dict[str, tuple[Any, str, dict[str, Any], str]] = {
    "fix": (tables.fixes, "fix_id", {"customer_id": "initech", "fix_id": "fix-1"}, "fix fix-1"),
    "contest": (tables.contests, "contest_id", {}, "fix fix-0"),
    "quarantine": (tables.quarantine, "quarantine_id", {"reason": "future"}, "fix early"),
    "refund": (tables.refunds, "refund_id", {}, "fix fix-1"),
    "refund at Stripe": (tables.refunds, "stripe_refund", {}, "fix fix-1"),
    "charge": (tables.charges, "charge_id", {"customer_id": "hooli"}, "charge"),
    "payment": (tables.charges, "payment_intent", {"customer_id": "hooli"}, "charge"),
    "dispute": (tables.disputes, "dispute_id", {}, "charge"),
}


@pytest.mark.parametrize("kind", IDS)
def test_every_kind_of_id_leads_to_what_it_belongs_to(cli: Cli, kind: str) -> None:
    table, column, wanted, leads_to = IDS[kind]
    name = value(cli, table, column, **wanted)
    customer = ["--customer", "initech"] if kind == "fix" else []

    found = cli("explain", name, *customer, "--json")

    assert found.code == 0, found.err
    if leads_to == "charge":
        explained = ChargeExplanation.model_validate(found.json)
        assert explained.charge_id == value(cli, tables.charges, "charge_id", customer_id="hooli")
    else:
        assert FixExplanation.model_validate(found.json).fix_id == leads_to.removeprefix("fix ")


def test_an_event_leads_to_its_fix(cli: Cli) -> None:
    found = cli("explain", "deployed-fix-2", "--json")

    assert (found.json["customer_id"], found.json["fix_id"]) == ("initech", "fix-2")
    assert found.json["as_of"] is not None


@pytest.mark.parametrize("name", ["lost", "deployed-lost"])
def test_a_fix_of_a_customer_nobody_knows_is_explained(cli: Cli, name: str) -> None:
    found = cli("explain", name, "--json").json

    assert (found["customer_id"], found["status"], found["as_of"]) == ("stranger", "waiting", None)


@pytest.mark.parametrize("name", ["early", "deployed-early"])
def test_a_fix_that_only_stands_in_quarantine_is_explained(cli: Cli, name: str) -> None:
    assert cli("explain", name, "--json").json["status"] == "quarantined"


@pytest.mark.parametrize("name", ["fix-0", "deployed-fix-0"])
def test_what_several_customers_have_is_asked_back(cli: Cli, name: str) -> None:
    done = cli("explain", name)

    assert done.code == 1
    assert [word for word in ("--customer", "acme", "globex") if word not in done.err] == []
    assert cli("explain", name, "--customer", "globex", "--json").json["customer_id"] == "globex"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nothing"], "nothing that we know has the id nothing"),
        (["fix-1", "--customer", "acme"], "nothing of acme that we know has the id fix-1"),
        (["a\x1bb"], "nothing that we know has the id a?b"),
        (["pi_initech_3"], "pi_initech_3 is money of initech that is about no fix"),
    ],
)
def test_what_leads_nowhere_is_said_in_a_sentence(
    cli: Cli, words: list[str], sentence: str
) -> None:
    done = cli("explain", *words)

    assert done.code == 1
    assert done.sentence.startswith(f"fixbill: {sentence}")


def test_what_cannot_be_read_says_where_it_is_shown(cli: Cli) -> None:
    (unreadable,) = rows_of(cli.engine, tables.quarantine, reason="unreadable")

    done = cli("explain", unreadable["quarantine_id"])

    assert f"`fixbill quarantine show {unreadable['quarantine_id']}`" in done.sentence


def test_people_read_the_story_the_arithmetic_and_the_transfers(cli: Cli) -> None:
    done = cli("explain", "fix-1", "--customer", "initech")

    lines = [line.strip() for line in done.out.splitlines()]
    (charged,) = rows_of(
        cli.engine, tables.transfers, customer_id="initech", fix_id="fix-1", kind="charge"
    )
    assert done.code == 0
    assert lines[0].startswith("fix-1 costs nothing, paid with ch_")
    assert "$29.00: the price of a fix on payg of 2026-01-01" in lines
    assert "= $0.00" in lines
    assert "Transfers; the chain is ok" in lines
    assert charged["hash"].hex() in done.out
    assert hidden_in(done.out) == set()


def test_a_charge_is_told_in_the_same_way(cli: Cli) -> None:
    done = cli("explain", value(cli, tables.charges, "charge_id", customer_id="hooli"))

    assert done.code == 0
    assert "-$29.00: taken back by a bank (du_hooli_2)" in done.out
