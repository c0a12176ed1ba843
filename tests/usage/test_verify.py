"""Each check goes red when its own invariant is broken, and no other check does."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.builders import rows_of
from tests.stating import close_march
from worker.storage import tables
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import QUERIES, SHOWN_MAX, verify

BALANCES = "balances_equal_transfers"
CHAIN = "chain_whole"
ONCE = "fixes_settled_once"
LINES = "charges_equal_lines"
COLLECTED = "charges_equal_transfers"
RECEIVABLE = "receivable_equals_unpaid_charges"
CREDITS = "credits_equal_grants"
HELD = "held_equals_backlog"
USAGE = "usage_equals_ledger"
STUCK = "nothing_stuck"
CYCLES = "cycles_whole"
STATEMENTS = "statements_equal_ledger"
STRIPE = "money_equals_stripe"

ACME = "WHERE customer_id = 'acme'"
HOOLI = "WHERE customer_id = 'hooli'"
TAMPERINGS: dict[str, tuple[str, set[str]]] = {
    "credits out of nothing": (
        f"UPDATE books SET credits = credits + 1, issued = issued - 1 {ACME}",
        {BALANCES, CREDITS},
    ),
    "a debt forgiven": (
        f"UPDATE books SET receivable = receivable - 1, revenue = revenue + 1 {ACME}",
        {BALANCES, RECEIVABLE},
    ),
    "cash from nowhere": (
        f"UPDATE books SET cash = cash + 1, revenue = revenue - 1 {ACME}",
        {BALANCES},
    ),
    "a backlog miscounted": (f"UPDATE books SET held = held + 1 {ACME}", {HELD}),
    "another head": (f"UPDATE books SET head = decode(repeat('11', 32), 'hex') {ACME}", {CHAIN}),
    "a head further on": (f"UPDATE books SET seq = seq + 1 {ACME}", {CHAIN}),
    "a grant without its credits": (
        f"UPDATE grants SET remaining = remaining - 1 {ACME} AND remaining > 0",
        {CREDITS},
    ),
    "a grant removed": (f"DELETE FROM grants {ACME}", {CREDITS}),
    "a dearer charge": (
        f"UPDATE transfers SET amount = amount + 1 {ACME} AND source_key = 'owed-1'",
        {BALANCES, CHAIN},
    ),
    "the last transfer removed": (
        f"DELETE FROM transfers {ACME} AND seq = (SELECT max(seq) FROM transfers {ACME})",
        {BALANCES, CHAIN, ONCE},
    ),
    "the first transfer removed": (
        f"DELETE FROM transfers {ACME} AND seq = 1",
        {BALANCES, CHAIN, ONCE},
    ),
    "all transfers of a customer removed": (
        "DELETE FROM transfers WHERE customer_id = 'globex'",
        {BALANCES, CHAIN, ONCE},
    ),
    "a transfer slipped in": (
        "INSERT INTO transfers SELECT customer_id, 1000, kind, from_account, to_account, unit,"
        " amount, 'slipped-in', NULL, grant_id, charge_id, cycle, happened_at, recorded_at,"
        " hash"
        f" FROM transfers {ACME} AND source_key = 'owed-1'",
        {BALANCES, CHAIN},
    ),
    "a fix paid twice": (
        "INSERT INTO transfers SELECT customer_id, 1000, kind, from_account, to_account, unit,"
        " amount, 'twice', fix_id, grant_id, charge_id, cycle, happened_at, recorded_at,"
        " hash"
        f" FROM transfers {ACME} AND source_key = 'owed-1'",
        {BALANCES, CHAIN, ONCE},
    ),
    "two transfers changing places": (
        f"UPDATE transfers SET seq = CASE seq WHEN 1 THEN 1002 WHEN 2 THEN 1001 END {ACME}"
        f" AND seq < 3; UPDATE transfers SET seq = seq - 1000 {ACME} AND seq > 1000",
        {CHAIN},
    ),
    "a paid fix called held": (
        "UPDATE fixes SET outcome = 'held', held_why = 'no', settled_at = NULL, charge_id = NULL"
        f" {ACME} AND fix_id = 'owed-1'",
        {ONCE, HELD, USAGE},
    ),
    "a charged fix called reverted": (
        f"UPDATE fixes SET outcome = 'reverted' {ACME} AND fix_id = 'owed-1'",
        {USAGE},
    ),
    "a credited fix called reverted": (
        "UPDATE fixes SET outcome = 'reverted' WHERE outcome = 'credited'"
        " AND customer_id = 'globex'",
        {ONCE, USAGE},
    ),
    "a held fix called reverted": (
        "UPDATE fixes SET outcome = 'reverted', held_why = NULL, settled_at = now()"
        " WHERE outcome = 'held'",
        {HELD, USAGE},
    ),
    "a fix removed": (f"DELETE FROM fixes {ACME} AND fix_id = 'owed-1'", {ONCE, USAGE}),
    "a reverted fix removed": (f"DELETE FROM fixes {ACME} AND fix_id = 'unseen'", {USAGE}),
    "another price": (f"UPDATE fixes SET price = 1 {ACME} AND fix_id = 'owed-1'", {USAGE}),
    "another repository": (
        f"UPDATE fixes SET repository = 'acme/else' {ACME} AND fix_id = 'owed-1'",
        {USAGE},
    ),
    "usage inflated": (f"UPDATE usage SET credited = credited + 1 {ACME}", {USAGE}),
    "usage of another amount": (f"UPDATE usage SET amount = amount + 1 {ACME}", {USAGE}),
    "usage removed": (f"DELETE FROM usage {ACME}", {USAGE}),
    "a line of another price": (f"UPDATE charge_lines SET price = 1 {ACME}", {LINES}),
    "a line removed": (
        f"UPDATE charge_lines SET removed_at = now() {ACME} AND fix_id = 'owed-1'",
        {LINES},
    ),
    "a line deleted": (f"DELETE FROM charge_lines {ACME} AND fix_id = 'paid-1'", {LINES}),
    "a line added": (
        "INSERT INTO charge_lines SELECT customer_id, 'added', charge_id, 1, added_at, NULL"
        f" FROM charge_lines {ACME} AND fix_id = 'owed-1'",
        {LINES},
    ),
    "a charge of another amount": (
        f"UPDATE charges SET amount = amount + 1 {ACME} AND status = 'open'",
        {LINES, RECEIVABLE},
    ),
    "a paid charge of another amount": (
        f"UPDATE charges SET amount = amount + 1 {ACME} AND status = 'paid'",
        {LINES},
    ),
    "a charge called void": (
        f"UPDATE charges SET status = 'void' {ACME} AND status = 'open'",
        {RECEIVABLE},
    ),
    "a charge called paid": (
        "UPDATE charges SET status = 'paid', frozen_at = now(), paid_at = now(),"
        f" asked_amount = amount, payment_intent = 'pi_never' {ACME} AND status = 'open'",
        {COLLECTED, RECEIVABLE},
    ),
    "a debt paid without money": (
        f"UPDATE charges SET applied = applied + 1 {ACME} AND status = 'open'",
        {COLLECTED, RECEIVABLE},
    ),
    "own money that was used, forgotten": (
        f"UPDATE charges SET applied = applied - 1 {HOOLI} AND status = 'paid'",
        {COLLECTED},
    ),
    "the card asked for less": (
        f"UPDATE charges SET asked_amount = asked_amount - 1 {HOOLI} AND status = 'paid'",
        {COLLECTED},
    ),
    "a part of what was returned, forgotten": (
        f"UPDATE charges SET returned = returned - 1 {HOOLI} AND status = 'paid'",
        {COLLECTED},
    ),
    "all that was returned, forgotten": (
        f"UPDATE charges SET returned = 0 {HOOLI} AND status = 'paid'",
        {COLLECTED},
    ),
    "another payment": (
        f"UPDATE charges SET payment_intent = 'pi_other' {HOOLI} AND status = 'paid'",
        {COLLECTED},
    ),
    "a debt that left without its line": (
        f"UPDATE charges SET dropped = dropped + 1 {ACME} AND status = 'open'",
        {LINES, RECEIVABLE},
    ),
    "a line that left without its debt": (
        f"UPDATE charge_lines SET removed_at = NULL {HOOLI} AND fix_id = 'h-3'",
        {LINES},
    ),
    "a debt that came back": (
        f"UPDATE charges SET dropped = dropped - 1 {HOOLI} AND dropped > 0",
        {LINES},
    ),
    "a refund out of nothing": (
        f"UPDATE books SET refunded = refunded + 1, cash = cash - 1 {HOOLI}",
        {BALANCES},
    ),
    "money of the customer's that nobody paid in": (
        f"UPDATE books SET unapplied = unapplied - 1, cash = cash + 1 {HOOLI}",
        {BALANCES},
    ),
    "a dispute forgotten": (
        f"UPDATE books SET lost = 0, cash = cash + lost {HOOLI}",
        {BALANCES},
    ),
    "an attempt without an answer for days": (
        "UPDATE attempts SET answer = NULL, answered_at = NULL,"
        f" started_at = now() - interval '4 days' {ACME}",
        {STUCK},
    ),
    "a refund that is not sent for days": (
        "UPDATE refunds SET status = 'requested', started_at = now() - interval '4 days'",
        {STUCK},
    ),
    "a webhook that waits for days": (
        "INSERT INTO stripe_events (event_id, type, livemode, body, received_at, due_at)"
        " VALUES ('evt_1', 'ping', false, '', now() - interval '4 days', now())",
        {STUCK},
    ),
    "a charge removed": (f"DELETE FROM charges {ACME} AND status = 'open'", {RECEIVABLE}),
    "a cycle removed": (f"DELETE FROM cycles {ACME}", {CYCLES}),
    "a cycle skipped": (f"UPDATE cycles SET number = 2, follows = 1 {ACME}", {CYCLES}),
    "a cycle that began earlier": (
        f"UPDATE cycles SET starts_at = starts_at - interval '1 day' {ACME}",
        {CYCLES},
    ),
    "the open cycle called closing": (f"UPDATE cycles SET status = 'closing' {ACME}", {CYCLES}),
    "a statement too early": (
        f"INSERT INTO statements SELECT customer_id, cycle, '{{}}', now() FROM books {ACME}",
        {STATEMENTS},
    ),
}
# The same, once March is over and its statements are written.
TOLD = f"UPDATE statements SET body = jsonb_set(body, %s) {ACME}"
TAMPERINGS_OF_THE_PAST: dict[str, tuple[str, set[str]]] = {
    "a statement removed": (f"DELETE FROM statements {ACME}", {STATEMENTS}),
    "a statement that nobody knows of": (
        f"UPDATE cycles SET stated_at = NULL {ACME} AND number = 1",
        {STATEMENTS},
    ),
    "another amount told": (
        TOLD % "'{movements,0,money,amount}', '1'",
        {STATEMENTS},
    ),
    "fewer transfers told": (TOLD % "'{movements,0,transfers}', '1'", {STATEMENTS}),
    "another balance told": (TOLD % "'{balances,cash}', '1'", {STATEMENTS}),
    "another beginning told": (TOLD % "'{balances_before,cash}', '1'", {STATEMENTS}),
    "a movement left out": (
        f"UPDATE statements SET body = body #- '{{movements,0}}' {ACME}",
        {STATEMENTS},
    ),
    "a transfer moved into another cycle": (
        f"UPDATE transfers SET cycle = 2 {ACME} AND seq = 1",
        {CHAIN, STATEMENTS},
    ),
    "a closed cycle called closing": (
        f"UPDATE cycles SET status = 'closing', stated_at = NULL {ACME} AND number = 1;"
        f" DELETE FROM statements {ACME}",
        {CYCLES},
    ),
    "a cycle that ended earlier": (
        f"UPDATE cycles SET ends_at = ends_at - interval '1 day' {ACME} AND number = 1",
        {CYCLES},
    ),
    "a book in another cycle": (
        f"UPDATE books SET cycle = 3 {ACME}",
        {CYCLES},
    ),
}


def tamper(owner: Engine, statement: str) -> None:
    """With every trigger and foreign key switched off, as only the owner of the server can."""
    with owner.begin() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for part in statement.split(";"):
            assert tx.exec_driver_sql(part).rowcount > 0


def failing(engine: Engine, stripe: StripeGateway | None = None) -> set[str]:
    return {check.name for check in verify(engine, stripe) if not check.ok}


def test_honest_books_pass_every_check(engine: Engine) -> None:
    checks = verify(engine, None)

    assert [check for check in checks if not check.ok] == []
    assert [check.name for check in checks] == [*QUERIES, CHAIN]


@pytest.mark.parametrize(("statement", "found"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_what_is_tampered_with_is_found(
    engine: Engine, owner: Engine, statement: str, found: set[str]
) -> None:
    tamper(owner, statement)

    red = failing(engine)

    assert red == found


@pytest.mark.parametrize(
    ("code", "days", "red"),
    [(None, 2, set()), (None, 4, {STUCK}), ("processing", 4, set()), ("processing", 22, {STUCK})],
)
def test_a_payment_by_bank_may_take_its_time(
    engine: Engine, owner: Engine, code: str | None, days: int, red: set[str]
) -> None:
    code_now = "NULL" if code is None else f"'{code}'"
    tamper(
        owner,
        f"UPDATE attempts SET answer = NULL, answered_at = NULL, code = {code_now},"
        f" started_at = now() - interval '{days} days' {ACME}",
    )

    found = failing(engine)

    assert found == red


@pytest.mark.parametrize(
    ("statement", "found"), TAMPERINGS_OF_THE_PAST.values(), ids=TAMPERINGS_OF_THE_PAST
)
def test_what_is_tampered_with_in_a_closed_cycle_is_found(
    engine: Engine, owner: Engine, statement: str, found: set[str]
) -> None:
    close_march(engine)
    honest = failing(engine)
    unlock_cycles(owner)
    tamper(owner, statement)

    red = failing(engine)

    assert honest == set()
    assert red == found


def unlock_cycles(owner: Engine) -> None:
    """What would refuse some of the changes by itself."""
    with owner.begin() as tx:
        for name in ("closed_once", "stated_when_closed"):
            tx.exec_driver_sql(f"ALTER TABLE cycles DROP CONSTRAINT cycles_{name}")


def test_every_check_is_tampered_with_above() -> None:
    tamperings = TAMPERINGS | TAMPERINGS_OF_THE_PAST
    covered: set[str] = set().union(*(found for _, found in tamperings.values()))

    assert covered == {*QUERIES, CHAIN}


ONE_BYTE: dict[str, str] = {
    "kind": "'uncharge'",
    "from_account": "'cash'",
    "to_account": "'cash'",
    "unit": "'eur'",
    "amount": "amount + 1",
    "source_key": "'x' || substr(source_key, 2)",
    "fix_id": "'x' || substr(fix_id, 2)",
    "grant_id": "'x'",
    "charge_id": "'x' || substr(charge_id, 2)",
    "happened_at": "happened_at + interval '1 microsecond'",
    "recorded_at": "recorded_at - interval '1 microsecond'",
    "hash": "set_byte(hash, 31, get_byte(hash, 31) # 1)",
}


@pytest.mark.parametrize("column", ONE_BYTE)
@pytest.mark.parametrize("fix_id", ["paid-1", "owed-2"])
def test_a_single_changed_byte_in_history_is_found_where_it_is(
    engine: Engine, owner: Engine, fix_id: str, column: str
) -> None:
    (row,) = rows_of(engine, tables.transfers, source_key=fix_id, kind="charge")
    drop_checks(owner)
    tamper(
        owner, f"UPDATE transfers SET {column} = {ONE_BYTE[column]} {ACME} AND seq = {row['seq']}"
    )

    (chain,) = [check for check in verify(engine, None) if check.name == CHAIN]

    assert chain.offenders == [f"acme at {row['seq']}"]


def drop_checks(owner: Engine) -> None:
    """What would refuse some of the changes by itself."""
    with owner.begin() as tx:
        for name in ("movement_known", "unit_fits_account"):
            tx.exec_driver_sql(f"ALTER TABLE transfers DROP CONSTRAINT transfers_{name}")


def test_one_customers_broken_chain_is_told_once_and_hides_nobody_elses(
    engine: Engine, owner: Engine
) -> None:
    tamper(owner, "UPDATE transfers SET recorded_at = recorded_at + interval '1 s' WHERE seq = 2")

    (chain,) = [check for check in verify(engine, None) if check.name == CHAIN]

    assert chain.offenders == ["acme at 2", "globex at 2", "hooli at 2"]


def test_no_more_offenders_are_named_than_a_person_reads(engine: Engine, owner: Engine) -> None:
    tamper(owner, "UPDATE fixes SET repository = fix_id")

    (usage,) = [check for check in verify(engine, None) if check.name == USAGE]

    assert not usage.ok
    assert len(usage.offenders) == SHOWN_MAX


def test_without_stripe_its_check_is_left_out(engine: Engine) -> None:
    names = [check.name for check in verify(engine, None)]

    assert STRIPE not in names
