"""Our side of the comparison with Stripe, and the differences that wait for a person."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine

from tests.at_stripe import invoiced
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    add_customer,
    charge,
    dispute,
    journal,
    refund,
    rows_of,
    usd,
)
from worker.billing.charges import ChargeStatus
from worker.billing.disputes import CLOSED, Funds
from worker.billing.drift import Booked, Books, Drift, DriftKind, Window
from worker.billing.payments import book_unapplied, receive
from worker.billing.refunds import RefundStatus
from worker.storage import bulk, tables
from worker.storage.books import open_books
from worker.storage.drifts import (
    books_for,
    park_drifts,
    resolve_drift,
    standing_drifts,
    unsettled,
)
from worker.storage.post import post
from worker.storage.refunds import add_refund, save_dispute
from worker.storage.subscriptions import save_invoice

K = DriftKind
WINDOW = Window(NOW - HOUR, NOW + HOUR)


def read(engine: Engine, *intents: str, window: Window = WINDOW) -> Books:
    with engine.begin() as tx:
        return books_for(tx, window, intents)


def pay(engine: Engine, intent: str, amount: int, at: datetime = NOW, dropped: int = 0) -> None:
    """A payment of a charge, so much of which is not owed any more."""
    with engine.begin() as tx:
        standing = open_books(tx, ["acme"])["acme"]
        written = journal(standing, now=at)
        paid = charge(amount, ChargeStatus.PAID, charge_id=f"ch_{intent}", dropped=dropped)
        bulk.append(tx, tables.charges, [paid])
        paid.payment_intent = intent
        receive(written, standing, paid)
        post(tx, written)


# What we know.


def test_of_empty_books_nothing_is_known(engine: Engine) -> None:
    found = read(engine, "pi_1")

    assert found == Books({}, {}, {}, {}, {})


def test_customers_are_known_by_the_id_stripe_has_for_them(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex", currency="eur")
    add_customer(engine, "without", card=False)

    found = read(engine)

    assert found.owners == {"cus_acme": ("acme", "usd"), "cus_globex": ("globex", "eur")}


MOMENTS = {
    "within the window": (NOW, True),
    "at its first moment": (NOW - HOUR, True),
    "at its last moment": (NOW + HOUR, True),
    "before it": (NOW - HOUR - timedelta(microseconds=1), False),
    "after it": (NOW + HOUR + timedelta(microseconds=1), False),
}


@pytest.mark.parametrize(("at", "recent"), MOMENTS.values(), ids=MOMENTS)
def test_payments_of_the_window_and_those_asked_for_are_known(
    engine: Engine, at: datetime, recent: bool
) -> None:
    add_customer(engine, receivable=5800, revenue=-5800)
    pay(engine, "pi_1", 2900, at)

    unasked, asked = read(engine), read(engine, "pi_1", "pi_nobody")

    known = {"pi_1": Booked("acme", usd(29), recent)}
    assert unasked.payments == (known if recent else {})
    assert asked.payments == known


def test_a_payment_that_brought_more_than_was_owed_is_one_payment(engine: Engine) -> None:
    add_customer(engine, receivable=5800, revenue=-5800)
    pay(engine, "pi_1", 5800, dropped=2900)

    found = read(engine)

    assert len(rows_of(engine, tables.transfers)) == 2
    assert found.payments == {"pi_1": Booked("acme", usd(58), True)}


def test_a_payment_that_no_charge_explains_is_known(engine: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        standing = open_books(tx, ["acme"])["acme"]
        written = journal(standing)
        book_unapplied(written, standing, 700, "pi_stray")
        post(tx, written)

    found = read(engine)

    assert found.payments == {"pi_stray": Booked("acme", usd(7), True)}


@pytest.fixture
def moved(engine: Engine) -> Engine:
    """A refund in every status, a dispute in every one, and an invoice."""
    add_customer(engine)
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, [charge(2900, ChargeStatus.PAID)])
        for status in RefundStatus:
            add_refund(
                tx, refund(1, status, refund_id=f"ref_{status}", stripe_refund=f"re_{status}")
            )
        add_refund(tx, refund(1, refund_id="ref_unsent"))
        for funds in Funds:
            save_dispute(tx, dispute(1, funds, dispute_id=f"du_{funds}"))
        for word in CLOSED:
            save_dispute(tx, dispute(1, Funds.OURS, dispute_id=f"du_{word}", status=word))
        save_invoice(tx, "acme", invoiced("open"), NOW)
    return engine


def test_what_is_booked_of_refunds_disputes_and_invoices_is_known(moved: Engine) -> None:
    found = read(moved, window=Window(NOW + DAY, NOW + 2 * DAY))

    booked = (RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED)
    assert found.refunds == {f"re_{status}": status for status in booked}
    assert found.disputes == {f"du_{funds}": funds for funds in Funds} | {
        f"du_{word}": Funds.OURS for word in CLOSED
    }
    assert found.invoices == {"in_1": "open"}


def test_what_may_still_change_is_asked_about_however_old(moved: Engine) -> None:
    with moved.begin() as tx:
        refunds, disputes = unsettled(tx)

    assert refunds == ["re_pending"]
    assert sorted(disputes) == ["du_ours", "du_withdrawn"]


# What waits for a person.

STRAY = Drift(K.STRANGER, "pi_1", None, {"stripe": "$29.00", "charge": "ch_1"})
WRONG = Drift(K.AMOUNT_DIFFERS, "pi_1", "acme", {"stripe": "$29.00", "books": "$28.00"})


def park(engine: Engine, *found: Drift, at: datetime = NOW) -> list[Drift]:
    with engine.begin() as tx:
        return park_drifts(tx, found, at)


def standing(engine: Engine) -> list[Drift]:
    with engine.begin() as tx:
        return standing_drifts(tx)


def test_what_is_parked_stands_as_it_was_found_oldest_first(engine: Engine) -> None:
    new = park(engine, WRONG), park(engine, STRAY, at=NOW - HOUR)

    assert new == ([WRONG], [STRAY])
    assert standing(engine) == [STRAY, WRONG]


def test_what_stands_already_is_not_new_and_keeps_its_age(engine: Engine) -> None:
    park(engine, STRAY)

    again = park(engine, STRAY, WRONG, at=NOW + HOUR)

    assert again == [WRONG]
    rows = rows_of(engine, tables.drifts, kind="stranger")
    assert [row["found_at"] for row in rows] == [NOW]


def test_what_is_resolved_stands_no_more_and_the_rest_does(engine: Engine) -> None:
    park(engine, STRAY, WRONG)

    with engine.begin() as tx:
        resolve_drift(tx, STRAY, NOW + HOUR)

    assert standing(engine) == [WRONG]
    (kept,) = rows_of(engine, tables.drifts, kind="stranger")
    assert kept["resolved_at"] == NOW + HOUR


def test_what_comes_back_is_new_with_what_is_said_now(engine: Engine) -> None:
    park(engine, WRONG)
    with engine.begin() as tx:
        resolve_drift(tx, WRONG, NOW + HOUR)
    back = Drift(WRONG.kind, WRONG.subject, "acme", {"stripe": "$30.00", "books": "$28.00"})

    new = park(engine, back, at=NOW + DAY)

    assert (new, standing(engine)) == ([back], [back])
    (kept,) = rows_of(engine, tables.drifts)
    assert (kept["found_at"], kept["resolved_at"]) == (NOW + DAY, None)
