"""A fix is explained: what happened to it, in words, and what it costs, in steps that add up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from psycopg import Cursor
from sqlalchemy import Connection, Engine, text, update

from schemas.explanations import FixExplanation
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    add_customer,
    deployed,
    entry,
    give_credits,
    numbers,
    reverted,
    settle_entries,
    settle_events,
)
from tests.stack import Databases, connected
from tests.usage.explaining import assert_explained, costs, fix_explained, texts
from tests.usage.histories import (
    Collect,
    Decide,
    Deploy,
    Dispute,
    Fail,
    Pay,
    Return,
    ReturnFix,
    Revert,
    Stray,
    Withdraw,
    World,
    WriteOff,
    begin,
)
from worker.billing import decide
from worker.billing.answers import AnswerKind
from worker.storage import tables
from worker.storage.engine import WORKER
from worker.storage.evidence import FixKey
from worker.usage.explain import explain_fix
from worker.usage.fix_story import HELPS

PAID, DECLINED = Collect(AnswerKind.SUCCEEDED), Collect(AnswerKind.DECLINED)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def shared(databases: Databases) -> Iterator[Engine]:
    """One database: every test has a customer of its own."""
    with databases.fresh() as one, connected(one.worker_url, WORKER) as engine:
        yield engine


@pytest.fixture
def world(shared: Engine) -> World:
    return begin(shared, f"customer-{next(numbers)}", 0)


def lived(world: World, *steps: Any, fix: int = 1) -> FixExplanation:
    """What is said of this fix after all that; whatever it is, it adds up."""
    for step in steps:
        step.take(world)
    assert_explained(world.engine, world.customer_id)
    return fix_explained(world.engine, f"fix-{fix}", world.customer_id)


# What paid.


def test_a_credit_paid(world: World) -> None:
    give_credits(world.engine, world.customer_id, 2, "gift", expires_at=NOW + 30 * DAY)

    found = lived(world, Deploy(1, again=False))

    assert (found.status, costs(found)) == ("credited", (1, 0))
    assert found.text == "fix-1 costs 1 credit: a credit of the grant gift paid."
    assert [each.text for each in found.steps] == [
        "1 credit: a credit of the grant gift paid for it"
    ]
    (grant,) = found.grants
    assert (grant.source, grant.priority, grant.expires_at) == ("operator", 40, NOW + 30 * DAY)
    assert "lower goes first" in grant.text
    assert [each.kind for each in found.transfers] == ["consume"]


def test_a_credit_was_given_back(world: World) -> None:
    give_credits(world.engine, world.customer_id)

    found = lived(world, Deploy(1, again=False), Revert(0))

    assert (found.status, costs(found)) == ("reverted", (0, 0))
    assert found.text == "fix-1 was taken back: it costs nothing."
    assert [each.credits for each in found.steps] == [1, -1]


def test_money_is_owed(world: World) -> None:
    found = lived(world, Deploy(1, again=False))

    assert (found.status, costs(found)) == ("charged", (0, 2900))
    assert found.text == "fix-1 costs $29.00, not paid yet (payg of 2026-01-01)."
    assert [each.text for each in found.steps] == [
        "$29.00: the price of a fix on payg of 2026-01-01"
    ]
    assert found.net.text == "= $29.00"
    assert found.plan is not None
    assert str(found.plan.price_per_fix) == "$29.00"


def test_money_was_paid(world: World) -> None:
    found = lived(world, Pay(2))

    assert found.charge is not None
    assert found.charge.payment_intent == f"pi_{world.customer_id}_1"
    assert f"was paid on {found.charge.paid_at:%Y-%m-%d %H:%M:%S}Z by" in texts(found)
    assert "paid with ch_" in found.text
    assert [each.kind for each in found.transfers] == ["charge", "pay"]


def test_the_bank_declined_twice_before_it_paid(world: World) -> None:
    found = lived(world, Deploy(1, again=False), DECLINED, DECLINED, PAID)

    assert found.charge is not None
    assert [each.answer for each in found.charge.attempts] == ["declined", "declined", "succeeded"]
    told = [line.partition(": ")[2] for line in found.story if line.startswith("Attempt")]
    intent = found.charge.payment_intent
    assert told == [
        *[f"the bank declined ({intent}): a_code."] * 2,
        f"the money was collected ({intent}).",
    ]


def test_money_of_the_customers_own_paid(world: World) -> None:
    found = lived(world, Stray(2900), Deploy(1, again=False), PAID)

    assert found.charge is not None
    assert (str(found.charge.own_money), str(found.charge.asked)) == ("$29.00", "$0.00")
    assert "by the customer's own money with us" in texts(found)
    assert costs(found) == (0, 2900)


def test_nobody_asks_for_a_debt_that_was_given_up(world: World) -> None:
    found = lived(world, Deploy(2, again=False), WriteOff())

    assert costs(found) == (0, 0)
    assert "fix-1 costs nothing, and nothing of it is owed any more" in found.text
    assert "$58.00 given up" in found.steps[-1].text


# What came back.


def test_it_was_taken_back_before_it_was_paid(world: World) -> None:
    found = lived(world, Deploy(1, again=False), Revert(0))

    assert costs(found) == (0, 0)
    assert [each.text for each in found.steps] == [
        "$29.00: the price of a fix on payg of 2026-01-01",
        "-$29.00: it was taken back before it was paid",
    ]
    assert found.net.text == "= $0.00"


def test_it_was_taken_back_after_it_was_paid(world: World) -> None:
    found = lived(world, Pay(1), Revert(0))

    assert costs(found) == (-1, 2900)
    assert found.text == "fix-1 was taken back: it costs $29.00 and earned 1 credit."
    assert found.net.text == "= $29.00, and 1 credit came back"
    assert [each.grant_id for each in found.grants] == ["revert:fix-1"]


def test_a_credit_that_was_earned_goes_with_the_money_it_stood_for(world: World) -> None:
    found = lived(world, Pay(1), Revert(0), Return(0, 100))

    assert costs(found) == (0, 0)
    assert [(each.credits, each.money and each.money.amount) for each in found.steps] == [
        (None, 2900),
        (-1, None),
        (1, None),
        (None, -2900),
    ]


def test_part_of_its_charge_was_refunded(world: World) -> None:
    found = lived(world, Pay(3), Return(0, 1))

    assert costs(found) == (0, 2900 - 29)
    assert found.steps[-1].text.startswith("-$0.29: its share of $0.87 of ch_")


def test_what_does_not_come_out_even_is_shared_to_the_cent(world: World) -> None:
    lived(world, Pay(3), Return(0, 33, more=1), Dispute(1))

    cents = [costs(lived(world, fix=number))[1] for number in (1, 2, 3)]

    assert sum(cents) == 8700 - 2872 - 87
    assert max(cents) - min(cents) <= 1


def test_it_alone_was_refunded(world: World) -> None:
    found = lived(world, Pay(2), ReturnFix(0))

    assert costs(found) == (0, 0)
    assert costs(lived(world, fix=2)) == (0, 2900)
    other = lived(world, fix=2)
    assert "Refund re_" not in texts(other)
    assert [each.kind for each in other.transfers] == ["charge", "pay"]


def test_a_refund_that_failed_changes_nothing(world: World) -> None:
    found = lived(world, Pay(1), ReturnFix(0), Fail())

    assert costs(found) == (0, 2900)
    assert "the bank would not take it, so nothing went back" in texts(found)


@pytest.mark.parametrize(
    ("decided", "cents", "told"),
    [
        ((), 0, "the bank has the money until it decides"),
        ((Decide("lost"),), 0, "the bank gave the money to the cardholder"),
        ((Decide("won"),), 2900, "the bank gave the money back to us"),
    ],
)
def test_a_bank_took_the_payment_back(
    world: World, decided: tuple[object, ...], cents: int, told: str
) -> None:
    found = lived(world, Pay(2), Dispute(100), *decided)

    assert costs(found) == (0, cents)
    assert told in texts(found)


def test_it_moved_to_another_charge(world: World) -> None:
    found = lived(world, Deploy(2, again=False), DECLINED, Revert(0), Withdraw(paid=False))

    (first,) = world.charges("void")
    assert found.charge is not None
    assert found.charge.charge_id != first["charge_id"]
    assert f"It was first on {first['charge_id']}; that was withdrawn" in texts(found)


# The events.


def test_each_event_tells_how_it_came_and_what_was_made_of_it(world: World) -> None:
    first = deployed("fix-1", world.customer_id, at=NOW - HOUR)
    settle_entries(world.engine, [entry(first)._replace(door="http", traceparent=TRACE)])

    settle_events(
        world.engine,
        first,
        deployed("fix-1", world.customer_id, id="other", source="github.com/acme/mirror"),
        reverted("fix-1", world.customer_id),
        reverted("fix-1", world.customer_id, id="again"),
    )

    found = lived(world)
    assert [(each.event_id, each.verdict) for each in found.events] == [
        ("deployed-fix-1", "charged"),
        ("reverted-fix-1", "reverted"),
        ("again", "duplicate"),
        ("other", "duplicate"),
    ]
    told = {each.event_id: each for each in found.events}
    assert (told["deployed-fix-1"].door, told["deployed-fix-1"].trace_id) == (
        "http",
        "0af7651916cd43dd8448eb211c80319c",
    )
    assert told["deployed-fix-1"].text == "the first of its fix: it is paid in money"
    assert told["other"].text == (
        "a duplicate: the fix was known by deployed-fix-1 of github.com/acme/shop, so nothing is "
        "billed"
    )
    assert told["reverted-fix-1"].text == "it took the fix back"
    assert told["again"].text == "the fix had been taken back already: nothing changes"


def test_a_fix_that_was_taken_back_before_it_was_reported_costs_nothing(world: World) -> None:
    settle_events(world.engine, reverted("fix-1", world.customer_id))
    settle_events(world.engine, deployed("fix-1", world.customer_id))

    found = lived(world)

    assert (found.status, costs(found), found.steps) == ("reverted", (0, 0), [])
    assert [each.verdict for each in found.events] == ["reverted_unseen", "duplicate"]
    assert "it will cost nothing" in texts(found)


def test_a_held_fix_says_what_it_waits_for_and_then_what_paid(shared: Engine) -> None:
    customer_id = add_customer(shared, f"customer-{next(numbers)}", card=False)
    settle_events(shared, deployed("fix-1", customer_id))
    held = fix_explained(shared, "fix-1", customer_id)

    give_credits(shared, customer_id, now=NOW)
    settle_events(shared, deployed("fix-2", customer_id), now=NOW)

    released = fix_explained(shared, "fix-1", customer_id)
    assert held.text == "fix-1 waits and costs nothing so far: no payment method."
    assert "What helps: a payment method or a credit." in texts(held)
    assert (held.status, costs(held), held.cycle and held.cycle.number) == ("held", (0, 0), 1)
    assert (released.status, costs(released)) == ("credited", (1, 0))
    assert released.events[0].text == "the first of its fix: it was held"


def test_every_reason_to_hold_a_fix_has_something_that_helps() -> None:
    source = Path(decide.__file__).read_text().split("def decide_backlog")[0]
    assert set(re.findall(r'Held\("([^"]+)"\)', source)) == set(HELPS)


def test_a_fix_of_a_customer_nobody_knows_waits(shared: Engine) -> None:
    stranger = f"customer-{next(numbers)}"
    settle_events(shared, deployed("fix-1", stranger, repository="acme/api"))

    found = fix_explained(shared, "fix-1", stranger, as_of=None)

    assert (found.status, found.repository, found.net.money) == ("waiting", "acme/api", None)
    assert found.text == f"fix-1 is not billed: it waits until {stranger} is known to us."
    assert [(each.verdict, each.recorded_at) for each in found.events] == [("waiting", None)]


def test_a_fix_that_only_stands_in_quarantine_says_why(world: World) -> None:
    settle_events(world.engine, deployed("fix-1", world.customer_id, at=NOW + HOUR))

    found = fix_explained(world.engine, "fix-1", world.customer_id)

    assert (found.status, found.steps, costs(found)) == ("quarantined", [], (0, 0))
    assert "future, time is more than 5 minutes ahead" in found.text
    assert found.net.text == "= $0.00"


def test_a_refused_word_stands_beside_those_that_counted(world: World) -> None:
    settle_events(world.engine, deployed("fix-1", world.customer_id))
    settle_events(world.engine, deployed("fix-1", world.customer_id, commit_sha="bbbbbbb"))

    found = lived(world)

    assert [each.verdict for each in found.events] == ["charged", "quarantined"]
    assert "conflict, this event id was used before with another body" in texts(found)


def test_a_fix_whose_id_only_begins_like_another_is_not_taken_for_it(world: World) -> None:
    settle_events(world.engine, deployed("fix-11", world.customer_id, at=NOW + HOUR))

    with world.engine.begin() as tx:
        assert explain_fix(tx, FixKey(world.customer_id, "fix-1"), NOW) is None


# Its cycle.


@pytest.mark.parametrize(
    ("deployed_at", "settled_at", "number", "late", "why"),
    [
        (NOW - HOUR, NOW, 1, False, "it was deployed in it"),
        (NOW - 8 * DAY, NOW, 1, True, "reported more than 7 days after that"),
        (MARCH.start - DAY, NOW, 1, True, "the cycle in which it was deployed was closed"),
        (MARCH.end - MINUTE, MARCH.end + MINUTE, 1, False, "reported before it closed"),
        (MARCH.end - MINUTE, MARCH.end + 2 * HOUR, 2, True, "when it was reported, the cycle"),
    ],
)
def test_the_cycle_in_which_it_counts_is_told_with_the_reason(
    world: World,
    deployed_at: datetime,
    settled_at: datetime,
    number: int,
    late: bool,
    why: str,
) -> None:
    settle_events(
        world.engine,
        deployed("fix-1", world.customer_id, at=deployed_at),
        now=settled_at,
    )

    cycle = fix_explained(world.engine, "fix-1", world.customer_id).cycle

    assert cycle is not None
    assert (cycle.number, cycle.late) == (number, late)
    assert why in cycle.text


# The chain.


def test_a_transfer_that_somebody_changed_breaks_the_chain(databases: Databases) -> None:
    with databases.fresh() as one:
        with connected(one.worker_url, WORKER) as engine:
            lived(begin(engine, "acme", 0), Pay(1))
        with connected(one.owner_url, None) as owner, owner.begin() as tx:
            tx.execute(text("ALTER TABLE transfers DISABLE TRIGGER ALL"))
            tx.execute(
                update(tables.transfers).values(amount=1).where(tables.transfers.c.kind == "pay")
            )
        with connected(one.worker_url, WORKER) as engine:
            assert fix_explained(engine).chain == "broken"


def test_whoever_has_an_explanation_can_compute_its_hashes(world: World) -> None:
    found = lived(world, Pay(1))

    for each in found.transfers:
        amount = each.credits or (each.money.amount if each.money else 0)
        unit = each.money.currency if each.money else "credit"
        columns = (
            world.customer_id,
            str(each.seq),
            each.kind,
            each.from_account,
            each.to_account,
            unit,
            str(amount),
            each.source_key,
            each.fix_id or "",
            each.grant_id or "",
            each.charge_id or "",
            str(each.cycle),
            each.happened_at.isoformat(),
            each.recorded_at.isoformat(),
        )
        assert each.previous_hash is not None
        text = bytes.fromhex(each.previous_hash) + "\x1f".join(columns).encode()
        assert sha256(text).hexdigest() == each.hash


# How it is read.


def statements_for(engine: Engine, key: FixKey) -> int:
    """How often the database was asked; psycopg itself counts, so that nothing goes by."""
    asked: list[object] = []

    class Counting(Cursor[Any]):
        def execute(self, *args: Any, **more: Any) -> Counting:
            asked.append(args)
            return super().execute(*args, **more)

    with engine.connect() as connection, connection.begin():
        driver(connection).cursor_factory = Counting
        try:
            assert explain_fix(connection, key, NOW) is not None
        finally:
            driver(connection).cursor_factory = Cursor
    return len(asked)


def driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def test_however_long_its_history_the_database_is_asked_as_often(world: World) -> None:
    key = FixKey(world.customer_id, "fix-1")
    lived(world, Deploy(1, again=False), DECLINED)
    once = statements_for(world.engine, key)

    for _ in range(49):
        DECLINED.take(world)
    for number in range(20):
        settle_events(world.engine, deployed("fix-1", world.customer_id, id=f"again-{number}"))

    found = fix_explained(world.engine, "fix-1", world.customer_id)
    assert found.charge is not None
    assert (len(found.charge.attempts), len(found.events)) == (50, 21)
    assert statements_for(world.engine, key) == once < 20
