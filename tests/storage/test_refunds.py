from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    add_customer,
    charge,
    deployed,
    dispute,
    fix,
    give_credits,
    grant,
    journal,
    refund,
    reverted,
    settle_events,
)
from worker.billing.book import Book
from worker.billing.charges import ChargeStatus
from worker.billing.disputes import Funds
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.refunds import Refund, RefundStatus, claw_back
from worker.storage import bulk, tables
from worker.storage.books import open_books
from worker.storage.collecting import switch
from worker.storage.post import post
from worker.storage.refunds import (
    LEASE,
    Payer,
    RefundKey,
    add_refund,
    claim_due_refunds,
    clawed_by,
    find_dispute,
    find_refund,
    grants_bought,
    has_refund,
    is_disputed,
    mark_tried,
    payer_of,
    read_refund,
    save_dispute,
    save_refund,
    unapplied_from,
    under_way,
)

R = RefundStatus
WALL = datetime(2026, 7, 1, tzinfo=UTC)  # far from business time: the two must not be mixed
KEY = RefundKey("acme", "ref_acme")


@pytest.fixture(autouse=True)
def acme(engine: Engine) -> None:
    """acme has paid a charge."""
    add_paying_customer(engine, "acme")


def add_paying_customer(engine: Engine, customer_id: str, **more: Any) -> None:
    add_customer(engine, customer_id, **more)
    paid = charge(2900, ChargeStatus.PAID, customer_id=customer_id, charge_id=f"ch_{customer_id}")
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, [paid])


def add_refunds(engine: Engine, *some: Refund) -> None:
    with engine.begin() as tx:
        for each in some:
            add_refund(tx, each)


def claimed(
    engine: Engine, now: datetime = NOW, wall: datetime = WALL, limit: int = 10
) -> list[str]:
    with engine.begin() as tx:
        return [key.refund_id for key in claim_due_refunds(tx, now, wall, limit)]


DUE = {
    "due this moment": (refund(), True),
    "due long ago": (refund(due_at=NOW - 400 * DAY), True),
    "not due yet": (refund(due_at=NOW + timedelta(microseconds=1)), False),
    "never due": (refund(due_at=None), False),
    "leased": (refund(leased_until=WALL), False),
    "lease over": (refund(leased_until=WALL - timedelta(microseconds=1)), True),
}


@pytest.mark.parametrize(("one", "due"), DUE.values(), ids=DUE)
def test_a_refund_that_is_due_and_not_leased_is_claimed(
    engine: Engine, one: Refund, due: bool
) -> None:
    add_refunds(engine, one)

    found = claimed(engine)

    assert found == (["ref_acme"] if due else [])


def test_a_claim_is_a_lease_in_wall_time(engine: Engine) -> None:
    add_refunds(engine, refund())

    first, second = claimed(engine), claimed(engine)
    after_the_lease = claimed(engine, wall=WALL + LEASE + timedelta(seconds=1))

    assert (first, second, after_the_lease) == (["ref_acme"], [], ["ref_acme"])


def test_the_longest_due_come_first_and_no_more_than_asked_for(engine: Engine) -> None:
    add_refunds(
        engine, *(refund(1, refund_id=f"ref_{days}", due_at=NOW - days * DAY) for days in range(3))
    )

    found = claimed(engine, limit=2)

    assert found == ["ref_2", "ref_1"]


def test_money_goes_back_by_the_customers_clock(engine: Engine) -> None:
    add_paying_customer(engine, "ahead", clock_offset=40 * DAY)
    add_refunds(engine, refund(customer_id="ahead", due_at=NOW + 40 * DAY))

    found = claimed(engine, now=NOW - MINUTE), claimed(engine)

    assert found == ([], ["ref_ahead"])


def test_neither_a_parked_customer_nor_a_stop_keeps_money_from_going_back(engine: Engine) -> None:
    add_paying_customer(engine, "parked", parked_at=NOW, parked_why="cancelled")
    add_refunds(engine, refund(customer_id="parked"))
    with engine.begin() as tx:
        switch(tx, stopped_at=WALL, why="a drill")

    found = claimed(engine)

    assert found == ["ref_parked"]


def test_two_sweeps_at_once_claim_different_refunds(engine: Engine) -> None:
    add_refunds(engine, *(refund(1, refund_id=f"ref_{number}") for number in range(4)))

    with engine.begin() as one, engine.begin() as other:
        first = claim_due_refunds(one, NOW, WALL, 2)
        second = claim_due_refunds(other, NOW, WALL, 10)

    assert len(first) == len(second) == 2
    assert not set(first) & set(second)


def test_a_refund_reads_back_as_it_was_saved_without_its_lease(engine: Engine) -> None:
    add_refunds(engine, refund(leased_until=WALL))
    changed = refund(
        status=R.PENDING,
        stripe_refund="re_1",
        code="c",
        message="m",
        due_at=None,
        leased_until=WALL,
        tried=True,
        waits=3,
        from_unapplied=7,
    )

    with engine.begin() as tx:
        save_refund(tx, changed)
        read = read_refund(tx, KEY)

    changed.leased_until = None
    assert read == changed


def test_a_refund_that_may_have_been_sent_says_so(engine: Engine) -> None:
    add_refunds(engine, refund())

    with engine.begin() as tx:
        before = read_refund(tx, KEY)
        mark_tried(tx, KEY)
        after = read_refund(tx, KEY)

    assert (before.tried, after.tried) == (False, True)


FOUND = {
    "by Stripe's id": ("re_1", None, True),
    "by ours": ("re_2", "ref_new", False),
    "by both": ("re_1", "ref_acme", True),
    "by ours, as another that names it": ("re_2", "ref_acme", False),
    "by none": ("re_2", None, False),
}


@pytest.mark.parametrize(("stripe_refund", "refund_id", "found"), FOUND.values(), ids=FOUND)
def test_a_refund_is_found_by_the_id_of_stripe(
    engine: Engine, stripe_refund: str, refund_id: str | None, found: bool
) -> None:
    add_refunds(engine, refund(status=R.PENDING, stripe_refund="re_1"))

    with engine.begin() as tx:
        read = find_refund(tx, stripe_refund, refund_id)

    assert (read is not None) is found


def test_a_refund_that_stripe_has_not_named_yet_is_found_by_our_id(engine: Engine) -> None:
    add_refunds(engine, refund())

    with engine.begin() as tx:
        read = find_refund(tx, "re_1", "ref_acme")

    assert read == refund()


def test_what_is_asked_for_and_not_booked_is_under_way(engine: Engine) -> None:
    add_paying_customer(engine, "globex")
    add_refunds(
        engine,
        refund(1, R.REQUESTED, refund_id="a"),
        refund(2, R.REQUESTED, refund_id="b", tried=True),
        refund(4, R.PENDING, refund_id="c", stripe_refund="re_c"),
        refund(8, R.SUCCEEDED, refund_id="d", stripe_refund="re_d"),
        refund(16, R.FAILED, refund_id="e", stripe_refund="re_e"),
        refund(32, R.REFUSED, refund_id="f"),
        refund(64, R.REQUESTED, refund_id="g", charge_id=None),
        refund(128, R.REQUESTED, customer_id="globex"),
    )

    with engine.begin() as tx:
        sums = [under_way(tx, each, f"ch_{each}") for each in ("acme", "globex", "nobody")]

    assert sums == [3, 128, 0]


# Whose payment it was.


def opened(tx: Any, customer_id: str = "acme") -> tuple[Journal, Book]:
    (standing,) = open_books(tx, [customer_id]).values()
    written = journal(standing)
    written.touched.add(customer_id)
    return written, standing


def book_payment(engine: Engine, kind: str, payment_intent: str, amount: int = 100) -> None:
    with engine.begin() as tx:
        written, standing = opened(tx)
        written.transfers.append(
            standing.move(kind, amount, payment_intent, happened_at=NOW, recorded_at=NOW)
        )
        post(tx, written)


def test_a_payment_is_by_the_customer_in_whose_ledger_it_is(engine: Engine) -> None:
    book_payment(engine, "unapplied_in", "pi_ch_acme")
    book_payment(engine, "unapplied_in", "pi_stray")

    with engine.begin() as tx:
        payers = [payer_of(tx, each) for each in ("pi_ch_acme", "pi_stray", "pi_nobody")]

    assert payers == [Payer("acme", "ch_acme"), Payer("acme", None), None]


def test_what_a_payment_brought_beyond_its_charge_is_known(engine: Engine) -> None:
    book_payment(engine, "unapplied_in", "pi_1", 700)

    with engine.begin() as tx:
        brought = [unapplied_from(tx, "acme", each) for each in ("pi_1", "pi_2")]
        others = unapplied_from(tx, "globex", "pi_1")

    assert (brought, others) == ([700, 0], 0)


RETURNED = {R.PENDING: 400, R.SUCCEEDED: 400, R.FAILED: 700}


@pytest.mark.parametrize(("status", "left"), RETURNED.items(), ids=RETURNED)
def test_what_of_it_went_back_is_not_here_any_more(
    engine: Engine, status: RefundStatus, left: int
) -> None:
    book_payment(engine, "unapplied_in", "pi_1", 700)
    back: dict[str, Any] = {"payment_intent": "pi_1", "stripe_refund": "re_1"}
    add_refunds(engine, refund(1000, status, from_unapplied=300, **back))

    with engine.begin() as tx:
        found = unapplied_from(tx, "acme", "pi_1")

    assert found == left


@pytest.mark.parametrize(
    ("key", "known"),
    [(KEY, True), (KEY._replace(refund_id="ref_2"), False), (KEY._replace(customer_id="x"), False)],
)
def test_whether_a_refund_of_ours_is_known(engine: Engine, key: RefundKey, known: bool) -> None:
    add_refunds(engine, refund())

    with engine.begin() as tx:
        found = has_refund(tx, key)

    assert found is known


# The credits that it had paid for.


def given_for(engine: Engine, *fix_ids: str, charge_id: str = "ch_acme") -> None:
    """These fixes of the charge were taken back: each gave a credit."""
    taken_back = [
        fix(each, FixOutcome.REVERTED, charge_id=charge_id, price=2900, currency="usd")
        for each in fix_ids
    ]
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, taken_back)
    for each in fix_ids:
        give_credits(engine, "acme", 1, f"revert:{each}", source="revert")


def test_credits_for_fixes_of_this_charge_were_bought_with_it(engine: Engine) -> None:
    given_for(engine, "a", "b")
    given_for(engine, "of-another-charge", charge_id="ch_other")
    give_credits(engine, "acme", 1, "gift")

    with engine.begin() as tx:
        by_all = grants_bought(tx, refund())
        by_one = grants_bought(tx, refund(fix_id="b"))
        by_none = grants_bought(tx, refund(fix_id="of-another-charge"))

    assert sorted(each.grant_id for each in by_all) == ["revert:a", "revert:b"]
    assert [each.grant_id for each in by_one] == ["revert:b"]
    assert by_none == []


def test_what_a_refund_clawed_back_is_remembered(engine: Engine) -> None:
    given_for(engine, "a", "b")
    back = refund(status=R.SUCCEEDED, stripe_refund="re_1")

    with engine.begin() as tx:
        written, standing = opened(tx)
        claw_back(written, standing, back, grants_bought(tx, refund(fix_id="a")))
        post(tx, written)
        clawed = clawed_by(tx, back)
        by_another = clawed_by(tx, refund(stripe_refund="re_10"))

    gone = grant(1, "revert:a", source="revert", remaining=0, recorded_at=NOW - DAY)
    assert (clawed, by_another) == ([(gone, 1)], [])


def test_a_credit_that_a_real_revert_gave_is_found(engine: Engine) -> None:
    settle_events(engine, deployed("a"))
    with engine.begin() as tx:
        written, standing = opened(tx)
        owed = standing.open_charge
        assert owed is not None
        owed.status, owed.due_at, owed.asked_amount = ChargeStatus.PAID, None, owed.amount
        owed.frozen_at = owed.paid_at = NOW
        owed.payment_intent = "pi_new"
        written.charges.change(owed.charge_id, owed)
        paid = standing.move("pay", owed.amount, "pi_new", happened_at=NOW, recorded_at=NOW)
        written.transfers.append(paid)
        post(tx, written)
    settle_events(engine, reverted("a"))

    with engine.begin() as tx:
        bought = grants_bought(tx, refund(charge_id=owed.charge_id))

    assert [each.grant_id for each in bought] == ["revert:a"]


# Disputes.


@pytest.mark.parametrize(
    ("funds", "disputed"),
    [(Funds.OURS, False), (Funds.WITHDRAWN, True), (Funds.WON, False), (Funds.LOST, True)],
)
def test_a_charge_is_disputed_while_its_money_is_not_ours(
    engine: Engine, funds: Funds, disputed: bool
) -> None:
    with engine.begin() as tx:
        save_dispute(tx, dispute(funds=funds))

        found = [is_disputed(tx, "acme", each) for each in ("ch_acme", "ch_other")]
        others = is_disputed(tx, "globex", "ch_acme")

    assert (found, others) == ([disputed, False], False)


def test_a_dispute_is_kept_as_it_was_last_seen(engine: Engine) -> None:
    first = dispute(funds=Funds.WITHDRAWN)
    decided = dispute(funds=Funds.LOST, status="lost", recorded_at=NOW + HOUR)

    with engine.begin() as tx:
        unknown = find_dispute(tx, "du_acme")
        save_dispute(tx, first)
        seen_first = find_dispute(tx, "du_acme")
        save_dispute(tx, decided)
        seen_last = find_dispute(tx, "du_acme")

    assert (unknown, seen_first, seen_last) == (None, first, decided)
