"""A page of a list reads few rows, however many a customer has, whatever is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from tests.builders import HOUR, MARCH, MINUTE, NOW, add_customer
from tests.stack import Database, Databases, connected
from worker.storage.charges import ChargeKey
from worker.storage.engine import API, WORKER
from worker.usage import fixes as of_fixes
from worker.usage import transactions as of_transactions
from worker.usage.balance import balance_at
from worker.usage.charges import charge_detail, list_charges
from worker.usage.fixes import fix_history, list_fixes
from worker.usage.lists import Window
from worker.usage.quarantine import list_entries
from worker.usage.transactions import list_transactions

MANY = 8_000
SCAN = 200


@pytest.fixture(scope="module")
def large(databases: Databases) -> Iterator[Database]:
    """A customer with many rows, beside another one who has as many."""
    with databases.fresh() as one, connected(one.owner_url, None) as owner:
        add_customer(owner)
        with owner.begin() as tx:
            tx.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in FILL:
                tx.exec_driver_sql(statement)
        with owner.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
        yield one


ROWS = f"generate_series(1, {MANY}) AS n, (VALUES ('acme'), ('globex')) AS of (customer)"
FILL = [
    f"""INSERT INTO fixes (customer_id, fix_id, outcome, repository, commit_sha, deployed_at,
            recorded_at, settled_at, cycle_start, late, plan, plan_version, grant_id, source,
            event_id)
        SELECT customer, 'fix-' || n, 'credited', 'acme/shop', 'abcdef0', at, at, at, at, false,
            'payg', '2026-01-01', 'gift', 'github.com/acme/shop', 'event-' || n
        FROM {ROWS}, LATERAL (SELECT timestamptz '2026-03-01Z' + n * interval '1 s' AS at) AS t""",
    f"""INSERT INTO transfers (customer_id, seq, kind, from_account, to_account, unit, amount,
            source_key, fix_id, grant_id, cycle, happened_at, recorded_at, hash)
        SELECT customer, n, 'consume', 'credits', 'consumed', 'credit', 1, 'fix-' || n,
            'fix-' || n, 'gift', 1 + n / 4000, '2026-03-01Z', '2026-03-01Z', sha256('')
        FROM {ROWS}""",
    "DELETE FROM cycles",
    """INSERT INTO cycles (customer_id, number, follows, starts_at, ends_at, status, first_seq,
            last_seq, closed_at)
        VALUES ('acme', 1, NULL, '2026-03-01Z', '2026-04-01Z', 'closed', 1, 3999, '2026-04-01Z'),
            ('acme', 2, 1, '2026-04-01Z', '2026-05-01Z', 'open', 4000, NULL, NULL)""",
    f"""INSERT INTO charges (customer_id, charge_id, status, amount, currency, opened_at,
            asked_amount, frozen_at, paid_at, payment_intent)
        SELECT customer, 'ch-' || customer || n, 'paid', 2900, 'usd', at, 2900, at, at,
            'pi-' || customer || n
        FROM {ROWS}, LATERAL (SELECT timestamptz '2026-03-01Z' + n * interval '1 s' AS at) AS t""",
    f"""INSERT INTO attempts (customer_id, attempt_id, charge_id, number, why, parameters, answer,
            livemode, started_at, answered_at)
        SELECT customer, 'att-' || customer || n, 'ch-' || customer || n, 1, 'scheduled', '{{}}',
            'succeeded', false, '2026-03-01Z', '2026-03-01Z' FROM {ROWS}""",
    f"""INSERT INTO charge_lines (customer_id, fix_id, charge_id, price, added_at)
        SELECT customer, 'fix-' || n, 'ch-' || customer || n, 2900, '2026-03-01Z' FROM {ROWS}""",
    f"""INSERT INTO events (customer_id, source, event_id, type, fix_id, body_hash, verdict, door,
            happened_at, accepted_at, recorded_at)
        SELECT customer, 'github.com/acme/shop', 'event-' || n, 'deployed', 'fix-' || n, sha256(''),
            'credited', 'redis', '2026-03-01Z', '2026-03-01Z', '2026-03-01Z' FROM {ROWS}""",
    f"""INSERT INTO quarantine (quarantine_id, entry_key, reason, detail, body, door, customer_id,
            accepted_at, recorded_at)
        SELECT 'qua-' || customer || n, customer || n, 'conflict', 'twice', '', 'redis', customer,
            '2026-03-01Z', '2026-03-01Z' FROM {ROWS}""",
]


@dataclass
class Reader:
    """Reads as the API does, and counts what the database had to read for it."""

    engine: Engine

    def rows_read(self, read: Callable[[Connection], object]) -> int:
        statements: list[tuple[str, Any]] = []

        def note(_: Any, __: Any, statement: str, given: Any, *___: Any) -> None:
            statements.append((statement, given))

        with self.engine.connect() as tx, tx.begin():
            tx.execute(text("SELECT set_config('fixbill.customer_id', 'acme', true)"))
            event.listen(tx, "before_cursor_execute", note)
            read(tx)
            event.remove(tx, "before_cursor_execute", note)
            return sum(self.rows_in(tx, *each) for each in statements)

    def rows_in(self, tx: Connection, statement: str, given: Any) -> int:
        explained = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", given)
        (found,) = explained.scalar_one()
        return in_plan(found["Plan"])


def in_plan(plan: Any) -> int:
    """The rows that its scans of tables have looked at."""
    looked_at = 0
    if "Relation Name" in plan:
        each_time = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        looked_at = round(each_time * plan["Actual Loops"])
    return looked_at + sum(in_plan(each) for each in plan.get("Plans", ()))


@pytest.fixture(scope="module")
def reader(large: Database) -> Iterator[Reader]:
    with connected(large.api_url, API) as engine:
        yield Reader(engine)


PART = Window(20, scan=SCAN)
A_WHILE = MARCH.start + HOUR  # in the middle of what was deployed
READS: dict[str, Callable[[Connection], object]] = {
    "fixes": lambda tx: list_fixes(tx, "acme", window=PART),
    "fixes, the last page": lambda tx: list_fixes(
        tx, "acme", window=PART._replace(before=(MARCH.start + MINUTE, "fix"))
    ),
    "fixes of a window": lambda tx: list_fixes(
        tx, "acme", of_fixes.Filters(start=A_WHILE - MINUTE, end=A_WHILE), PART
    ),
    "fixes that are held": lambda tx: list_fixes(
        tx, "acme", of_fixes.Filters(outcome="held"), PART
    ),
    "fixes that were reverted": lambda tx: list_fixes(
        tx, "acme", of_fixes.Filters(outcome="reverted"), PART
    ),
    "fixes of a repository": lambda tx: list_fixes(
        tx, "acme", of_fixes.Filters(repository="acme/none"), PART
    ),
    "a fix": lambda tx: fix_history(tx, "acme", "fix-77", NOW),
    "transactions": lambda tx: list_transactions(tx, "acme", PART),
    "transactions, the last page": lambda tx: list_transactions(
        tx, "acme", PART._replace(before=(10,))
    ),
    "transactions of a kind": lambda tx: list_transactions(
        tx, "acme", PART, of_transactions.Filters(kind="fee")
    ),
    "transactions of a cycle": lambda tx: list_transactions(
        tx, "acme", PART, of_transactions.Filters(cycle=1)
    ),
    "transactions about a fix": lambda tx: list_transactions(
        tx, "acme", PART, of_transactions.Filters(fix_id="fix-77")
    ),
    "transactions about a charge": lambda tx: list_transactions(
        tx, "acme", PART, of_transactions.Filters(charge_id="ch-acme77")
    ),
    "charges": lambda tx: list_charges(tx, "acme", window=PART),
    "charges that are open": lambda tx: list_charges(tx, "acme", status="open", window=PART),
    "charges that are void": lambda tx: list_charges(tx, "acme", status="void", window=PART),
    "a charge": lambda tx: charge_detail(tx, ChargeKey("acme", "ch-acme77")),
    "quarantine": lambda tx: list_entries(tx, "acme", PART),
}


@pytest.mark.parametrize("what", READS)
def test_a_page_reads_few_rows_of_however_many(reader: Reader, what: str) -> None:
    assert reader.rows_read(READS[what]) <= 2 * SCAN


def test_a_balance_takes_a_moment_however_long_the_ledger_is(large: Database) -> None:
    with connected(large.worker_url, WORKER) as engine, engine.begin() as tx:
        tx.execute(text("SET LOCAL statement_timeout = '3s'"))
        found = balance_at(tx, "acme", None, NOW)

    assert found is not None
    assert found.credits == -MANY


def test_of_what_belongs_to_one_row_the_newest_is_shown_and_the_rest_is_counted(
    large: Database,
) -> None:
    with connected(large.owner_url, None) as owner, owner.connect() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        tx.exec_driver_sql("UPDATE charge_lines SET charge_id = 'ch-acme1'")
        tx.exec_driver_sql(
            "UPDATE events SET fix_id = 'fix-1', recorded_at ="
            " recorded_at + substr(event_id, 7)::int * interval '1 s'"
        )
        charge = charge_detail(tx, ChargeKey("acme", "ch-acme1"))
        fix = fix_history(tx, "acme", "fix-1", NOW)
        tx.rollback()

    assert charge is not None
    assert fix is not None
    assert (len(charge.lines), charge.left_out) == (1000, {"lines": MANY - 1000})
    assert (len(fix.events), fix.left_out) == (100, {"events": MANY - 100})
    assert [each.event_id for each in fix.events[-2:]] == ["event-7999", "event-8000"]
