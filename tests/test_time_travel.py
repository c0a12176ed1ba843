"""The test clock: however far it is moved, everything happens on the way as it would by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.builders import DAY, HOUR, MINUTE, one_row, rows_of
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.stack import Databases, connected
from tests.travelling import World, world_of
from worker.billing.drift import Window
from worker.customers import CustomerProblem, add_payment_method
from worker.storage import tables
from worker.storage.engine import WORKER
from worker.stripe_gateway import StripeGateway
from worker.subscribe import set_plan
from worker.time_travel import ClockProblem, advance

DECLINES = "pm_card_chargeCustomerFail"
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def own_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One whose clock no other test moves."""
    with running_sandbox(tmp_path_factory.mktemp("clocks")) as one:
        yield one


@pytest.fixture
def world(engine: Engine, redis: Redis, own_sandbox: RunningSandbox) -> World:
    return world_of(engine, redis, own_sandbox)


# What moves.


def test_cycles_end_close_and_are_stated(world: World) -> None:
    acme = world.joins("acme")
    end = world.book(acme)["cycle_end"]

    world.waits_until(end)
    assert [row["status"] for row in world.rows(tables.cycles, acme)] == ["closing", "open"]

    world.waits(HOUR)
    assert [row["status"] for row in world.rows(tables.cycles, acme)] == ["closed", "open"]
    assert [row["number"] for row in world.rows(tables.statements, acme)] == [1]
    assert world.broken() == []


def test_credits_expire_and_bought_ones_never_do(world: World) -> None:
    acme = world.joins("acme")
    world.is_given(acme, 3, 5 * DAY)
    world.buys(acme, 2)

    world.waits(4 * DAY)
    assert world.book(acme)["credits"] == 5
    world.waits(DAY + MINUTE)
    assert world.book(acme)["credits"] == 2
    world.waits(400 * DAY)

    assert (world.book(acme)["credits"], world.book(acme)["expired"]) == (2, 3)
    assert world.broken() == []


def test_our_clock_and_the_sandboxs_move_together(world: World) -> None:
    acme = world.joins("acme")
    before, theirs = world.now(), world.sandbox.now()

    world.waits(40 * DAY)

    for ours in (world.now(), world.now(acme)):
        assert 40 * DAY <= ours - before < 40 * DAY + HOUR
    assert 40 * DAY.total_seconds() <= world.sandbox.now() - theirs < 40 * 86_400 + 3600


def test_a_declined_charge_is_tried_again_and_past_due_in_one_step(world: World) -> None:
    """On days 1, 3, 5 and 7 after the first no; and never again."""
    acme = world.joins("acme", DECLINES)
    world.fixes(acme)

    world.waits(10 * DAY)

    tries = sorted(row["started_at"] for row in world.rows(tables.attempts, acme))
    assert world.book(acme)["past_due"] is True
    assert one_row(world.tools.engine, tables.charges)["tries"] == 5
    assert len(tries) == 5
    assert len(world.sandbox.payments(customer=world.stripe_customer(acme))) == 5
    assert world.waits(10 * DAY) >= 1
    assert len(world.rows(tables.attempts, acme)) == 5
    assert world.broken() == []


def test_it_is_not_past_due_before_the_last_try(world: World) -> None:
    acme = world.joins("acme", DECLINES)
    world.fixes(acme)

    tried = []
    for _ in range(8):
        world.waits(MINUTE)
        tried.append(len(world.rows(tables.attempts, acme)))
        assert world.book(acme)["past_due"] is (len(tried) > 7)
        world.waits(DAY - MINUTE)

    assert tried == [1, 2, 2, 3, 3, 4, 4, 5]


def test_a_subscription_renews_every_month_and_gives_its_credits(world: World) -> None:
    acme = world.joins("acme")
    world.goes_pro(acme)

    world.waits(100 * DAY)

    assert world.paid(acme) == [59900] * 4
    included = rows_of(world.tools.engine, tables.grants, customer_id=acme, source="included")
    assert [row["granted"] for row in included] == [10] * 4
    assert world.book(acme)["credits"] == 20  # ten of this month, ten that rolled over
    assert len(world.rows(tables.statements, acme)) == 4
    assert world.broken() == []


def test_bought_credits_survive_the_beginning_and_the_end_of_pro(world: World) -> None:
    acme, tools = world.joins("acme"), world.tools
    world.buys(acme, 2)
    world.goes_pro(acme)
    world.waits(40 * DAY)
    set_plan(acme, "payg", tools.engine, tools.stripe, tools.clock)

    world.waits(100 * DAY)

    assert world.book(acme)["plan"] == "payg"
    left = {
        row["grant_id"]: row["remaining"]
        for row in world.rows(tables.grants, acme)
        if row["remaining"]
    }
    assert left == {"top_up:key-1": 2}
    assert world.broken() == []


# However it is cut.


SAME_BUT_FOR_TIME = {
    "books": {
        "accepted_at",
        "subscription_id",
        "clock_offset",
        "due_at",
        "head",
        "cycle_start",
        "cycle_end",
        "anchor",
        "paid_until",
    },
    "transfers": {"happened_at", "recorded_at", "hash", "source_key", "charge_id", "grant_id"},
    "grants": {"expires_at", "recorded_at", "origin", "grant_id"},
    "cycles": {"starts_at", "ends_at", "closed_at", "stated_at"},
}


def left_behind(world: World, customer_id: str) -> dict[str, list[dict[str, Any]]]:
    """What the books look like, but for times, hashes, and Stripe's ids and ours."""
    return {
        name: sorted(
            (
                {key: value for key, value in row.items() if key not in SAME_BUT_FOR_TIME[name]}
                for row in world.rows(tables.metadata.tables[name], customer_id)
            ),
            key=repr,
        )
        for name in SAME_BUT_FOR_TIME
    }


def lives_of(world: World, customer_id: str) -> None:
    """Whatever falls due: a subscription, credits that expire, and money that is declined."""
    world.joins(customer_id)
    world.is_given(customer_id, 4, 5 * DAY + HOUR)
    world.buys(customer_id, 1)
    world.goes_pro(customer_id)
    world.fixes(customer_id, 3)


def test_forty_days_at_once_are_eight_times_five(
    databases: Databases, redis: Redis, own_sandbox: RunningSandbox
) -> None:
    """But for when things were booked: each has a database of its own, and a clock of its own."""
    books = []
    for step in (40 * DAY, 5 * DAY):
        with databases.fresh() as database, connected(database.worker_url, WORKER) as engine:
            world = world_of(engine, redis, own_sandbox)
            acme, globex = "acme", world.joins("globex", DECLINES)
            lives_of(world, acme)
            world.fixes(globex, 2)
            for customer_id, whole in ((acme, 40 * DAY), (globex, 10 * DAY)):
                for _ in range(max(1, whole // step)):
                    world.waits(min(step, whole), customer_id)
            books.append([left_behind(world, each) for each in (acme, globex)])
            assert world.broken() == []

    assert books[0] == books[1]


# For one customer.


def test_nobody_else_sees_one_customers_clock(world: World) -> None:
    acme, globex = world.joins("acme"), world.joins("globex")
    world.goes_pro(acme)
    world.goes_pro(globex)
    before, stack = world.book(globex), world.now()
    theirs = world.sandbox.now(world.stripe_customer(globex))

    world.waits(40 * DAY, acme)

    assert world.ahead(acme) - world.ahead(globex) == 40 * DAY
    assert world.book(globex) == before
    assert world.now() - stack < HOUR
    assert world.sandbox.now(world.stripe_customer(globex)) - theirs < HOUR.total_seconds()
    assert (len(world.paid(acme)), len(world.paid(globex))) == (2, 1)
    assert world.broken() == []


def test_new_customers_take_the_stacks_lead_and_not_anothers(world: World) -> None:
    acme = world.joins("acme")
    world.waits(40 * DAY, acme)
    world.waits(10 * DAY)

    globex = world.joins("globex")

    assert abs(world.now(globex) - world.now()) < SECOND
    assert world.ahead(acme) - world.ahead(globex) == 40 * DAY
    assert world.book(globex)["cycle_start"] <= world.now(globex) < world.book(globex)["cycle_end"]


def test_a_customer_that_stripe_does_not_know_moves_on_too(world: World) -> None:
    """What is to happen soon to others at Stripe stops nobody's time."""
    world.goes_pro(world.joins("globex"))
    acme = world.joins("acme", card=None)
    world.is_given(acme, 3, 5 * DAY)

    stops = world.waits(40 * DAY, acme)

    assert (world.book(acme)["credits"], world.book(acme)["cycle"]) in ((0, 2), (0, 3))
    assert stops < 10


def test_a_customer_who_is_ahead_is_followed_when_everybody_moves(world: World) -> None:
    acme = world.joins("acme")
    world.goes_pro(acme)
    world.waits(25 * DAY, acme)

    world.waits(10 * DAY)

    assert len(world.paid(acme)) == 2
    assert world.rows(tables.books, acme)[0]["credits"] == 20
    assert world.broken() == []


def test_a_customer_who_comes_to_stripe_when_they_are_ahead_is_ahead_there_too(
    world: World,
) -> None:
    acme, tools = world.joins("acme", card=None), world.tools
    world.waits(40 * DAY, acme)
    add_payment_method(acme, "pm_card_visa", tools.engine, tools.stripe, tools.clock)

    theirs = world.sandbox.now(world.stripe_customer(acme))

    assert abs(theirs - world.now(acme).timestamp()) < HOUR.total_seconds()


class SlowGateway(StripeGateway):
    """Time passes by itself while Stripe's events are looked at."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.sandbox = sandbox

    def events(self, window: Window) -> list[Mapping[str, Any]]:
        found = super().events(window)
        self.sandbox.advance(5)
        return found


def test_what_happens_at_stripe_while_we_look_is_seen_the_next_time(world: World) -> None:
    """A crowd's renewals fall due within seconds of each other."""
    crowd = [world.joins(f"customer-{n}") for n in range(3)]
    for each in crowd:
        world.goes_pro(each)
        world.waits(3 * SECOND)
    slow = replace(world, tools=replace(world.tools, stripe=SlowGateway(world.sandbox)))

    slow.waits(40 * DAY)

    assert [len(world.paid(each)) for each in crowd] == [2, 2, 2]
    assert [world.book(each)["credits"] for each in crowd] == [20, 20, 20]
    assert world.broken() == []


# What cannot be.


@pytest.mark.parametrize("by", [timedelta(0), -DAY, timedelta(milliseconds=999)])
def test_time_passes_forward_only(world: World, by: timedelta) -> None:
    with pytest.raises(ClockProblem, match="forward"):
        world.waits(by)


def test_the_clock_of_nobody_cannot_be_moved_or_read(world: World) -> None:
    with pytest.raises(CustomerProblem, match="there is no customer nobody"):
        world.waits(DAY, "nobody")
    with pytest.raises(ClockProblem, match="there is no customer nobody"):
        world.now("nobody")


def test_a_sandbox_that_does_not_answer_is_no_time_passed(world: World, engine: Engine) -> None:
    acme = world.joins("acme")
    before = world.ahead(acme)

    with pytest.raises(ClockProblem, match="does not move"):
        advance(DAY, world.tools, f"{world.sandbox.url}/nowhere", acme)

    assert world.ahead(acme) == before


def test_time_goes_on_while_stripe_fails(world: World) -> None:
    """What is unclear is asked about until it is clear, and nothing is paid twice."""
    acme = world.joins("acme")
    world.fixes(acme)
    world.sandbox.fault("http_500_after", "POST", "/v1/payment_intents/*/confirm", times=3)

    world.waits(2 * DAY)

    assert world.paid(acme) == [2900]
    assert world.broken() == []
