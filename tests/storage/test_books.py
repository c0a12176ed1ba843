from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Event as Signal

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from schemas.events import derived_fix_id
from schemas.plans import load_plans
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    NOW,
    PLAN_DATE,
    add_customer,
    book,
    charge,
    deployed,
    fix,
    fixes_of,
    give_credits,
    grant,
    journal,
    refund,
    reverted,
    rows_of,
    settle_events,
)
from tests.sweeping import waiting
from worker.billing.book import Book
from worker.billing.charges import IN_FLIGHT, Charge, ChargeStatus, Why
from worker.billing.fix import FixOutcome
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.payments import begin_attempt
from worker.billing.payments import replace as replace_charge
from worker.billing.policy import policy_of
from worker.billing.refunds import Refund, RefundStatus
from worker.storage import bulk, tables
from worker.storage.books import known_fixes, open_books
from worker.storage.charges import ChargeKey, fixes_on, standing_lines
from worker.storage.post import post
from worker.storage.refunds import add_refund

DERIVED = derived_fix_id("github.com", 42, 7)


def opened(engine: Engine, customer_id: str = "acme") -> Book:
    with engine.begin() as tx:
        return open_books(tx, [customer_id])[customer_id]


def test_customers_nobody_knows_are_left_out(engine: Engine) -> None:
    add_customer(engine, "acme")

    with engine.begin() as tx:
        books = open_books(tx, ["stranger", "acme", "acme"])

    assert list(books) == ["acme"]


def test_no_customers_are_no_books(engine: Engine) -> None:
    add_customer(engine)

    with engine.begin() as tx:
        books = open_books(tx, [])

    assert books == {}


def test_a_book_is_what_the_row_says_with_the_price_of_its_plan(engine: Engine) -> None:
    add_customer(
        engine,
        plan="pro",
        past_due=True,
        spending_cap=5000,
        spent=1500,
        accepted_held_until=NOW,
        clock_offset=DAY,
    )

    read = opened(engine)

    expected = book(
        "pro",
        past_due=True,
        spending_cap=5000,
        spent=1500,
        accepted_held_until=NOW,
        clock_offset=DAY,
        fresh_charge_id=read.fresh_charge_id,
    )
    assert read == expected
    assert read.fresh_charge_id.startswith("ch_")


def test_every_book_brings_a_charge_id_of_its_own(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex")

    ids = [opened(engine, each).fresh_charge_id for each in ("acme", "acme", "globex")]

    assert len(set(ids)) == 3


def test_grants_come_in_their_order_of_use_without_the_used_up(engine: Engine) -> None:
    add_customer(engine)
    give_credits(engine, credits=1, key="never")
    give_credits(engine, credits=1, key="soon", expires_at=NOW + HOUR)
    give_credits(engine, credits=1, key="first", source="signup")
    settle_events(engine, deployed())

    read = opened(engine)

    assert [each.grant_id for each in read.grants] == ["soon", "never"]


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_the_open_charge_and_the_one_in_flight_are_read(
    engine: Engine, status: ChargeStatus
) -> None:
    add_customer(engine)
    in_flight = charge(200, status, charge_id="ch_in_flight", due_why=Why.NEW_CARD, applied=9)
    takes_lines = charge(300, charge_id="ch_open")
    over = [
        charge(100, ChargeStatus.PAID, charge_id="ch_paid"),
        charge(100, ChargeStatus.VOID, charge_id="ch_void"),
    ]
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, [*over, in_flight, takes_lines])

    read = opened(engine)

    assert (read.open_charge, read.charge_in_flight) == (takes_lines, in_flight)


def test_without_charges_none_is_read(engine: Engine) -> None:
    add_customer(engine)

    read = opened(engine)

    assert (read.open_charge, read.charge_in_flight) == (None, None)


def test_a_book_is_collected_as_its_plan_version_says(engine: Engine) -> None:
    add_customer(engine)

    read = opened(engine)

    assert read.policy == policy_of(load_plans().pinned("payg", PLAN_DATE))


def test_a_posted_charge_reads_back_equal(engine: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        bulk.append(tx, tables.charges, [charge(2900)])
    frozen = charge(
        2900,
        ChargeStatus.FROZEN,
        due_why=Why.OPERATOR,
        applied=1,
        dropped=2,
        tries=3,
        waits=4,
        write_off=True,
        resume_at=NOW + HOUR,
        declined_at=NOW - DAY,
        payment_intent="pi_1",
    )
    with engine.begin() as tx:
        written = journal()
        written.charges.change(frozen.charge_id, frozen)
        post(tx, written)

    read = opened(engine)

    assert read.charge_in_flight == frozen


def test_the_lines_of_a_withdrawn_charge_and_their_fixes_are_posted_to_another(
    engine: Engine,
) -> None:
    add_customer(engine)
    settle_events(engine, deployed("a"), deployed("b"))
    with posting(engine) as (_, written, standing):
        assert standing.open_charge is not None
        begin_attempt(written, standing, standing.open_charge)
    settle_events(engine, reverted("b"))

    with posting(engine) as (tx, written, standing):
        old = standing.charge_in_flight
        assert old is not None
        old.status, old.due_at = ChargeStatus.VOID, None
        written.charges.change(old.charge_id, old)
        lines = standing_lines(tx, ChargeKey("acme", old.charge_id))
        replace_charge(written, standing, old, lines, fixes_on(tx, lines))

    new = opened(engine).open_charge
    assert new is not None
    placed = {each["fix_id"]: each["charge_id"] for each in rows_of(engine, tables.charge_lines)}
    assert placed == {"a": new.charge_id, "b": old.charge_id}
    assert {each["fix_id"]: each["charge_id"] for each in rows_of(engine, tables.fixes)} == placed
    assert (new.amount, old.amount, old.dropped) == (2900, 5800, 5800)


@contextmanager
def posting(engine: Engine) -> Iterator[tuple[Connection, Journal, Book]]:
    """acme's book, and a journal that is posted at the end."""
    with engine.begin() as tx:
        books = open_books(tx, ["acme"])
        written = journal(books["acme"])
        yield tx, written, books["acme"]
        post(tx, written)


def test_a_posted_book_reads_back_equal(engine: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        books = open_books(tx, ["acme"])
        written = books["acme"]
        opened_journal = journal(written)
        written.plan, written.past_due, written.has_payment_method = "pro", True, False
        written.parked_at, written.parked_why, written.released_at = NOW, "why", NOW - DAY
        written.spending_cap, written.spent = 12345, 678
        written.accepted_at = written.accepted_held_until = NOW
        written.cycle, written.closing_start = 2, MARCH.start
        written.cycle_start, written.cycle_end = NOW, NOW + 31 * DAY
        written.subscription_id, written.subscription_status = "sub_1", "past_due"
        written.anchor, written.paid_until, written.ends_with_period = NOW, NOW + 31 * DAY, True
        written.move("grant", 7, "gift", happened_at=NOW, recorded_at=NOW)
        for kind in ("charge", "unapplied_in", "apply", "refund", "dispute_opened"):
            written.move(kind, 29, "why", happened_at=NOW, recorded_at=NOW)
        opened_journal.touched.add("acme")
        post(tx, opened_journal)

    read = opened(engine)

    assert read == replace(written, fresh_charge_id=read.fresh_charge_id, price=book("pro").price)


def test_a_book_that_was_not_touched_is_not_written(engine: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        books = open_books(tx, ["acme"])
        books["acme"].past_due = True
        post(tx, journal(books["acme"]))

    read = opened(engine)

    assert not read.past_due


BACKLOGS = {
    "nothing could pay": ({"card": False}, 0, []),
    "a card, but nobody agreed": ({}, 0, []),
    "a credit": ({"card": False}, 1, ["fix-00001", "fix-00002", "fix-00003"]),
    "a cap": ({"spending_cap": 1}, 0, ["fix-00001", "fix-00002", "fix-00003"]),
    "a cap without a card": ({"card": False, "spending_cap": 1}, 0, []),
    "accepted": ({"accepted_held_until": NOW}, 0, ["fix-00001", "fix-00002", "fix-00003"]),
    "accepted, past due": ({"accepted_held_until": NOW, "past_due": True}, 0, []),
}


@pytest.mark.parametrize(("standing", "credits", "read"), BACKLOGS.values(), ids=BACKLOGS)
def test_a_backlog_is_read_when_something_could_pay_for_it(
    engine: Engine, standing: dict[str, object], credits: int, read: list[str]
) -> None:
    add_customer(engine, **({"held": 3} | standing))  # type: ignore[arg-type]
    held = [fix(each.fix_id, deployed_at=each.time) for each in fixes_of("acme", 3)]
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [*reversed(held), fix("paid", FixOutcome.CREDITED)])
    if credits:
        give_credits(engine, credits=credits)

    backlog = opened(engine).backlog

    assert [each.fix_id for each in backlog] == read
    assert backlog == held[: len(read)]


def test_known_is_what_the_books_hold_of_these_events_and_no_more(engine: Engine) -> None:
    add_customer(engine, "acme", credits=1)
    add_customer(engine, "globex")
    settle_events(
        engine,
        deployed("credited"),
        deployed(DERIVED),
        deployed("other"),
        deployed("credited", "globex"),
    )
    asked = [
        deployed("credited"),
        reverted("credited"),
        deployed(DERIVED, "globex"),
        deployed("new"),
    ]

    with engine.begin() as tx:
        known = known_fixes(tx, asked, ())

    assert set(known.fixes) == {("acme", "credited")}
    assert set(known.events) == {("acme", "github.com/acme/shop", "deployed-credited")}
    assert known.events["acme", "github.com/acme/shop", "deployed-credited"] == asked[0].body_hash
    assert known.claims == {DERIVED: "acme"}
    assert known.grants == {("acme", "gift"): grant(1, remaining=0, recorded_at=NOW - DAY)}


R, S = RefundStatus, ChargeStatus
PAID = charge(5800, S.PAID)
GONE: dict[str, tuple[Charge, list[Refund], list[str]]] = {
    "open": (charge(5800), [], []),
    "under way": (charge(5800, S.FROZEN), [], []),
    "paid": (PAID, [], []),
    "paid without a card": (replace(PAID, applied=5800, asked_amount=0), [], []),
    "written off": (charge(5800, S.VOID), [], ["fix-1", "fix-2"]),
    "given back whole": (replace(PAID, returned=5800), [], ["fix-1", "fix-2"]),
    "what the card paid given back": (
        replace(PAID, applied=800, asked_amount=5000, returned=5000),
        [],
        ["fix-1", "fix-2"],
    ),
    "given back in part": (
        replace(PAID, returned=2900),
        [refund(2900, R.SUCCEEDED, stripe_refund="re_1")],
        [],
    ),
    **{
        f"one fix's refund {status}": (
            PAID,
            [refund(2900, status, fix_id="fix-1", stripe_refund="re_1")],
            ["fix-1"] if status not in (R.REFUSED, R.FAILED) else [],
        )
        for status in R
    },
    "one fix's refund failed, and was made again": (
        PAID,
        [
            refund(2900, R.FAILED, fix_id="fix-2", refund_id="ref_1", stripe_refund="re_1"),
            refund(2900, R.PENDING, fix_id="fix-2", refund_id="ref_2", stripe_refund="re_2"),
        ],
        ["fix-2"],
    ),
}


@pytest.mark.parametrize(("owed", "refunds", "gone"), GONE.values(), ids=GONE)
def test_for_which_fixes_no_money_is_left(
    engine: Engine, owed: Charge, refunds: list[Refund], gone: list[str]
) -> None:
    add_customer(engine)
    charged = [fix(name, FixOutcome.CHARGED) for name in ("fix-1", "fix-2")]
    held = fix("held", FixOutcome.HELD)
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, [*charged, held])
        bulk.append(tx, tables.charges, [owed])
        for each in refunds:
            add_refund(tx, each)

        known = known_fixes(
            tx, [reverted(name) for name in ("fix-1", "fix-2", "held", "unseen")], ()
        )

    assert known.money_gone == {("acme", each) for each in gone}


def test_another_customers_refund_of_a_fix_of_the_same_name_changes_nothing(
    engine: Engine,
) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)
        charge_id = f"ch_{customer_id}"
        with engine.begin() as tx:
            paid_for = fix(
                "fix-1", FixOutcome.CHARGED, customer_id=customer_id, charge_id=charge_id
            )
            paid = charge(2900, S.PAID, customer_id=customer_id, charge_id=charge_id)
            bulk.append(tx, tables.fixes, [paid_for])
            bulk.append(tx, tables.charges, [paid])
    with engine.begin() as tx:
        returned = refund(2900, R.PENDING, customer_id="globex", fix_id="fix-1")
        add_refund(tx, replace(returned, stripe_refund="re_1"))

        known = known_fixes(tx, [reverted(), reverted(customer_id="globex")], ())

    assert known.money_gone == {("globex", "fix-1")}


def test_events_that_wait_for_their_customer_are_known_too(engine: Engine) -> None:
    settle_events(engine, deployed())

    with engine.begin() as tx:
        known = known_fixes(tx, [deployed()], ())

    assert set(known.events.values()) == {deployed().body_hash}
    assert known.fixes == {}


def test_of_no_events_nothing_is_known(engine: Engine) -> None:
    add_customer(engine)

    with engine.begin() as tx:
        known = known_fixes(tx, [], ())

    assert known == Known()


def test_a_locked_customer_makes_others_wait_and_nobody_else(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex")

    with engine.begin() as holder:
        open_books(holder, ["acme"])

        with engine.begin() as other:
            open_books(other, ["globex"])
            with pytest.raises(OperationalError) as refused:
                lock_now(other, "acme")

    assert isinstance(refused.value.orig, LockNotAvailable)


def test_customers_are_locked_in_the_order_of_their_ids(engine: Engine) -> None:
    for customer_id in ("a", "b", "c"):
        add_customer(engine, customer_id)

    with waiting_for(engine, "b", ["c", "b", "a"]) as other, engine.begin() as tx:
        lock_now(tx, "c")
        with pytest.raises(OperationalError) as refused:
            lock_now(tx, "a")

    assert other.result(10) == ["a", "b", "c"]
    assert isinstance(refused.value.orig, LockNotAvailable)


def test_a_customer_who_comes_while_others_are_waited_for_is_left_out(engine: Engine) -> None:
    add_customer(engine, "acme")

    with waiting_for(engine, "acme", ["acme", "newcomer"]) as other:
        add_customer(engine, "newcomer", credits=5)

    assert other.result(10) == ["acme"]


def test_what_changed_while_a_book_was_waited_for_is_read(engine: Engine) -> None:
    add_customer(engine)

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as holder:
            open_books(holder, ["acme"])
            other = pool.submit(lambda: [each.grant_id for each in opened(engine).grants])
            wait_until_someone_waits(engine, other)
            bulk.append(holder, tables.grants, [grant(grant_id="just now")])

        assert other.result(10) == ["just now"]


def test_two_who_lock_the_same_customers_never_deadlock(engine: Engine) -> None:
    customers = [f"customer-{number}" for number in range(6)]
    for customer_id in customers:
        add_customer(engine, customer_id)

    def lock_pairs(seed: int) -> int:
        choose = random.Random(seed)
        for _ in range(60):
            pair = choose.sample(customers, 3)
            with engine.begin() as tx:
                books = open_books(tx, pair)
                written = journal(*books.values())
                written.touched.update(pair)
                post(tx, written)
        return seed

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lock_pairs, (1, 2, 3)))

    assert done == [1, 2, 3]


def lock_now(tx: Connection, customer_id: str) -> None:
    tx.execute(
        text("SELECT 1 FROM books WHERE customer_id = :id FOR UPDATE NOWAIT"), {"id": customer_id}
    )


@contextmanager
def waiting_for(engine: Engine, held: str, wanted: list[str]) -> Iterator[Future[list[str]]]:
    """Someone opens the wanted books and stands before one that we hold; what they find then."""
    opening = Signal()

    def open_them() -> list[str]:
        with engine.begin() as tx:
            opening.set()
            return list(open_books(tx, wanted))

    with ThreadPoolExecutor(1) as pool, engine.begin() as holder:
        open_books(holder, [held])
        other: Future[list[str]] = pool.submit(open_them)
        opening.wait(10)
        wait_until_someone_waits(engine, other)
        yield other


def wait_until_someone_waits(engine: Engine, other: Future[list[str]]) -> None:
    while not other.done():
        if waiting(engine):
            return
    raise AssertionError("nobody had to wait")


def test_posting_writes_every_table_of_the_journal(engine: Engine) -> None:
    add_customer(engine, credits=1)

    settle_events(
        engine,
        deployed("a"),
        deployed(DERIVED),
        deployed("b", "stranger"),
        deployed("c", at=NOW + HOUR),
    )

    sizes = {
        table.name: len(rows_of(engine, table))
        for table in (
            tables.events,
            tables.claims,
            tables.transfers,
            tables.fixes,
            tables.grants,
            tables.charges,
            tables.charge_lines,
            tables.usage,
            tables.waiting_fixes,
            tables.quarantine,
        )
    }
    assert sizes == {
        "events": 2,
        "claims": 1,
        "transfers": 3,
        "fixes": 2,
        "grants": 1,
        "charges": 1,
        "charge_lines": 1,
        "usage": 1,
        "waiting_fixes": 1,
        "quarantine": 1,
    }
