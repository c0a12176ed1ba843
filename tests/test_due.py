"""The table of contents of all that can fall due: what is due is found, and done once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, insert, text, update
from structlog.testing import capture_logs
from structlog.typing import EventDict

from schemas.events import Event
from schemas.ids import new_id
from schemas.inbox import Entry, partition_of, stream_of
from tests.builders import (
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    add_customer_with_card,
    charge,
    deployed,
    give_credits,
    one_row,
    outcomes,
    owe,
    publish_all,
    reasons,
    reverted,
    rows_of,
    settle_events,
)
from tests.collecting import CONFIRM
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.answers import Answer
from worker.billing.charges import ChargeStatus
from worker.billing.hints import Webhook
from worker.billing.orders import Wish
from worker.clock import Clock
from worker.collect import collect, confirm, create, freeze
from worker.customers import open_book
from worker.due import DUE, Due, Tools, batches, sweep
from worker.inbox import RETENTION, Inbox
from worker.refund import request_refund
from worker.storage import tables
from worker.storage.charges import LEASE, ChargeKey, ask_soon
from worker.storage.parked import park
from worker.storage.stripe_events import store_event
from worker.storage.top_ups import TopUpKey
from worker.stripe_gateway import StripeGateway
from worker.subscribe import place_order
from worker.top_up import request

REPOSITORY = Path(__file__).parents[1]
NO_SUCH_VERSION = date(1999, 1, 1)  # of any plan: a book with it cannot be opened


@pytest.fixture
def tools(engine: Engine, redis: Redis, stripe: StripeGateway, clock: Clock) -> Tools:
    return Tools(engine, redis, stripe, clock)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[EventDict]]:
    """What would have been written to the log."""
    with capture_logs() as entries:
        yield entries


def found(kind: str, tools: Tools) -> list[Any]:
    return list(DUE[kind].find(tools))


# Each kind: one row of it that is due, one whose life fails, and how often it was done.


def a_charge(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    add_customer_with_card(tools.engine, sandbox, customer_id)
    owe(tools.engine, customer_id)


def charges_paid(tools: Tools, customer_id: str) -> int:
    return len(rows_of(tools.engine, tables.transfers, customer_id=customer_id, kind="pay"))


def a_stripe_event(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    """Of a payment that the collector did not live to record."""
    add_customer_with_card(tools.engine, sandbox, customer_id)
    attempt = freeze(owe(tools.engine, customer_id), tools.engine, tools.stripe, tools.clock)
    assert attempt is not None
    answer = confirm(attempt, create(attempt, tools.engine, tools.stripe), tools.stripe)
    store_webhook(tools, f"evt_{customer_id}", answer.payment_intent)


def a_withdrawal(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    """Its intent is at Stripe, and its only fix was taken back."""
    add_customer_with_card(tools.engine, sandbox, customer_id)
    attempt = freeze(owe(tools.engine, customer_id), tools.engine, tools.stripe, tools.clock)
    assert attempt is not None
    create(attempt, tools.engine, tools.stripe)
    settle_events(tools.engine, reverted("fix-1", customer_id))


def charges_void(tools: Tools, customer_id: str) -> int:
    return len(rows_of(tools.engine, tables.charges, customer_id=customer_id, status="void"))


def a_refund(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    """Whoever asked for it died before it was sent, and longer ago than their lease."""
    add_customer_with_card(tools.engine, sandbox, customer_id)
    key = owe(tools.engine, customer_id)
    assert collect(key, tools.engine, tools.stripe, tools.clock) == "paid"
    request_refund(key, tools.engine, tools.clock)
    with tools.engine.begin() as tx:
        tx.execute(text("UPDATE refunds SET leased_until = now() - interval '1 second'"))


def refunds_booked(tools: Tools, customer_id: str) -> int:
    return len(rows_of(tools.engine, tables.transfers, customer_id=customer_id, kind="refund"))


def store_webhook(
    tools: Tools, event_id: str, intent: str | None = None, ago: timedelta = timedelta(0)
) -> None:
    webhook = Webhook(event_id, "payment_intent.succeeded", False, intent, b"{}")
    with tools.engine.begin() as tx:
        store_event(tx, webhook, tools.clock.wall() - ago)


def a_held_fix(tools: Tools, _: RunningSandbox, customer_id: str) -> None:
    add_customer(tools.engine, customer_id, card=False)
    settle_events(tools.engine, deployed("fix-1", customer_id))
    give_credits(tools.engine, customer_id)


def fixes_settled(tools: Tools, customer_id: str) -> int:
    moved = rows_of(tools.engine, tables.transfers, customer_id=customer_id)
    return len([row for row in moved if row["kind"] in {"consume", "charge"}])


def a_waiting_fix(tools: Tools, _: RunningSandbox, customer_id: str) -> None:
    settle_events(tools.engine, deployed("fix-1", customer_id))
    add_customer(tools.engine, customer_id)


def a_parked_entry(tools: Tools, _: RunningSandbox, customer_id: str) -> None:
    add_customer(tools.engine, customer_id)
    park_event(tools, deployed("fix-1", customer_id))


def park_event(tools: Tools, event: Event, at: datetime = NOW) -> None:
    with tools.engine.begin() as tx:
        park(tx, event.customer_id, Entry(new_id("parked"), event.to_bytes(), "http", at))


def over(tools: Tools, customer_id: str) -> None:
    """February has ended, and nobody has looked at this customer since."""
    february = datetime(2026, 2, 1, tzinfo=UTC)
    add_customer(tools.engine, customer_id, cycle_start=february, cycle_end=MARCH.start)


def a_subscription_order(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    """Whoever placed it died before Stripe was asked, and longer ago than their lease."""
    stripe_customer = add_customer_with_card(tools.engine, sandbox, customer_id)
    card = one_row(tools.engine, tables.customers, customer_id=customer_id)["payment_method"]
    tools.stripe.make_default(stripe_customer, card)
    with tools.engine.begin() as tx:
        _, book = open_book(tx, customer_id, tools.clock)
        place_order(tx, book, Wish.BEGIN, tools.clock, "pro")
        tx.execute(text("UPDATE subscription_orders SET leased_until = now() - interval '1 s'"))


def a_top_up(tools: Tools, sandbox: RunningSandbox, customer_id: str) -> None:
    """Whoever asked for it died before Stripe was asked, and longer ago than their lease."""
    add_customer_with_card(tools.engine, sandbox, customer_id)
    request(TopUpKey(customer_id, "three"), 3, tools.engine, tools.clock)
    with tools.engine.begin() as tx:
        tx.execute(text("UPDATE top_ups SET leased_until = now() - interval '1 s'"))


def break_book(tools: Tools, customer_id: str) -> None:
    """Whatever reads this customer's book fails."""
    with tools.engine.begin() as tx:
        mine = tables.books.c.customer_id == customer_id
        broken = {"plan_version": NO_SUCH_VERSION, "currency": "?"}
        tx.execute(update(tables.books).where(mine).values(broken))


@dataclass(frozen=True)
class Kind:
    """How a row of this kind comes to be due, and how often it was done."""

    arrange: Callable[[Tools, RunningSandbox, str], None]
    done: Callable[[Tools, str], int]


KINDS = {
    "charge": Kind(a_charge, charges_paid),
    "withdrawal": Kind(a_withdrawal, charges_void),
    "refund": Kind(a_refund, refunds_booked),
    "stripe_event": Kind(a_stripe_event, charges_paid),
    "subscription_order": Kind(a_subscription_order, charges_paid),
    "top_up": Kind(a_top_up, charges_paid),
    "held_fix": Kind(a_held_fix, fixes_settled),
    "waiting_fix": Kind(a_waiting_fix, fixes_settled),
    "parked_entry": Kind(a_parked_entry, fixes_settled),
}


def test_every_kind_but_those_of_the_whole_stands_for_rows_that_are_done_once() -> None:
    assert DUE.keys() == KINDS.keys() | {
        "cycle",
        "statement",
        "fee",
        "reconcile",
        "retention",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_due_a_sweep_does_nothing(kind: str, tools: Tools) -> None:
    assert sweep(kind, tools) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_due_is_done_once_however_often_beat_rings(
    kind: str, tools: Tools, sandbox: RunningSandbox
) -> None:
    for customer_id in ("acme", "globex"):
        KINDS[kind].arrange(tools, sandbox, customer_id)

    swept = [sweep(kind, tools) for _ in range(3)]

    assert swept == [2, 0, 0]
    assert [KINDS[kind].done(tools, each) for each in ("acme", "globex")] == [1, 1]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"parked_entry"}))
def test_one_row_that_fails_does_not_stop_the_others(
    kind: str, tools: Tools, sandbox: RunningSandbox, logged: list[EventDict]
) -> None:
    for customer_id in ("acme", "broken", "globex"):
        KINDS[kind].arrange(tools, sandbox, customer_id)
    break_book(tools, "broken")

    done = sweep(kind, tools)

    assert done == 2
    assert [KINDS[kind].done(tools, each) for each in ("acme", "broken", "globex")] == [1, 0, 1]
    failed = [each for each in logged if each["event"] == "due_row_failed"]
    assert [each["kind"] for each in failed] == [kind]


def cycle_of(tools: Tools, customer_id: str) -> int:
    return int(one_row(tools.engine, tables.books, customer_id=customer_id)["cycle"])


def test_a_cycle_that_is_over_ends_once_however_often_beat_rings(tools: Tools) -> None:
    for customer_id in ("acme", "globex"):
        over(tools, customer_id)

    swept = [sweep("cycle", tools) for _ in range(3)]

    assert swept == [1, 1, 1]  # of the inbox, up to which it goes
    for customer_id in ("acme", "globex"):
        rows = rows_of(tools.engine, tables.cycles, customer_id=customer_id)
        assert [(row["number"], row["status"]) for row in rows] == [(1, "closed"), (2, "open")]
        assert cycle_of(tools, customer_id) == 2


def test_one_customer_whose_cycle_cannot_end_does_not_stop_the_others(
    tools: Tools, logged: list[EventDict]
) -> None:
    for customer_id in ("acme", "broken", "globex"):
        over(tools, customer_id)
    break_book(tools, "broken")

    sweep("cycle", tools)

    assert [cycle_of(tools, each) for each in ("acme", "broken", "globex")] == [2, 1, 2]
    failed = [each for each in logged if each["event"] == "rollover_failed"]
    assert [each["customer"] for each in failed] == ["broken"]


# Charges.


def add_charge(engine: Engine, customer_id: str, status: str, **more: Any) -> ChargeKey:
    """A charge as it would be stored with this status."""
    one = charge(
        status=ChargeStatus(status), customer_id=customer_id, charge_id=new_id("ch"), **more
    )
    values = {column.name: getattr(one, column.name) for column in tables.charges.columns}
    with engine.begin() as tx:
        tx.execute(insert(tables.charges).values(values))
    return ChargeKey(customer_id, one.charge_id)


def test_charges_are_found_when_their_time_has_come_and_no_other_holds_them(tools: Tools) -> None:
    wall = tools.clock.wall()
    for number in range(9):
        add_customer(tools.engine, f"customer-{number}")
    due = [
        add_charge(tools.engine, "customer-0", "open", due_at=NOW - MINUTE),
        add_charge(tools.engine, "customer-1", "frozen", due_at=NOW - 3 * MINUTE),
        add_charge(tools.engine, "customer-2", "declined", due_at=NOW - 2 * MINUTE),
        add_charge(
            tools.engine, "customer-3", "open", due_at=NOW - HOUR, leased_until=wall - MINUTE
        ),
    ]
    add_charge(tools.engine, "customer-4", "open", due_at=NOW + HOUR)
    add_charge(tools.engine, "customer-5", "open", due_at=None)
    add_charge(tools.engine, "customer-6", "open", due_at=NOW - HOUR, leased_until=wall + MINUTE)
    add_charge(tools.engine, "customer-7", "declined", due_at=None)
    add_charge(tools.engine, "customer-7", "open", due_at=NOW - HOUR)
    add_charge(tools.engine, "customer-8", "paid")

    first, second = found("charge", tools), found("charge", tools)

    assert first == [due[3], due[1], due[2], due[0]]
    assert second == []


def test_a_charge_whose_collector_died_is_found_again_after_its_lease(tools: Tools) -> None:
    add_customer(tools.engine)
    key = add_charge(tools.engine, "acme", "frozen")
    assert found("charge", tools) == [key]

    leased_until = one_row(tools.engine, tables.charges)["leased_until"]

    assert tools.clock.wall() < leased_until <= tools.clock.wall() + LEASE
    with tools.engine.begin() as tx:
        tx.execute(text("UPDATE charges SET leased_until = now() - interval '1 second'"))
    assert found("charge", tools) == [key]


def test_two_sweeps_at_once_never_take_the_same_charge(tools: Tools) -> None:
    for number in range(4):
        add_customer(tools.engine, f"customer-{number}")
        add_charge(tools.engine, f"customer-{number}", "open")

    with tools.engine.begin() as other:
        held = other.execute(text("SELECT charge_id FROM charges LIMIT 1 FOR UPDATE")).scalar()
        taken = found("charge", tools)

    assert len(taken) == 3
    assert held not in {key.charge_id for key in taken}


class NewsGateway(StripeGateway):
    """By the time an intent is made, there is news of those before it."""

    def __init__(self, sandbox: RunningSandbox, tools: Tools) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.tools = tools

    def create_intent(self, parameters: Mapping[str, Any], key: str) -> Answer:
        with self.tools.engine.begin() as tx:
            for row in rows_of(self.tools.engine, tables.charges, status="frozen"):
                if row["payment_intent"] is not None:
                    told = ChargeKey(row["customer_id"], row["charge_id"])
                    ask_soon(tx, told, self.tools.clock.now())
        return super().create_intent(parameters, key)


def test_a_charge_that_falls_due_again_during_its_sweep_is_not_left_to_its_lease(
    tools: Tools, sandbox: RunningSandbox
) -> None:
    for customer_id in ("acme", "globex"):
        a_charge(tools, sandbox, customer_id)
    sandbox.fault("http_429", "POST", CONFIRM)  # acme's, which is due first

    sweep("charge", replace(tools, stripe=NewsGateway(sandbox, tools), collectors=1))

    assert [charges_paid(tools, each) for each in ("acme", "globex")] == [1, 1]


def test_a_row_that_is_due_again_and_again_does_not_keep_its_sweep_going(tools: Tools) -> None:
    always = Due(lambda _: ["row"], lambda *_: None, every=1, asks_stripe=True)

    assert list(islice(batches(always, tools), 9)) == [["row"], ["row"]]


# Held fixes.


def held(tools: Tools, customer_id: str, **book: Any) -> None:
    """A customer with one held fix, and then these values in their book."""
    add_customer(tools.engine, customer_id, card=False)
    settle_events(tools.engine, deployed("fix-1", customer_id))
    if book:
        with tools.engine.begin() as tx:
            mine = tables.books.c.customer_id == customer_id
            tx.execute(update(tables.books).where(mine).values(book))


CARD = {"has_payment_method": True}

BACKLOGS: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing can pay": ({}, False),
    "a card without the customer's word": (CARD, False),
    "accepted": (CARD | {"accepted_held_until": NOW}, True),
    "within a cap": (CARD | {"spending_cap": 2900}, True),
    "room for one more": (
        CARD | {"spending_cap": 5800, "spent": 2900},
        True,
    ),
    "the cap is reached": (
        CARD | {"spending_cap": 2900, "spent": 2900},
        False,
    ),
    "room for less than one": (
        CARD | {"spending_cap": 3000, "spent": 2900},
        False,
    ),
    "the period is not paid": (
        CARD | {"accepted_held_until": NOW, "subscription_id": "sub_1", "anchor": MARCH.start},
        False,
    ),
    "held after the acceptance": (CARD | {"accepted_held_until": NOW - HOUR}, False),
    "past due": (CARD | {"accepted_held_until": NOW, "past_due": True}, False),
    "accepted without a card": ({"accepted_held_until": NOW}, False),
    "a plan without a price": (CARD | {"accepted_held_until": NOW, "plan": "trial"}, False),
}


def test_a_held_fix_is_due_when_something_may_pay_for_it_and_not_before(tools: Tools) -> None:
    names = {name.replace(" ", "-").replace("'", ""): name for name in BACKLOGS}
    for customer_id, name in names.items():
        held(tools, customer_id, **BACKLOGS[name][0])

    backlogs = found("held_fix", tools)
    sweep("held_fix", tools)

    due = {name for name, (_, is_due) in BACKLOGS.items() if is_due}
    settled = rows_of(tools.engine, tables.fixes, outcome="charged")
    assert {names[row["customer_id"]] for row in settled} == due
    assert {names[customer_id] for customer_id in backlogs} == due


def test_a_credit_makes_held_fixes_due_unless_it_has_expired(tools: Tools) -> None:
    for customer_id, expires_at in (("acme", None), ("globex", NOW + HOUR), ("late", NOW - HOUR)):
        held(tools, customer_id)
        give_credits(tools.engine, customer_id, expires_at=expires_at)

    assert sorted(found("held_fix", tools)) == ["acme", "globex"]


def test_customers_whose_backlog_cannot_move_keep_nobody_from_their_turn(tools: Tools) -> None:
    for number in range(101):
        name = f"stuck-{number:03}"
        held(tools, name, **CARD, spending_cap=3000, spent=2900)
    held(tools, "zoe")
    give_credits(tools.engine, "zoe")

    for _ in range(2):
        sweep("held_fix", tools)

    assert outcomes(tools.engine, "zoe") == {"fix-1": "credited"}


# Waiting fixes and parked entries.


def test_waiting_fixes_are_due_when_their_customer_is_known(tools: Tools) -> None:
    settle_events(tools.engine, *(deployed("fix-1", each) for each in ("acme", "globex")))
    settle_events(tools.engine, deployed("fix-2", "acme"))
    before = found("waiting_fix", tools)

    add_customer(tools.engine, "acme")

    assert before == []
    assert found("waiting_fix", tools) == ["acme"]
    assert sweep("waiting_fix", tools) == 1
    assert outcomes(tools.engine) == {"fix-1": "charged", "fix-2": "charged"}
    assert [row["customer_id"] for row in rows_of(tools.engine, tables.waiting_fixes)] == ["globex"]


def test_parked_entries_are_found_oldest_first(tools: Tools) -> None:
    for number in (2, 1, 3):
        park_event(tools, deployed(f"fix-{number}"), at=NOW + number * MINUTE)

    entries = found("parked_entry", tools)

    assert [each.accepted_at for each in entries] == [NOW + n * MINUTE for n in (1, 2, 3)]
    assert {each.door for each in entries} == {"http"}


def test_what_is_parked_and_cannot_be_settled_is_set_aside_and_the_others_have_their_turn(
    tools: Tools,
) -> None:
    add_customer(tools.engine, "broken")
    break_book(tools, "broken")
    for number in range(101):
        park_event(tools, deployed(f"fix-{number}", "broken"), at=NOW - HOUR)
    add_customer(tools.engine)
    park_event(tools, deployed())

    for _ in range(2):
        sweep("parked_entry", tools)

    assert outcomes(tools.engine) == {"fix-1": "charged"}
    assert outcomes(tools.engine, "broken") == {}
    assert reasons(tools.engine) == ["unsettleable"] * 101
    assert rows_of(tools.engine, tables.parked_entries) == []


# Webhooks.


def test_a_stripe_event_is_due_until_it_is_done(tools: Tools) -> None:
    for event_id, minutes in (("evt_new", 0), ("evt_old", 2), ("evt_done", 1), ("evt_later", -1)):
        store_webhook(tools, event_id, ago=minutes * MINUTE)
    with tools.engine.begin() as tx:
        tx.execute(text("UPDATE stripe_events SET due_at = NULL WHERE event_id = 'evt_done'"))

    first, second = found("stripe_event", tools), found("stripe_event", tools)

    assert first == ["evt_old", "evt_new"]
    assert second == []


# What is always due: reconcile and retention.


def test_a_payment_nobody_told_us_of_is_booked_once_however_often_beat_rings(
    tools: Tools, sandbox: RunningSandbox
) -> None:
    add_customer_with_card(tools.engine, sandbox)
    attempt = freeze(owe(tools.engine), tools.engine, tools.stripe, tools.clock)
    assert attempt is not None
    confirm(attempt, create(attempt, tools.engine, tools.stripe), tools.stripe)
    sandbox.advance(int(HOUR.total_seconds()))
    at_stripe = datetime.fromtimestamp(sandbox.ask("GET", "clock")["now"], UTC)
    later = replace(tools, clock=Clock(at_stripe - datetime.now(UTC)))

    swept = [sweep("reconcile", later) for _ in range(2)]

    assert swept == [1, 1]
    assert charges_paid(tools, "acme") == 1


def test_retention_forgets_what_was_settled_long_ago_and_nothing_else(
    tools: Tools, redis: Redis
) -> None:
    stream = stream_of(partition_of("acme"))
    add_customer(tools.engine)
    old = tools.clock.wall() - RETENTION - HOUR
    inbox = Inbox(redis, [partition_of("acme")])
    for number in range(300):  # trimming is by whole nodes of the stream
        redis.xadd(stream, {"e": b"{}"}, id=f"{int(old.timestamp() * 1000)}-{number}")
    publish_all(redis, [deployed()])
    inbox.create_groups()
    unsettled = (sweep("retention", tools), redis.xlen(stream))
    while entries := inbox.fresh(1000):
        inbox.acknowledge(entries)

    settled = (sweep("retention", tools), redis.xlen(stream))

    assert unsettled == (1, 301)
    assert settled[0] == 1
    assert 1 <= settled[1] < 201


def test_without_redis_retention_fails_and_says_so(
    engine: Engine, stripe: StripeGateway, clock: Clock, logged: list[EventDict]
) -> None:
    with Redis.from_url("redis://127.0.0.1:1") as away:
        done = sweep("retention", Tools(engine, away, stripe, clock))

    assert done == 0
    assert [each["event"] for each in logged if each["log_level"] == "error"] == ["due_row_failed"]


# Beat.


SHOW = """
import json
from worker.celery_app import app
print(json.dumps({name: [str(line["task"]), line["schedule"], line["args"], line["options"]]
                  for name, line in app.conf.beat_schedule.items()}))
"""


@pytest.fixture(scope="module")
def schedule() -> dict[str, Any]:
    """Beat's, as a process of its own has it."""
    settings = {"REDIS_URL": "redis://:secret@127.0.0.1:1/0", "SETTLERS": "2"}
    run = subprocess.run(
        [sys.executable, "-c", SHOW],
        env={"PATH": os.environ["PATH"], **settings},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines: dict[str, Any] = json.loads(run.stdout)
    return lines


def test_beat_rings_for_every_kind_and_every_settler(schedule: dict[str, Any]) -> None:
    sweeps = {name: line for name, line in schedule.items() if line[0] == "fixbill.sweep"}
    bells = {name: line for name, line in schedule.items() if line[0] == "fixbill.settle"}

    assert {line[2][0]: line[1] for line in sweeps.values()} == {
        kind: due.every for kind, due in DUE.items()
    }
    assert sorted(line[2][0] for line in bells.values()) == [0, 1]
    assert len(sweeps) + len(bells) == len(schedule)


def test_a_bell_nobody_heard_in_time_is_not_rung_later(schedule: dict[str, Any]) -> None:
    late = {
        name: options["expires"]
        for name, (_, every, _, options) in schedule.items()
        if not every <= options["expires"] <= max(every, 2)
    }

    assert late == {}
