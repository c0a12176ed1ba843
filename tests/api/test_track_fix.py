"""One event or a batch over HTTP: what is put into the inbox, and what is answered."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request

from schemas.events import parse_event
from schemas.inbox import PARTITIONS, partition_of, stream_of
from tests.api.client import Api, problem_in
from tests.builders import (
    HOUR,
    NOW,
    add_customer,
    deployed,
    fixes_of,
    outcomes,
    reasons,
    reverted,
    rows_of,
)
from worker.api.track_fix import WAIT_MAX, wait_of
from worker.clock import Clock
from worker.storage import tables

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def entries(api: Api) -> dict[int, list[dict[bytes, bytes]]]:
    """What lies in the inbox, by partition."""
    streams = {number: stream_of(number) for number in range(PARTITIONS)}
    found: dict[int, Any] = {number: api.redis.xrange(name) for number, name in streams.items()}
    return {number: [fields for _, fields in each] for number, each in found.items() if each}


def test_an_event_is_answered_with_202_once_it_lies_in_its_customers_stream(api: Api) -> None:
    event = deployed()

    answer = api.post(event)

    assert answer.status_code == 202
    assert answer.json() == {
        "event_id": event.id,
        "customer_id": "acme",
        "fix_id": "fix-1",
        "status": "accepted",
    }
    assert entries(api) == {partition_of("acme"): [{b"e": event.to_bytes(), b"d": b"http"}]}


def test_an_event_keeps_its_meaning_however_it_is_written(api: Api) -> None:
    event = deployed()
    document = json.loads(event.to_bytes()) | {"dataschema": "https://example.com/fix"}
    document["data"]["commit_sha"] = document["data"]["commit_sha"].upper()
    written = json.dumps(dict(reversed(document.items())), indent=4).encode()

    api.post(written)

    (entry,) = entries(api)[partition_of("acme")]
    assert parse_event(entry[b"e"]) == event


def test_the_trace_in_an_event_goes_along_with_it(api: Api) -> None:
    event = deployed().model_copy(update={"traceparent": TRACEPARENT})

    api.post(event, headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})

    (entry,) = entries(api)[partition_of("acme")]
    assert entry[b"t"] == TRACEPARENT.encode()


def test_the_trace_of_the_request_goes_along_with_an_event_that_has_none(api: Api) -> None:
    api.post(deployed(), headers={"traceparent": TRACEPARENT})

    (entry,) = entries(api)[partition_of("acme")]
    assert entry[b"t"].decode().split("-")[1] == TRACE


def test_events_of_one_customer_are_settled_in_the_order_they_were_posted(api: Api) -> None:
    add_customer(api.engine, credits=1)
    events = fixes_of("acme", 3)

    api.post([events[0], events[2]])
    api.post(events[1])
    api.settled()

    settled = outcomes(api.engine)
    assert settled == {"fix-00001": "credited", "fix-00003": "charged", "fix-00002": "charged"}
    verdicts = [row["fix_id"] for row in rows_of(api.engine, tables.transfers, kind="charge")]
    assert verdicts == ["fix-00003", "fix-00002"]


@pytest.mark.parametrize(
    ("customer", "answer"),
    [
        ({"credits": 1}, {"outcome": "credited"}),
        ({}, {"outcome": "charged", "price": {"amount": 2900, "currency": "usd"}}),
        (
            {"plan": "pro"},
            {"outcome": "charged", "price": {"amount": 1500, "currency": "usd"}},
        ),
        ({"card": False}, {"outcome": "held", "detail": "no payment method"}),
        ({"past_due": True}, {"outcome": "held", "detail": "past due"}),
    ],
    ids=["a credit", "money", "money on pro", "without a card", "past due"],
)
def test_who_waits_is_told_what_the_fix_cost(
    api: Api, customer: dict[str, Any], answer: dict[str, Any]
) -> None:
    add_customer(api.engine, **customer)

    with api.settling():
        got = api.wait_for(deployed())

    identity = {"event_id": "deployed-fix-1", "customer_id": "acme", "fix_id": "fix-1"}
    assert got.status_code == 200
    assert got.json() == identity | {"status": "settled"} | answer


def test_who_waits_for_a_revert_is_told_that_the_fix_costs_nothing_now(api: Api) -> None:
    add_customer(api.engine)

    with api.settling():
        api.wait_for(deployed())
        got = api.wait_for(reverted(at=NOW))

    assert got.status_code == 200
    assert (got.json()["status"], got.json()["outcome"]) == ("settled", "reverted")
    assert outcomes(api.engine) == {"fix-1": "reverted"}


def test_the_same_event_again_gets_the_same_receipt_and_costs_nothing(api: Api) -> None:
    add_customer(api.engine)

    with api.settling():
        first, second = api.wait_for(deployed()), api.wait_for(deployed())
    api.settled()

    assert second.status_code == 200
    assert second.json() == first.json()
    assert len(rows_of(api.engine, tables.transfers)) == 1


def test_the_same_fix_under_another_event_id_costs_nothing(api: Api) -> None:
    add_customer(api.engine)

    with api.settling():
        first = api.wait_for(deployed())
        second = api.wait_for(deployed(id="another"))

    assert second.json() == first.json() | {"event_id": "another"}
    assert len(rows_of(api.engine, tables.transfers)) == 1


def test_an_event_id_with_another_body_is_quarantined_and_the_first_one_stands(api: Api) -> None:
    add_customer(api.engine)

    with api.settling():
        api.wait_for(deployed())
        got = api.wait_for(deployed(commit_sha="fedcba98"))

    assert got.status_code == 200
    assert got.json()["status"] == "quarantined"
    assert got.json()["detail"].startswith("conflict: ")
    assert reasons(api.engine) == ["conflict"]
    assert outcomes(api.engine) == {"fix-1": "charged"}


def test_the_fix_of_an_unknown_customer_waits_and_says_so(api: Api) -> None:
    with api.settling():
        got = api.wait_for(deployed())

    assert got.status_code == 200
    assert got.json()["status"] == "waiting"
    assert "not known" in got.json()["detail"]


def test_who_waits_in_vain_is_told_that_the_event_is_accepted(api: Api) -> None:
    add_customer(api.engine)

    got = api.wait_for(deployed(), seconds=1)

    assert got.status_code == 202
    assert got.json()["status"] == "accepted"
    api.settled()
    assert outcomes(api.engine) == {"fix-1": "charged"}


def test_an_earlier_refusal_is_not_taken_for_the_answer_to_the_same_event_sent_again(
    api: Api,
) -> None:
    add_customer(api.engine)
    event = deployed(at=NOW + HOUR)
    api.post(event)
    api.settled()
    assert reasons(api.engine) == ["future"]
    later = api.behind(clock=Clock(api.doors.clock.ahead + timedelta(hours=2)))

    with later.settling():
        got = later.wait_for(event)

    assert (got.json()["status"], got.json().get("outcome")) == ("settled", "charged")


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=5", 5),
        ("respond-async, wait=5", 5),
        ("handling=lenient; wait=5", 5),
        ("wait=9999", WAIT_MAX),
        ("wait=0", 0),
        ("wait=-5", 0),
        ("wait=soon", 0),
        ("wait=99999", 0),
        ("await=5", 0),
        ("", 0),
    ],
)
def test_a_preference_is_waited_for_as_long_as_it_is_sound(prefer: str, seconds: float) -> None:
    request = Request({"type": "http", "headers": [(b"prefer", prefer.encode())]})

    waited = wait_of(request)

    assert waited == seconds


def test_a_batch_answers_for_each_event_in_order(api: Api) -> None:
    add_customer(api.engine)
    good, again = deployed("fix-1"), deployed("fix-2")
    bad = json.loads(deployed("fix-3").to_bytes())
    del bad["data"]["repository"]
    key = api.key("publish", customers=["acme"])

    got = api.post(
        [
            good,
            json.dumps(bad).encode(),
            b'"no event"',
            deployed("fix-4", "globex"),
            reverted("fix-1"),
            again,
            good,
        ],
        key=key,
    )

    results = got.json()["results"]
    assert got.status_code == 207
    assert [each["status"] for each in results] == [
        "accepted",
        "refused",
        "refused",
        "refused",
        "refused",
        "accepted",
        "accepted",
    ]
    assert [each["event_id"] for each in results] == [
        "deployed-fix-1",
        "deployed-fix-3",
        "",
        "deployed-fix-4",
        "reverted-fix-1",
        "deployed-fix-2",
        "deployed-fix-1",
    ]
    assert "data.repository" in results[1]["detail"]
    assert "not bound to this customer" in results[3]["detail"]
    assert "scope revert" in results[4]["detail"]
    api.settled()
    assert outcomes(api.engine) == {"fix-1": "charged", "fix-2": "charged"}
    assert rows_of(api.engine, tables.quarantine) == []


def test_who_waits_for_a_batch_is_told_the_outcome_of_each(api: Api) -> None:
    add_customer(api.engine, credits=1)

    with api.settling():
        got = api.wait_for([*fixes_of("acme", 2), b"7", deployed("fix-3", "unknown")])

    results = got.json()["results"]
    assert got.status_code == 207
    assert [each["status"] for each in results] == ["settled", "settled", "refused", "waiting"]
    assert [each.get("outcome") for each in results[:2]] == ["credited", "charged"]


def test_a_batch_in_which_all_is_refused_puts_nothing_into_the_inbox(api: Api) -> None:
    got = api.post([b"{}", b"[]"])

    assert got.status_code == 207
    assert [each["status"] for each in got.json()["results"]] == ["refused", "refused"]
    assert entries(api) == {}


def test_an_answer_names_only_as_much_of_a_bad_event_as_is_plain_text(api: Api) -> None:
    got = api.post([b'{"id": "\\u001b[31m' + b"x" * 500 + b'", "data": {"fix_id": 7}}'])

    (result,) = got.json()["results"]
    assert len(result["event_id"]) <= 128
    assert result["event_id"].isprintable()
    assert (result["customer_id"], result["fix_id"]) == ("", "")


def test_a_get_is_answered_with_a_problem(api: Api) -> None:
    got = api.ask("GET", "/api/v1/billing/track_fix")

    problem_in(got, 405)
