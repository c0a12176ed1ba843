"""Stripe's fees are booked where the payment is: once, and however late."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, text, update

from tests.builders import rows_of
from tests.collecting import PRICE, Case, assert_books_equal_stripe, sandbox_window
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.charges import ChargeStatus
from worker.clock import Clock
from worker.fees import AWAITED, import_fees
from worker.learn import learn_payment
from worker.storage import tables
from worker.storage.fees import read_until, save_read_until
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway

FEE = 114  # of 29 dollars: 2.9 % and 30 cents
DISPUTE_FEE = 1500
HOUR = timedelta(hours=1)


@pytest.fixture
def paid(case: Case) -> Case:
    """Nothing is read yet of what Stripe had told an hour ago."""
    assert case.collect() is ChargeStatus.PAID
    go_back_to(case.engine, now_of(case) - HOUR)
    return case


def now_of(case: Case) -> datetime:
    """By Stripe's clock."""
    return sandbox_window(case).until


def go_back_to(engine: Engine, moment: datetime) -> None:
    with engine.begin() as tx:
        save_read_until(tx, moment)


def read_so_far(case: Case) -> datetime | None:
    with case.engine.begin() as tx:
        return read_until(tx)


def take_in(case: Case) -> int:
    return import_fees(now_of(case), case.engine, case.gateway, case.clock)


def test_the_fee_of_a_payment_is_booked_once(paid: Case) -> None:
    booked = [take_in(paid)]
    go_back_to(paid.engine, now_of(paid) - HOUR)
    booked.append(take_in(paid))

    assert booked == [1, 0]
    assert paid.moved("fee") == [("fee", FEE)]
    assert (paid.book["cash"], paid.book["fees"]) == (PRICE - FEE, FEE)
    assert_books_equal_stripe(paid)


def test_what_was_read_is_not_read_again(paid: Case) -> None:
    take_in(paid)
    read = read_so_far(paid)

    assert read is not None
    assert read > now_of(paid) - HOUR


def test_a_dispute_costs_a_fee_of_its_own_and_a_refund_none(paid: Case) -> None:
    paid.refund_in_dashboard(900)
    paid.dispute_at_stripe(amount=2000)
    paid.hear(*paid.events())

    take_in(paid)

    assert sorted(paid.moved("fee")) == [("fee", FEE), ("fee", DISPUTE_FEE)]
    assert_books_equal_stripe(paid)


def test_two_who_read_at_once_book_it_once(paid: Case) -> None:
    with ThreadPoolExecutor(2) as pool:
        booked = list(pool.map(lambda _: take_in(paid), range(2)))

    assert sum(booked) == 1
    assert paid.moved("fee") == [("fee", FEE)]


def test_a_fee_waits_until_its_payment_is_booked(paid: Case) -> None:
    intent = paid.pay_in_dashboard(1000)
    until = now_of(paid) + HOUR
    too_early = import_fees(until, paid.engine, paid.gateway, paid.clock)
    waited = read_so_far(paid)
    learn_payment(intent, paid.engine, paid.gateway, paid.clock)

    later = import_fees(until, paid.engine, paid.gateway, paid.clock)

    assert (too_early, later) == (1, 1)
    assert waited is not None
    assert waited < until
    assert read_so_far(paid) == until
    assert [amount for _, amount in paid.moved("fee")] == [FEE, 59]


def test_one_whose_payment_never_comes_is_awaited_for_weeks_and_no_longer(paid: Case) -> None:
    paid.pay_in_dashboard(1000)
    far = now_of(paid) + AWAITED + HOUR

    import_fees(far, paid.engine, paid.gateway, paid.clock)

    assert read_so_far(paid) == far - AWAITED


def test_what_strangers_pay_is_none_of_ours_and_not_waited_for(
    paid: Case, sandbox: RunningSandbox
) -> None:
    sandbox.client().v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )
    until = now_of(paid) + HOUR

    booked = import_fees(until, paid.engine, paid.gateway, paid.clock)

    assert booked == 1
    assert read_so_far(paid) == until


def test_a_customer_whose_book_cannot_be_opened_holds_up_no_other(
    paid: Case, owner: Engine
) -> None:
    other = paid.pay_in_dashboard(1000)
    learn_payment(other, paid.engine, paid.gateway, paid.clock)
    with owner.begin() as tx:
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        moved = tables.transfers
        stray = (moved.c.source_key == other, moved.c.kind == "unapplied_in")
        tx.execute(update(moved).where(*stray).values(customer_id="broken"))

    booked = take_in(paid)

    assert booked == 1
    assert [row["amount"] for row in rows_of(paid.engine, moved, kind="fee")] == [FEE]
    read = read_so_far(paid)
    assert read is not None
    assert read < now_of(paid)


def test_reading_begins_before_the_first_payment(paid: Case) -> None:
    """It may have been made at Stripe long before it was learned of."""
    with paid.engine.begin() as tx:
        tx.execute(update(tables.fees_read).values(until=now_of(paid) - AWAITED))

    assert take_in(paid) == 1


def test_while_nobody_has_paid_stripe_is_not_asked(engine: Engine, clock: Clock) -> None:
    nowhere = StripeGateway("sk_test_nowhere", "http://127.0.0.1:1")

    assert import_fees(clock.now(), engine, nowhere, clock) == 0


def test_while_stripe_is_away_nothing_is_skipped(paid: Case) -> None:
    before = read_so_far(paid)
    nowhere = StripeGateway("sk_test_nowhere", "http://127.0.0.1:1", retries=0)

    with pytest.raises(StripeRefused):
        import_fees(now_of(paid), paid.engine, nowhere, paid.clock)

    assert read_so_far(paid) == before
    assert take_in(paid) == 1
