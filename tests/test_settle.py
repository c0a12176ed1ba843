"""The life of a batch on a real Postgres: read, open, decide, post, one commit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.errors import InsufficientPrivilege, UniqueViolation
from sqlalchemy import Engine, insert

from schemas.events import Event, derived_fix_id
from tests.billing.histories import History, cut, histories
from tests.billing.memory import Memory
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    PLAN_DATE,
    UNSIGNED,
    add_customer,
    deployed,
    entry,
    fix,
    fixes_of,
    give_credits,
    one_row,
    outcomes,
    owe,
    reasons,
    reverted,
    rows_of,
    settle_entries,
    settle_events,
)
from tests.running import eventually
from tests.sweeping import locked, waiting
from worker.billing.journal import Quarantined
from worker.billing.ledger import ACCOUNTS, Transfer
from worker.settle import (
    StillUnsettleable,
    quarantine,
    replay,
    settle,
    settle_backlog,
    settle_parked,
    settle_signed,
)
from worker.storage import bulk, tables
from worker.storage.books import BACKLOG_READ_MAX
from worker.storage.parked import park, parked
from worker.storage.waiting import due_waiting
from worker.usage.verify import verify

DERIVED = derived_fix_id("github.com", 42, 7)


def moved(engine: Engine, customer_id: str = "acme") -> list[tuple[str, str]]:
    rows = rows_of(engine, tables.transfers, customer_id=customer_id)
    return [(row["kind"], row["source_key"]) for row in rows]


def balances(engine: Engine, customer_id: str = "acme") -> dict[str, int]:
    row = one_row(engine, tables.books, customer_id=customer_id)
    return {name: row[name] for name in ACCOUNTS if row[name]}


def verdicts(engine: Engine) -> dict[str, str]:
    return {row["event_id"]: row["verdict"] for row in rows_of(engine, tables.events)}


def assert_books_hold(engine: Engine) -> None:
    """Every invariant that `fixbill verify` knows."""
    broken = [each for each in verify(engine, None) if not each.ok]
    assert broken == []


# What becomes of a fix.


def test_a_credit_pays(engine: Engine) -> None:
    add_customer(engine, credits=1)

    journal = settle_events(engine, deployed())

    assert journal.tally["credited"] == 1
    assert outcomes(engine) == {"fix-1": "credited"}
    assert moved(engine) == [("grant", "gift"), ("consume", "fix-1")]
    assert balances(engine) == {"issued": -1, "consumed": 1}
    assert_books_hold(engine)


def test_money_pays_where_no_credit_is_left(engine: Engine) -> None:
    add_customer(engine, credits=1)

    settle_events(engine, deployed("a"), deployed("b"), deployed("c"))

    assert outcomes(engine) == {"a": "credited", "b": "charged", "c": "charged"}
    assert balances(engine) == {
        "issued": -1,
        "consumed": 1,
        "revenue": -5800,
        "receivable": 5800,
    }
    owed = one_row(engine, tables.charges)
    assert (owed["status"], owed["amount"], owed["due_at"]) == ("open", 5800, NOW)
    lines = rows_of(engine, tables.charge_lines, charge_id=owed["charge_id"])
    assert [(row["fix_id"], row["price"]) for row in lines] == [("b", 2900), ("c", 2900)]
    assert_books_hold(engine)


def test_a_fix_that_nothing_pays_is_held(engine: Engine) -> None:
    add_customer(engine, card=False)

    settle_events(engine, deployed())

    stored = one_row(engine, tables.fixes)
    assert (stored["outcome"], stored["held_why"]) == ("held", "no payment method")
    assert one_row(engine, tables.books)["held"] == 1
    assert moved(engine) == []
    assert_books_hold(engine)


def test_the_price_of_the_plan_is_pinned_on_the_line(engine: Engine) -> None:
    add_customer(engine, plan="pro")

    settle_events(engine, deployed())

    stored = one_row(engine, tables.fixes)
    assert (stored["price"], stored["currency"]) == (1500, "usd")
    assert (stored["plan"], stored["plan_version"]) == ("pro", PLAN_DATE)
    assert one_row(engine, tables.charge_lines)["price"] == 1500


def test_a_fix_remembers_where_it_came_from(engine: Engine) -> None:
    add_customer(engine)
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    event = deployed(pull_request=7, finding="CVE-1", commit_sha="ABCDEF0", at=NOW - HOUR)

    settle_entries(engine, [entry(event, at=NOW - MINUTE)._replace(traceparent=trace)])

    stored = one_row(engine, tables.fixes)
    assert (stored["pull_request"], stored["finding"]) == (7, "CVE-1")
    assert (stored["commit_sha"], stored["deployed_at"]) == ("abcdef0", NOW - HOUR)
    recorded = one_row(engine, tables.events)
    assert (recorded["happened_at"], recorded["accepted_at"]) == (NOW - HOUR, NOW - MINUTE)
    assert (recorded["recorded_at"], recorded["traceparent"]) == (NOW, trace)


REVERTS: dict[str, tuple[dict[str, Any], list[str], dict[str, int]]] = {
    "a credit": ({"credits": 1}, ["grant", "consume", "give_back"], {"issued": -1, "credits": 1}),
    "an open charge": ({}, ["charge", "uncharge"], {}),
    "nothing yet": ({"card": False}, [], {}),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["same batch", "later batch"])
@pytest.mark.parametrize(("standing", "kinds", "left"), REVERTS.values(), ids=REVERTS)
def test_a_revert_undoes_what_paid(
    engine: Engine, standing: dict[str, Any], kinds: list[str], left: dict[str, int], at_once: bool
) -> None:
    add_customer(engine, **standing)
    batches = [[deployed(), reverted()]] if at_once else [[deployed()], [reverted()]]

    for batch in batches:
        settle_events(engine, *batch)

    assert outcomes(engine) == {"fix-1": "reverted"}
    assert [kind for kind, _ in moved(engine)] == kinds
    assert balances(engine) == left
    assert one_row(engine, tables.books)["held"] == 0
    assert_books_hold(engine)


def test_a_reverted_line_is_removed_from_the_open_charge(engine: Engine) -> None:
    add_customer(engine)
    owe(engine, fix_id="stays")
    owe(engine, fix_id="goes")

    settle_events(engine, reverted("goes"))

    owed = one_row(engine, tables.charges)
    assert owed["amount"] == 2900
    removed = {row["fix_id"]: row["removed_at"] for row in rows_of(engine, tables.charge_lines)}
    assert removed == {"stays": None, "goes": NOW}


def test_a_reverted_fix_of_a_frozen_charge_is_no_longer_owed(engine: Engine, owner: Engine) -> None:
    add_customer(engine)
    key = owe(engine)
    with owner.begin() as tx:
        tx.execute(
            tables.charges.update()
            .where(tables.charges.c.charge_id == key.charge_id)
            .values(status="frozen", frozen_at=NOW, asked_amount=2900)
        )

    settle_events(engine, reverted())

    charge = one_row(engine, tables.charges)
    assert (charge["status"], charge["amount"], charge["dropped"]) == ("withdrawing", 2900, 2900)
    assert rows_of(engine, tables.grants) == []
    assert one_row(engine, tables.books)["receivable"] == 0
    assert_books_hold(engine)


def test_a_fix_reverted_before_it_was_seen_never_costs_anything(engine: Engine) -> None:
    add_customer(engine, credits=1)

    settle_events(engine, reverted())
    settle_events(engine, deployed())

    assert outcomes(engine) == {"fix-1": "reverted"}
    assert verdicts(engine) == {
        "reverted-fix-1": "reverted_unseen",
        "deployed-fix-1": "duplicate",
    }
    assert balances(engine) == {"issued": -1, "credits": 1}
    assert_books_hold(engine)


# Once, and only once.


@pytest.mark.parametrize("at_once", [True, False], ids=["same batch", "later batch"])
def test_an_event_that_comes_again_is_billed_once(engine: Engine, at_once: bool) -> None:
    add_customer(engine, credits=2)
    batches = [[deployed()] * 3] if at_once else [[deployed()], [deployed()], [deployed()]]

    for batch in batches:
        settle_events(engine, *batch)

    assert moved(engine) == [("grant", "gift"), ("consume", "fix-1")]
    assert len(rows_of(engine, tables.events)) == 1
    assert_books_hold(engine)


@pytest.mark.parametrize("at_once", [True, False], ids=["same batch", "later batch"])
def test_a_fix_under_another_event_id_is_billed_once(engine: Engine, at_once: bool) -> None:
    add_customer(engine)
    events = [deployed(), deployed(id="sent-again")]
    batches = [events] if at_once else [[each] for each in events]

    for batch in batches:
        settle_events(engine, *batch)

    assert moved(engine) == [("charge", "fix-1")]
    assert verdicts(engine) == {"deployed-fix-1": "charged", "sent-again": "duplicate"}
    assert_books_hold(engine)


@pytest.mark.parametrize("customer", ["known", "unknown"])
@pytest.mark.parametrize("at_once", [True, False], ids=["same batch", "later batch"])
def test_an_event_id_with_another_body_is_set_aside(
    engine: Engine, at_once: bool, customer: str
) -> None:
    if customer == "known":
        add_customer(engine, credits=2)
    other = deployed("fix-2", id="deployed-fix-1")
    batches = [[deployed(), other]] if at_once else [[deployed()], [other]]

    for batch in batches:
        settle_events(engine, *batch)

    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], aside["event_id"]) == ("conflict", "deployed-fix-1")
    assert aside["body"] == other.to_bytes()
    assert "fix-2" not in outcomes(engine)


def test_settling_a_batch_again_changes_nothing(engine: Engine) -> None:
    add_customer(engine, "acme", credits=1)
    add_customer(engine, "globex", card=False)
    batch = [
        entry(each, key=f"0/{number}-0")
        for number, each in enumerate(
            [
                deployed("a"),
                deployed("b"),
                reverted("a"),
                deployed("c", "globex"),
                deployed("d", "stranger"),
                deployed("e", at=NOW + DAY),
                deployed("b", id="b-again"),
            ]
        )
    ]
    settle_entries(engine, batch)
    before = contents(engine)

    settle_entries(engine, batch)
    settle_entries(engine, list(reversed(batch)))

    assert contents(engine) == before
    assert_books_hold(engine)


def contents(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: rows_of(engine, table)
        for table in tables.metadata.sorted_tables
        if table.name != "attempts"
    }


def test_a_batch_that_fails_leaves_nothing_behind(engine: Engine) -> None:
    add_customer(engine, credits=1)
    with engine.begin() as tx:
        # A row that the batch is going to write, and cannot know of.
        bulk.append(
            tx, tables.transfers, [one_transfer(engine)._replace(seq=7, source_key="fix-2")]
        )
    before = contents(engine)

    with pytest.raises(Exception, match="transfers_customer_id_kind_source_key"):
        settle_events(engine, deployed("fix-1"), deployed("fix-2"))

    assert contents(engine) == before


def one_transfer(engine: Engine) -> Transfer:
    """A charge like the next one's, beside the chain."""
    transfer = Transfer(**one_row(engine, tables.transfers))
    accounts: dict[str, Any] = {
        "from_account": "revenue",
        "to_account": "receivable",
        "unit": "usd",
    }
    return transfer._replace(kind="charge", **accounts)


# What cannot be settled.


@pytest.mark.parametrize("body", [b"", b"no event", b"{}", b"\xff", b"[]", b"null"])
def test_what_cannot_be_read_is_kept_with_its_bytes(engine: Engine, body: bytes) -> None:
    add_customer(engine)
    came = [entry(deployed("a")), entry(body), entry(deployed("b"))]

    journal = settle_entries(engine, came)

    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], aside["body"], aside["entry_key"]) == ("unreadable", body, came[1].key)
    assert outcomes(engine) == {"a": "charged", "b": "charged"}
    assert journal.tally["quarantined"] == 1


def test_an_entry_can_be_set_aside_without_being_settled(engine: Engine) -> None:
    add_customer(engine)
    came = entry(deployed())

    with engine.connect() as connection:
        refused = Quarantined(came, None, "kills_the_worker", "it died three times")
        quarantine(refused, connection, NOW)

    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], aside["detail"]) == ("kills_the_worker", "it died three times")
    assert outcomes(engine) == {}


def test_an_event_from_the_future_is_set_aside(engine: Engine) -> None:
    add_customer(engine)

    settle_events(engine, deployed("now", at=NOW + 5 * MINUTE), deployed("then", at=NOW + HOUR))

    assert reasons(engine) == ["future"]
    assert outcomes(engine) == {"now": "charged"}


def test_the_future_is_the_customers_own(engine: Engine) -> None:
    add_customer(engine, clock_offset=10 * DAY)

    settle_events(engine, deployed(at=NOW + 10 * DAY))

    assert outcomes(engine) == {"fix-1": "charged"}
    assert one_row(engine, tables.fixes)["recorded_at"] == NOW + 10 * DAY


@pytest.mark.parametrize("at", ["0001-01-02T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_an_event_of_the_distant_past_is_settled_as_late(engine: Engine, at: str) -> None:
    add_customer(engine)

    settle_events(engine, deployed(at=datetime.fromisoformat(at)))

    stored = one_row(engine, tables.fixes)
    assert (stored["outcome"], stored["late"]) == ("charged", True)
    assert_books_hold(engine)


# Customers nobody knows yet.


def test_a_fix_of_an_unknown_customer_waits_and_is_billed_once_they_are_known(
    engine: Engine,
) -> None:
    for _ in range(2):
        settle_events(engine, deployed("a"), deployed("b"))
    add_customer(engine, credits=1)

    with engine.begin() as tx:
        known_by_now = due_waiting(tx, 10)
    for customer_id in known_by_now:
        settle_backlog(customer_id, engine, NOW)

    assert outcomes(engine) == {"a": "credited", "b": "charged"}
    assert rows_of(engine, tables.waiting_fixes) == []
    assert_books_hold(engine)


def test_what_waited_settles_in_the_order_it_came_and_before_what_is_new(engine: Engine) -> None:
    for number, name in enumerate(["c", "b", "a"]):
        came = entry(deployed(name, at=NOW - 2 * HOUR), at=NOW - HOUR + number * MINUTE)
        settle_entries(engine, [came])
    add_customer(engine)

    settle_events(engine, deployed("new"))

    assert [source for _, source in moved(engine)] == ["c", "b", "a", "new"]


def test_what_waited_is_refused_like_anything_else(engine: Engine) -> None:
    settle_events(engine, deployed("a"), reverted("a"), deployed("a", id="again"))
    add_customer(engine)

    settle_backlog("acme", engine, NOW)

    assert outcomes(engine) == {"a": "reverted"}
    assert verdicts(engine)["again"] == "duplicate"


def test_an_event_that_waits_and_comes_again_is_one(engine: Engine) -> None:
    settle_events(engine, deployed())
    add_customer(engine)

    settle_events(engine, deployed())

    assert moved(engine) == [("charge", "fix-1")]
    assert len(rows_of(engine, tables.events)) == 1


# A pull request belongs to one customer.


@pytest.mark.parametrize("at_once", [True, False], ids=["same batch", "later batch"])
def test_a_pull_request_claimed_by_a_second_customer_is_set_aside(
    engine: Engine, at_once: bool
) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex")
    events = [deployed(DERIVED, "acme"), deployed(DERIVED, "globex")]

    for batch in [events] if at_once else [[each] for each in events]:
        settle_events(engine, *batch)

    assert outcomes(engine, "acme") == {DERIVED: "charged"}
    assert outcomes(engine, "globex") == {}
    assert reasons(engine) == ["claimed"]


def test_a_fix_id_somebody_chose_may_be_used_by_two_customers(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex")

    settle_events(engine, deployed("fix-1", "acme"), deployed("fix-1", "globex"))

    assert outcomes(engine, "acme") == outcomes(engine, "globex") == {"fix-1": "charged"}


def test_a_pull_request_claimed_from_two_connections_at_once_is_billed_to_one(
    engine: Engine,
) -> None:
    customers = [f"c{number}" for number in range(8)]
    for customer_id in customers:
        add_customer(engine, customer_id)

    def claim(customer_id: str) -> None:
        # A batch that meets the other's claim is tried again by the settler.
        for _ in range(2):
            with suppress(UniqueViolation):
                settle_events(engine, deployed(DERIVED, customer_id))
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(claim, customers))

    charged = [each for each in customers if outcomes(engine, each)]
    assert len(charged) == 1
    assert reasons(engine) == ["claimed"] * 7
    assert_books_hold(engine)


def test_one_customer_settled_from_two_connections_at_once_is_billed_once(engine: Engine) -> None:
    add_customer(engine, credits=5)

    def send(number: int) -> None:
        settle_events(engine, *(deployed(f"fix-{each}") for each in range(10)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))

    kinds = [kind for kind, _ in moved(engine)]
    assert (kinds.count("consume"), kinds.count("charge")) == (5, 5)
    assert_books_hold(engine)


def test_a_repeated_event_waits_for_nobody(engine: Engine) -> None:
    add_customer(engine, credits=1)
    settle_events(engine, deployed())

    with locked(engine, "acme"):
        journal = settle_events(engine, deployed())

    assert journal.tally == {"duplicate": 1}
    assert_books_hold(engine)


def test_an_event_recorded_while_its_customer_is_waited_for_is_billed_once(engine: Engine) -> None:
    add_customer(engine, credits=2)

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as tx:
            settle_signed(tx, [entry(deployed())], NOW, UNSIGNED)
            other = pool.submit(settle_events, engine, deployed())
            assert eventually(lambda: waiting(engine))
        journal = other.result()

    assert journal.tally == {"duplicate": 1}
    assert moved(engine) == [("grant", "gift"), ("consume", "fix-1")]
    assert_books_hold(engine)


# Backlogs.


def test_credits_reach_the_oldest_held_fixes_at_the_next_settling(engine: Engine) -> None:
    add_customer(engine, card=False)
    settle_events(engine, deployed("young", at=NOW - MINUTE), deployed("old", at=NOW - HOUR))
    give_credits(engine)

    settle_events(engine, deployed("new"))

    assert outcomes(engine) == {"old": "credited", "young": "held", "new": "held"}
    assert_books_hold(engine)


def test_a_backlog_settles_by_the_sweep_alone(engine: Engine) -> None:
    add_customer(engine, card=False)
    settle_events(engine, *fixes_of("acme", 5))
    give_credits(engine, credits=3)

    journal = settle_backlog("acme", engine, NOW)

    assert journal.released == {"credited": 3}
    assert list(outcomes(engine).values()) == ["credited"] * 3 + ["held"] * 2
    assert_books_hold(engine)


def test_a_backlog_too_long_for_one_batch_settles_in_several_oldest_first(
    engine: Engine,
) -> None:
    how_many = BACKLOG_READ_MAX + 20
    hold(engine, how_many)
    give_credits(engine, credits=how_many + 5)

    first = settle_backlog("acme", engine, NOW)
    meanwhile = settle_events(engine, deployed("new"))

    assert first.released == {"credited": BACKLOG_READ_MAX}
    assert meanwhile.released == {"credited": 20}
    assert outcomes(engine)["new"] == "credited"
    assert one_row(engine, tables.books)["held"] == 0
    assert_books_hold(engine)


def test_a_new_fix_waits_while_part_of_a_long_backlog_was_not_read(engine: Engine) -> None:
    how_many = BACKLOG_READ_MAX + 20
    hold(engine, how_many)
    give_credits(engine, credits=how_many)

    settle_events(engine, deployed("new"))

    stored = one_row(engine, tables.fixes, fix_id="new")
    assert (stored["outcome"], stored["held_why"]) == ("held", "behind older held fixes")
    assert_books_hold(engine)


def test_a_held_fix_beyond_the_part_that_was_read_can_be_reverted(engine: Engine) -> None:
    how_many = BACKLOG_READ_MAX + 2
    hold(engine, how_many)
    give_credits(engine, credits=1)
    last = fixes_of("acme", how_many)[-1]

    settle_events(engine, reverted(last.fix_id))

    assert one_row(engine, tables.fixes, fix_id=last.fix_id)["outcome"] == "reverted"
    assert one_row(engine, tables.books)["held"] == how_many - 2
    assert_books_hold(engine)


def hold(engine: Engine, how_many: int) -> None:
    """So many held fixes, put there without settling each."""
    add_customer(engine, card=False, held=how_many)
    held = [fix(each.fix_id, deployed_at=each.time) for each in fixes_of("acme", how_many)]
    usage = [
        (each.customer_id, each.cycle_start, each.deployed_at.date(), each.repository)
        for each in held
    ]
    with engine.begin() as tx:
        bulk.append(tx, tables.fixes, held)
        bulk.add(tx, tables.usage, [(*usage[0], 0, 0, how_many, 0, 0)])


def test_a_credit_given_back_reaches_the_oldest_held_fix_whatever_the_batches(
    engine: Engine,
) -> None:
    add_customer(engine, "whole", card=False, credits=1)
    add_customer(engine, "pieces", card=False, credits=1)

    def events(customer_id: str) -> list[Event]:
        names = [
            ("paid", deployed),
            ("held", deployed),
            ("paid", reverted),
            ("late", deployed),
        ]
        return [make(name, customer_id) for name, make in names]

    settle_events(engine, *events("whole"))
    settle_events(engine, *events("pieces")[:2])
    settle_events(engine, *events("pieces")[2:])

    assert outcomes(engine, "pieces") == outcomes(engine, "whole")


# The doors beside the inbox.


def test_a_parked_entry_is_settled_and_forgotten_in_one_commit(engine: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        park(tx, "acme", entry(deployed()))
        (came,) = parked(tx, 10)

    for _ in range(2):
        settle_parked(came, engine, NOW)

    with engine.begin() as tx:
        assert parked(tx, 10) == []
    assert moved(engine) == [("charge", "fix-1")]


def test_a_parked_entry_that_cannot_be_settled_is_set_aside_and_forgotten(
    engine: Engine, owner: Engine
) -> None:
    add_customer(engine)
    with owner.begin() as tx:
        tx.exec_driver_sql("ALTER TABLE fixes ADD CHECK (fix_id <> 'fix-1')")
    with engine.begin() as tx:
        park(tx, "acme", entry(deployed()))
        (came,) = parked(tx, 10)

    settle_parked(came, engine, NOW)

    with engine.begin() as tx:
        assert parked(tx, 10) == []
    (aside,) = rows_of(engine, tables.quarantine)
    assert (aside["reason"], aside["body"]) == ("unsettleable", came.body)


def test_a_parked_entry_stays_while_the_database_is_away(engine: Engine, owner: Engine) -> None:
    add_customer(engine)
    with engine.begin() as tx:
        park(tx, "acme", entry(deployed()))
        (came,) = parked(tx, 10)
    with owner.begin() as tx:
        tx.exec_driver_sql("REVOKE INSERT ON fixes FROM fixbill_worker")

    with pytest.raises(InsufficientPrivilege):
        settle_parked(came, engine, NOW)

    with engine.begin() as tx:
        assert parked(tx, 10) == [came]
    assert reasons(engine) == []


def test_what_was_set_aside_is_settled_once_when_it_is_replayed(engine: Engine) -> None:
    add_customer(engine)
    settle_events(engine, deployed(at=NOW + HOUR))
    aside = one_row(engine, tables.quarantine)["quarantine_id"]

    verdicts_of_two = [replay(aside, engine, NOW + HOUR, UNSIGNED) for _ in range(2)]

    assert verdicts_of_two == ["charged", None]
    assert outcomes(engine) == {"fix-1": "charged"}
    assert replay("qua_unknown", engine, NOW, UNSIGNED) is None


def test_what_is_replayed_too_early_is_set_aside_again(engine: Engine) -> None:
    add_customer(engine)
    settle_events(engine, deployed(at=NOW + HOUR))
    aside = one_row(engine, tables.quarantine)["quarantine_id"]

    verdict = replay(aside, engine, NOW, UNSIGNED)

    assert verdict == "quarantined"
    standing = rows_of(engine, tables.quarantine, replayed_at=None)
    assert [row["entry_key"] for row in standing] == [f"replay/{aside}"]


def test_what_still_cannot_be_settled_stays_in_quarantine(engine: Engine, owner: Engine) -> None:
    add_customer(engine)
    settle_events(engine, deployed(at=NOW + HOUR))
    (aside,) = rows_of(engine, tables.quarantine)
    with owner.begin() as tx:
        tx.exec_driver_sql("ALTER TABLE fixes ADD CHECK (fix_id <> 'fix-1')")

    with pytest.raises(StillUnsettleable, match="stays in quarantine"):
        replay(aside["quarantine_id"], engine, NOW + HOUR, UNSIGNED)

    assert rows_of(engine, tables.quarantine) == [aside]
    assert outcomes(engine) == {}


def test_nothing_is_settled_in_no_time(engine: Engine) -> None:
    with engine.connect() as connection:
        journal = settle([], connection, NOW, UNSIGNED)

    assert journal.tally.total() == 0


# The harness that the property of the rules runs on does what Postgres does.


@settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(histories(), st.sets(st.integers(1, 23), max_size=4))
def test_postgres_keeps_what_the_rules_say_however_events_are_cut(
    engine: Engine, owner: Engine, history: History, cuts: set[int]
) -> None:
    empty(owner)
    memory = history.memory()
    memory.quarantine.clear()
    store(owner, memory)

    for piece in cut(history.arrivals, cuts):
        memory.settle(piece, NOW)
        settle_entries(engine, [each.entry for each in piece])

    assert stored_in(engine) == kept_in(memory)
    assert_books_hold(engine)


def empty(owner: Engine) -> None:
    names = ", ".join(tables.metadata.tables)
    with owner.begin() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for name in tables.metadata.tables:
            tx.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
        tx.exec_driver_sql(f"TRUNCATE {names}")
        for name in tables.metadata.tables:
            tx.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER USER")


def store(owner: Engine, memory: Memory) -> None:
    columns = {column.name for column in tables.books.columns}
    for customer_id, standing in memory.books.items():
        add_customer(owner, customer_id)
        values = {name: each for name, each in asdict(standing).items() if name in columns}
        mine = tables.books.c.customer_id == customer_id
        with owner.begin() as tx:
            tx.execute(tables.books.update().where(mine).values(values))
    with owner.begin() as tx:
        # Lines of charges that are frozen by now.
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        bulk.append(tx, tables.fixes, memory.fixes.values())
        bulk.append(tx, tables.grants, memory.grants.values())
        tx.execute(tables.cycles.delete())
        bulk.append(tx, tables.cycles, memory.cycles.values())
        bulk.append(tx, tables.charges, memory.charges.values())
        bulk.append(tx, tables.charge_lines, memory.lines.values())
        bulk.append(tx, tables.transfers, memory.transfers)
        bulk.add(tx, tables.usage, [(*key, *row) for key, row in sorted(memory.usage.items())])
        for fix_id, customer_id in memory.claims.items():
            tx.execute(insert(tables.claims).values(fix_id=fix_id, customer_id=customer_id))
        for customer_id, source, event_id in memory.events:
            tx.execute(
                insert(tables.events).values(
                    customer_id=customer_id,
                    source=source,
                    event_id=event_id,
                    type="of no interest",
                    fix_id="of no interest",
                    body_hash=memory.events[customer_id, source, event_id],
                    verdict="of no interest",
                    door="redis",
                    happened_at=NOW,
                    accepted_at=NOW,
                    recorded_at=NOW,
                )
            )


COMPARED = (
    *ACCOUNTS,
    "held",
    "spent",
    "seq",
    "cycle",
    "cycle_start",
    "cycle_end",
    "closing_start",
)


def kept_in(memory: Memory) -> dict[str, Any]:
    """What can be compared: all but the ids of charges, which are made up."""
    return {
        "transfers": sorted(
            (each.customer_id, each.seq, each.kind, each.amount, each.source_key, each.cycle)
            for each in memory.transfers
        ),
        "books": {
            key: {name: getattr(each, name) for name in COMPARED}
            for key, each in memory.books.items()
        },
        "fixes": {
            key: (each.outcome, each.held_why, each.cycle_start, each.late, each.grant_id)
            for key, each in memory.fixes.items()
        },
        "grants": {key: (each.remaining, each.expires_at) for key, each in memory.grants.items()},
        "cycles": {
            key: (each.starts_at, each.ends_at, each.status, each.first_seq, each.last_seq)
            for key, each in memory.cycles.items()
        },
        "charges": sorted(
            (each.customer_id, each.status.value, each.amount) for each in memory.charges.values()
        ),
        "usage": {tuple(key): row for key, row in memory.usage.items() if any(row)},
        "waiting": sorted(memory.waiting),
        "quarantine": sorted(memory.quarantine),
    }


def stored_in(engine: Engine) -> dict[str, Any]:
    def keyed(table: Any, key: tuple[str, ...], *names: str) -> dict[Any, Any]:
        return {
            tuple(row[each] for each in key): tuple(row[each] for each in names)
            for row in rows_of(engine, table)
        }

    return {
        "transfers": sorted(
            keyed(
                tables.transfers, ("customer_id", "seq", "kind", "amount", "source_key", "cycle")
            )
        ),
        "books": {
            row["customer_id"]: {name: row[name] for name in COMPARED}
            for row in rows_of(engine, tables.books)
        },
        "fixes": keyed(
            tables.fixes, ("customer_id", "fix_id"),
            "outcome", "held_why", "cycle_start", "late", "grant_id",
        ),
        "grants": keyed(
            tables.grants, ("customer_id", "grant_id"), "remaining", "expires_at"
        ),
        "cycles": keyed(
            tables.cycles, ("customer_id", "number"),
            "starts_at", "ends_at", "status", "first_seq", "last_seq",
        ),
        "charges": sorted(
            (row["customer_id"], row["status"], row["amount"])
            for row in rows_of(engine, tables.charges)
        ),
        "usage": {
            tuple(row.values())[:4]: list(row.values())[4:]
            for row in rows_of(engine, tables.usage)
            if any(list(row.values())[4:])
        },
        "waiting": sorted(
            keyed(tables.waiting_fixes, ("customer_id", "source", "event_id"))
        ),
        "quarantine": sorted(
            (row["reason"], row["entry_key"]) for row in rows_of(engine, tables.quarantine)
        ),
    }  # fmt: skip
