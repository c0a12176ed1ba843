"""Orders about subscriptions: one at a time, leased to whoever carries it out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from tests.builders import MINUTE, NOW, add_customer, rows_of
from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, DENIED, FOREIGN, NULL, UNIQUE, inserted, refusal
from worker.billing.orders import TRANSITIONS, Order, OrderStatus, Wish
from worker.storage import tables
from worker.storage.orders import (
    LEASE,
    OrderKey,
    add_order,
    claim_due_orders,
    keep_subscription,
    lease_order,
    read_order,
    requested_order,
    save_order,
)

S = OrderStatus
SECOND = timedelta(seconds=1)


def order(customer_id: str = "acme", number: int = 1, **more: Any) -> Order:
    """A wish for pro, of now, that nobody carries out yet."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "order_id": f"order_{customer_id}_{number}",
        "wish": Wish.BEGIN,
        "status": S.REQUESTED,
        "plan": "pro",
        "plan_version": date(2026, 1, 1),
        "subscription_id": None,
        "requested_at": NOW,
        "due_at": NOW,
    }
    return Order(**values | more)


def key(of: Order) -> OrderKey:
    return OrderKey(of.customer_id, of.order_id)


@pytest.fixture
def tx(engine: Engine) -> Iterator[Connection]:
    """acme and globex are customers; nothing else is there."""
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
    with engine.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


@pytest.mark.parametrize("wish", Wish)
def test_an_order_is_read_as_it_was_written(tx: Connection, wish: Wish) -> None:
    whole = order(
        wish=wish, subscription_id="sub_1", leased_until=NOW + MINUTE, tries=3, due_at=NOW
    )

    add_order(tx, whole)

    assert read_order(tx, key(whole)) == whole


def test_an_order_is_saved_whole(tx: Connection) -> None:
    done = order(status=S.REFUSED, due_at=None, message="no", subscription_id="sub_1", tries=2)
    add_order(tx, order())

    save_order(tx, done)

    assert read_order(tx, key(done)) == done


def test_the_one_that_waits_is_found_and_nobody_elses(tx: Connection) -> None:
    for each in (
        order(number=1, status=S.DONE, due_at=None),
        order(number=2),
        order("globex", status=S.REFUSED, due_at=None, message="no"),
    ):
        add_order(tx, each)

    assert requested_order(tx, "acme") == order(number=2)
    assert requested_order(tx, "globex") is None


DUE: dict[str, tuple[dict[str, Any], bool]] = {
    "due now": ({}, True),
    "due a moment ago": ({"due_at": NOW - SECOND}, True),
    "due in a moment": ({"due_at": NOW + SECOND}, False),
    "leased": ({"leased_until": NOW + SECOND}, False),
    "leased up to now": ({"leased_until": NOW}, False),
    "leased before": ({"leased_until": NOW - SECOND}, True),
    "done": ({"status": S.DONE, "due_at": None}, False),
    "refused": ({"status": S.REFUSED, "due_at": None, "message": "no"}, False),
}


@pytest.mark.parametrize(("more", "is_due"), DUE.values(), ids=DUE)
def test_what_is_due_and_free_is_claimed(
    tx: Connection, more: dict[str, Any], is_due: bool
) -> None:
    add_order(tx, order(**more))

    claimed = claim_due_orders(tx, NOW, 10)

    assert claimed == ([key(order())] if is_due else [])


def test_what_is_claimed_is_nobody_elses_until_the_lease_is_over(tx: Connection) -> None:
    add_order(tx, order())

    claims = [claim_due_orders(tx, at, 10) for at in moments()]

    assert [len(each) for each in claims] == [1, 0, 0, 1]


def moments() -> list[datetime]:
    return [NOW, NOW + SECOND, NOW + LEASE, NOW + LEASE + SECOND]


def test_the_oldest_are_claimed_first_and_no_more_than_asked_for(tx: Connection) -> None:
    add_order(tx, order("acme"))
    add_order(tx, order("globex", due_at=NOW - SECOND))

    assert claim_due_orders(tx, NOW, 1) == [key(order("globex"))]
    assert claim_due_orders(tx, NOW, 1) == [key(order("acme"))]


def test_two_who_claim_at_once_do_not_get_the_same(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
        with engine.begin() as tx:
            add_order(tx, order(customer_id))

    with engine.begin() as one, engine.begin() as other:
        claims = [claim_due_orders(one, NOW, 1), claim_due_orders(other, NOW, 10)]

    assert sorted(each for claim in claims for each in claim) == [
        key(order("acme")),
        key(order("globex")),
    ]
    assert len(rows_of(engine, tables.subscription_orders)) == 2


LEASES = {
    "free": (None, True),
    "over": (NOW - SECOND, True),
    "up to now": (NOW, False),
    "somebody's": (NOW + SECOND, False),
}


@pytest.mark.parametrize(("leased_until", "may"), LEASES.values(), ids=LEASES)
def test_one_order_is_leased_to_one(
    tx: Connection, leased_until: datetime | None, may: bool
) -> None:
    add_order(tx, order(leased_until=leased_until))

    leased = lease_order(tx, key(order()), NOW)

    assert leased is may
    assert read_order(tx, key(order())).leased_until == (NOW + LEASE if may else leased_until)


def test_an_order_keeps_the_first_subscription_that_was_made_for_it(tx: Connection) -> None:
    add_order(tx, order())

    kept = [keep_subscription(tx, key(order()), each) for each in ("sub_1", "sub_1", "sub_2")]

    assert kept == [True, True, False]
    assert read_order(tx, key(order())).subscription_id == "sub_1"


# What Postgres refuses.


def row(**changed: str) -> str:
    """A good order of acme's that is requested, but for what is changed."""
    values = {
        "customer_id": "'acme'",
        "order_id": "'order_1'",
        "wish": "'begin'",
        "status": "'requested'",
        "requested_at": "now()",
        "due_at": "now()",
    }
    return inserted("subscription_orders", values | changed)


STANDING: dict[OrderStatus, dict[str, str]] = {
    S.REQUESTED: {"status": "'requested'", "due_at": "now()", "message": "NULL"},
    S.DONE: {"status": "'done'", "due_at": "NULL", "message": "NULL"},
    S.REFUSED: {"status": "'refused'", "due_at": "NULL", "message": "'no'"},
}
SECOND_ONE = {"order_id": "'order_2'"}

ALLOWED: dict[str, tuple[str, ...]] = {
    **{f"an order to {wish}": (row(wish=f"'{wish}'"),) for wish in Wish},
    **{f"an order that is {status}": (row(**STANDING[status]),) for status in S},
    "one that waits beside one that is done": (row(**STANDING[S.DONE]), row(**SECOND_ONE)),
    "two that are refused": (row(**STANDING[S.REFUSED]), row(**STANDING[S.REFUSED] | SECOND_ONE)),
    "one each of two customers": (row(), row(customer_id="'globex'")),
}

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "two that wait": ((row(), row(**SECOND_ONE)), UNIQUE),
    "an order kept twice": ((row(**STANDING[S.DONE]), row(**STANDING[S.DONE])), UNIQUE),
    "an order of nobody's": ((row(customer_id="'nobody'"),), FOREIGN),
    "an unheard-of wish": ((row(wish="'dream'"),), CHECK),
    "an unheard-of status": ((row(status="'lost'"),), CHECK),
    "one that waits and is never due": ((row(due_at="NULL"),), CHECK),
    "one that is done and due": ((row(**STANDING[S.DONE] | {"due_at": "now()"}),), CHECK),
    "one that is refused and due": ((row(**STANDING[S.REFUSED] | {"due_at": "now()"}),), CHECK),
    "a refusal that does not say why": (
        (row(**STANDING[S.REFUSED] | {"message": "NULL"}),),
        CHECK,
    ),
    "a reason of no refusal": ((row(message="'why'"),), CHECK),
    "no wish": ((row(wish="NULL"),), NULL),
    "no time": ((row(requested_at="NULL"),), NULL),
}


@pytest.mark.parametrize("statements", ALLOWED.values(), ids=ALLOWED)
def test_the_worker_may_write_what_is_right(ledger: Ledger, statements: tuple[str, ...]) -> None:
    assert refusal(ledger.worker, *statements) == "allowed"


@pytest.mark.parametrize(("statements", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_what_would_be_carried_out_twice_or_never_is_refused(
    ledger: Ledger, statements: tuple[str, ...], sqlstate: str
) -> None:
    outcomes = [refusal(role, *statements) for role in (ledger.worker, ledger.owner)]

    assert outcomes == [sqlstate, sqlstate]


@pytest.mark.parametrize("old", S)
@pytest.mark.parametrize("new", S)
def test_an_order_moves_on_only_as_the_table_says(
    ledger: Ledger, old: OrderStatus, new: OrderStatus
) -> None:
    may = old is new or new in TRANSITIONS[old]
    changes = ", ".join(f"{name} = {value}" for name, value in STANDING[new].items())
    turn = f"UPDATE subscription_orders SET {changes} WHERE order_id = 'order_1'"

    outcome = refusal(ledger.worker, row(**STANDING[old]), turn)

    assert outcome == ("allowed" if may else CHECK)


def test_no_order_is_removed(ledger: Ledger) -> None:
    assert refusal(ledger.worker, "DELETE FROM subscription_orders") == DENIED
