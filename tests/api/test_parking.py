"""While the inbox is away or full, HTTP takes events into Postgres, and a sweep settles them."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from schemas.events import parse_event
from tests.api.client import NOWHERE, Api, problem_in
from tests.builders import (
    add_customer,
    deployed,
    fixes_of,
    one_row,
    outcomes,
    reasons,
    rows_of,
)
from tests.stack import connected
from worker import inbox
from worker.due import Tools, sweep
from worker.local.valkey import Valkey
from worker.storage import tables
from worker.storage.engine import API
from worker.stripe_gateway import StripeGateway

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def parking(api: Api, redis_away: Redis) -> Api:
    """The API without its inbox."""
    return api.behind(redis=redis_away)


@pytest.fixture
def tools(api: Api) -> Tools:
    gateway = StripeGateway("sk_test_unused", f"http://{NOWHERE}")
    return Tools(api.engine, api.redis, gateway, api.doors.clock)


def test_while_redis_is_away_an_event_is_parked_and_answered_with_202(parking: Api) -> None:
    event = deployed()

    got = parking.post(event)

    assert got.status_code == 202
    assert got.json()["status"] == "accepted"
    row = one_row(parking.engine, tables.parked_entries)
    assert parse_event(row["body"]) == event
    assert (row["customer_id"], row["door"]) == ("acme", "http")


def test_a_parked_event_keeps_the_trace_it_would_have_kept_in_the_inbox(parking: Api) -> None:
    parking.post(deployed(), headers={"traceparent": TRACEPARENT})

    row = one_row(parking.engine, tables.parked_entries)
    assert row["traceparent"] is not None
    assert row["traceparent"].split("-")[1] == TRACEPARENT.split("-")[1]


def test_a_sweep_settles_what_is_parked_once(parking: Api, tools: Tools) -> None:
    add_customer(parking.engine)
    parking.post(fixes_of("acme", 3))

    swept = [sweep("parked_entry", tools) for _ in range(2)]

    assert swept == [3, 0]
    assert set(outcomes(parking.engine).values()) == {"charged"}
    assert len(rows_of(parking.engine, tables.transfers)) == 3
    assert rows_of(parking.engine, tables.parked_entries) == []


def test_an_event_that_is_parked_and_then_sent_again_through_redis_is_billed_once(
    api: Api, parking: Api, tools: Tools
) -> None:
    add_customer(api.engine)
    event = deployed()
    parking.post(event)
    parking.post(event)
    api.post(event)

    sweep("parked_entry", tools)
    api.settled()
    sweep("parked_entry", tools)

    assert outcomes(api.engine) == {"fix-1": "charged"}
    assert len(rows_of(api.engine, tables.transfers)) == 1
    assert reasons(api.engine) == []


def test_an_event_sent_through_redis_first_is_not_billed_again_from_the_table(
    api: Api, parking: Api, tools: Tools
) -> None:
    add_customer(api.engine)
    event = deployed()
    api.post(event)
    api.settled()
    parking.post(event)

    assert sweep("parked_entry", tools) == 1

    assert len(rows_of(api.engine, tables.transfers)) == 1
    assert rows_of(api.engine, tables.parked_entries) == []


def test_who_waits_is_told_when_the_sweep_has_settled_it(parking: Api, tools: Tools) -> None:
    add_customer(parking.engine)
    event = deployed()
    parking.post(event)
    sweep("parked_entry", tools)

    got = parking.wait_for(event)

    assert (got.status_code, got.json()["outcome"]) == (200, "charged")


def test_a_parked_fix_of_an_unknown_customer_waits_like_any_other(
    parking: Api, tools: Tools
) -> None:
    parking.post(deployed())

    sweep("parked_entry", tools)

    assert one_row(parking.engine, tables.waiting_fixes)["event_id"] == "deployed-fix-1"
    assert rows_of(parking.engine, tables.parked_entries) == []


def test_a_full_redis_parks_and_no_event_of_a_batch_is_lost_or_doubled(
    api: Api, tools: Tools, tmp_path: Path
) -> None:
    add_customer(api.engine)
    events = fixes_of("acme", 50)
    with Valkey.start(tmp_path) as store, inbox.connect(store.url) as redis:
        full = api.behind(redis=redis)
        redis.config_set("maxmemory", "1")

        got = full.post(events)

        redis.config_set("maxmemory", "0")
    assert {each["status"] for each in got.json()["results"]} == {"accepted"}
    assert len(rows_of(api.engine, tables.parked_entries)) == 50
    assert sweep("parked_entry", tools) == 50
    assert len(rows_of(api.engine, tables.transfers)) == 50


def test_what_could_not_be_parked_is_never_said_to_be_accepted(parking: Api, owner: Engine) -> None:
    with owner.begin() as tx:
        tx.execute(text("REVOKE INSERT ON parked_entries FROM fixbill_api"))

    answers = [parking.post(deployed()), parking.post([deployed()])]

    assert [problem_in(each, each.status_code)["status"] >= 500 for each in answers] == [True, True]


def test_with_redis_and_postgres_away_the_sender_is_asked_to_send_again(parking: Api) -> None:
    with connected(f"postgresql://{NOWHERE}/fixbill", API) as engine:
        got = parking.behind(engine=engine).post(deployed(), key=parking.admin)

    assert "again" in problem_in(got, 503)["detail"]


def test_with_postgres_away_alone_the_sender_is_asked_to_send_again(api: Api) -> None:
    with connected(f"postgresql://{NOWHERE}/fixbill", API) as engine:
        got = api.behind(engine=engine).post(deployed(), key=api.admin)

    assert "again" in problem_in(got, 503)["detail"]
