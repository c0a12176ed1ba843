"""Faults of webhooks: forged, mangled, repeated, out of order, lost; the books end the same.

Each test begins with the number of its row in the fault matrix.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import Engine

from tests.api.client import Api, Headers, doors_to, problem_in
from tests.api.signing import signature, webhook
from tests.builders import NOW, one_row, rows_of
from tests.collecting import (
    PRICE,
    Case,
    Died,
    DyingGateway,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
    owing_case,
    sandbox_window,
    store,
)
from tests.sandbox.receiver import Receiver, eventually, receiving
from tests.sandbox.sandbox_process import DAY, HOUR, RunningSandbox
from tests.stack import Databases, connected
from worker.billing.drift import DriftKind
from worker.clock import Clock
from worker.learn import learn_payment
from worker.reconcile import reconcile
from worker.storage import tables
from worker.storage.engine import WORKER
from worker.storage.stripe_events import claim_due_events
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway

YEAR = 365 * DAY


@pytest.fixture
def api(api_engine: Engine, engine: Engine, redis: Redis, clock: Clock) -> Api:
    return Api(doors_to(api_engine, redis, clock), engine, redis)


def deliver(api: Api, body: bytes, header: str | bytes | None) -> int:
    headers: Headers = {} if header is None else {"Stripe-Signature": header}
    answer = api.ask("POST", "/webhooks/stripe", headers, body)
    if answer.status_code != 200:
        problem_in(answer, answer.status_code)
    return answer.status_code


# F67, F68: not from Stripe, or not an event.

SOUND = webhook()
NOT_UTF8 = b'{"id": "\xe9"}'
# Made when they are sent: a signature is of its moment.
BAD: dict[str, Callable[[], tuple[bytes, str | bytes | None]]] = {
    "f67 forged": lambda: (SOUND, f"{signature(SOUND).partition(',')[0]},v1={'0' * 64}"),
    "f67 of another body": lambda: (SOUND, signature(webhook(id="evt_2"))),
    "f67 wrong secret": lambda: (SOUND, signature(SOUND, "whsec_of_someone_else")),
    "f67 old": lambda: (SOUND, signature(SOUND, ago=301)),
    "f67 one year ahead": lambda: (SOUND, signature(SOUND, ago=-YEAR)),
    "f67 six minutes ahead": lambda: (SOUND, signature(SOUND, ago=-360)),
    "f67 no header": lambda: (SOUND, None),
    "f68 not JSON": lambda: (b"paid", signature(b"paid")),
    "f68 a list": lambda: (b"[]", signature(b"[]")),
    "f68 not UTF-8": lambda: (NOT_UTF8, signature(NOT_UTF8)),
    "f68 a signature that is not ASCII": lambda: (SOUND, signature(SOUND).encode() + b"\xe9"),
    "f68 empty": lambda: (b"", signature(b"")),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_what_stripe_did_not_sign_or_never_sends_gets_400_and_leaves_nothing(
    api: Api, bad: Callable[[], tuple[bytes, str | bytes | None]]
) -> None:
    assert deliver(api, *bad()) == 400

    assert rows_of(api.engine, tables.stripe_events) == []
    assert deliver(api, SOUND, signature(SOUND)) == 200


# F69: repeated, out of order, before our own save.


@dataclass(frozen=True)
class Story:
    """Paid, partly refunded, disputed and won at Stripe; our books know of an attempt only."""

    database: str
    case: Case
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def story(databases: Databases, sandbox_process: RunningSandbox) -> Iterator[Story]:
    clock = Clock(NOW - datetime.now(UTC))
    gateway = StripeGateway(sandbox_process.api_key, sandbox_process.url)
    with databases.fresh() as database:
        with connected(database.worker_url, WORKER) as engine:
            case = owing_case(engine, sandbox_process, gateway, clock)
            dies(case.collect, case, "create", heard=True)
            assert case.charge["payment_intent"] is None
            happen_at_stripe(case)
            events = case.events()
        yield Story(database.name, case, events)


def happen_at_stripe(case: Case) -> None:
    client = case.sandbox.client()
    (intent,) = client.v1.payment_intents.list({"customer": case.stripe_customer}).data
    client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    client.v1.refunds.create({"payment_intent": intent.id, "amount": 1000})
    wish = {"payment_intent": intent.id, "amount": 1900}
    dispute = case.sandbox.ask("POST", "disputes", wish)["id"]
    case.decide_dispute(dispute, "winning_evidence")


@contextmanager
def retold(story: Story, databases: Databases) -> Iterator[Case]:
    """The story with books of its own."""
    with (
        databases.fresh(story.database) as database,
        connected(database.worker_url, WORKER) as engine,
    ):
        yield replace(story.case, engine=engine)


def assert_told(case: Case) -> None:
    assert case.charge["status"] == "paid"
    assert case.standing == {"cash": 1900, "refunded": 1000}
    assert (case.charge["returned"], case.answers()) == (1000, ["succeeded"])
    kinds = "pay", "unapplied_in", "refund", "dispute_opened", "dispute_won"
    assert sorted(case.moved(*kinds)) == [
        ("dispute_opened", 1900),
        ("dispute_won", 1900),
        ("pay", PRICE),
        ("refund", 1000),
    ]
    assert one_row(case.engine, tables.disputes)["funds"] == "won"
    assert one_row(case.engine, tables.refunds)["status"] == "succeeded"
    assert_books_equal_stripe(case)


def test_f69_the_story_is_told_by_events_of_every_kind(story: Story) -> None:
    assert {each["type"] for each in story.events} >= {
        "payment_intent.succeeded",
        "charge.succeeded",
        "refund.created",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    }


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_f69_in_whatever_order_events_and_collector_come_the_books_end_the_same(
    story: Story, databases: Databases, data: st.DataObject
) -> None:
    steps = data.draw(st.permutations([*story.events, *story.events, None, None]))

    with retold(story, databases) as case:
        for event in steps:
            if event is None:
                case.collect()
            else:
                case.hear(event)

        assert_told(case)


def test_f69_a_hundred_copies_of_every_event_change_nothing(
    story: Story, databases: Databases
) -> None:
    copies = story.events * 100
    random.Random(69).shuffle(copies)

    with retold(story, databases) as case:
        store(case.engine, case.clock, *copies)
        follow_due(case)
        store(case.engine, case.clock, *copies)
        follow_due(case)

        assert len(rows_of(case.engine, tables.stripe_events)) == len(story.events)
        assert {row["tries"] for row in rows_of(case.engine, tables.stripe_events)} == {1}
        assert_told(case)


def follow_due(case: Case) -> None:
    with case.engine.begin() as tx:
        due = claim_due_events(tx, case.clock.wall(), 1000)
    for event in due:
        apply_stripe_event(event, case.engine, case.gateway, case.clock)


# F70: they never arrive.


def test_f70_what_no_webhook_told_of_is_found_by_reconcile(
    story: Story, databases: Databases
) -> None:
    with retold(story, databases) as case:
        window = sandbox_window(case)

        found = reconcile(window, case.engine, case.gateway, case.clock)
        again = reconcile(window, case.engine, case.gateway, case.clock)

        assert sorted(each.kind for each in found.repaired) == [
            DriftKind.MISSED_DISPUTE,
            DriftKind.MISSED_PAYMENT,
            DriftKind.MISSED_REFUND,
        ]
        assert again.repaired == []
        assert [each for each in again.parked if each.customer_id == "acme"] == []
        assert_told(case)


# F71: the secret is rolled.


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def test_f71_both_secrets_work_while_one_is_rolled(
    api: Api, owing: Callable[..., Case], receiver: Receiver
) -> None:
    case = owing()
    endpoints = case.sandbox.client().v1.webhook_endpoints
    made = endpoints.create({"url": receiver.url, "enabled_events": ["payment_intent.succeeded"]})
    old = str(made.secret)
    new = case.sandbox.ask("POST", f"webhook_endpoints/{made.id}/roll", {"expires_in": HOUR})
    case.collect()
    eventually(lambda: receiver.deliveries)
    case.sandbox.advance(2 * HOUR)
    case.sandbox.ask("POST", f"events/{case.events('payment_intent.succeeded')[0]['id']}/resend")
    eventually(lambda: len(receiver.deliveries) == 2)
    endpoints.delete(made.id)

    secrets = {"old": [old], "new": [new["secret"]], "both": [old, new["secret"]]}
    answers = [
        {
            which: deliver(api.behind(webhook_secrets=those), body, signed)
            for which, those in secrets.items()
        }
        for body, signed in receiver.deliveries
    ]

    assert answers[0] == {"old": 200, "new": 200, "both": 200}
    assert answers[1] == {"old": 400, "new": 200, "both": 200}
    assert len(rows_of(case.engine, tables.stripe_events)) == 1


# F72: the process dies between storing and finishing.


@pytest.mark.parametrize("heard", [False, True], ids=["before Stripe was asked", "after"])
def test_f72_an_event_whose_reader_died_is_followed_by_the_next(case: Case, heard: bool) -> None:
    dies(case.collect, case, "confirm", heard=True)
    (event,) = store(case.engine, case.clock, *case.events("payment_intent.succeeded"))
    with case.engine.begin() as tx:
        assert claim_due_events(tx, case.clock.wall(), 10) == [event]
    dying = DyingGateway(case.sandbox, "retrieve", heard=heard)
    with pytest.raises(Died):
        apply_stripe_event(event, case.engine, dying, case.clock)

    assert followed_later(case) == [event]

    assert one_row(case.engine, tables.stripe_events)["tries"] == 2
    assert_paid_once(case)


def test_f72_an_event_that_was_applied_and_not_finished_is_applied_once(case: Case) -> None:
    dies(case.collect, case, "confirm", heard=True)
    (event,) = store(case.engine, case.clock, *case.events("payment_intent.succeeded"))
    with case.engine.begin() as tx:
        claim_due_events(tx, case.clock.wall(), 10)
    learn_payment(case.intent, case.engine, case.gateway, case.clock)

    assert followed_later(case) == [event]

    assert followed_later(case) == []
    assert_paid_once(case)


def followed_later(case: Case) -> list[str]:
    """What falls due once the dead reader's lease is over, followed."""
    with case.engine.begin() as tx:
        assert claim_due_events(tx, case.clock.wall(), 10) == []
        due = claim_due_events(tx, case.clock.wall() + timedelta(minutes=10), 10)
    for event in due:
        apply_stripe_event(event, case.engine, case.gateway, case.clock)
    return due
