"""Customers with however many fixes, written by SQL: what an answer costs must not depend on it."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Engine, text

from tests.builders import MARCH
from worker.billing.cycles import month_of
from worker.billing.ledger import MOVEMENTS

FEBRUARY = month_of(MARCH.start - timedelta(days=1))
CHARGED_FROM, CHARGED_TO = MOVEMENTS["charge"]

# Every other fix is of March. In both cycles they are of five days and ten repositories, so all
# customers have as many usage rows. March has 20 charges, of which one is open; February has the
# more, the more fixes there are.
CUSTOMER = (
    "INSERT INTO customers (customer_id, livemode, created_at) VALUES (:id, false, :february)",
    "INSERT INTO books (customer_id, plan, plan_version, currency, head, has_payment_method,"
    " accepted_at, due_at, cycle, cycle_start, cycle_end, seq, credits, issued)"
    " VALUES (:id, 'payg', '2026-01-01', 'usd', decode(repeat('00', 32), 'hex'), true,"
    " :march, :april, 2, :march, :april, :fixes, 3, -3)",
    "INSERT INTO cycles (customer_id, number, follows, starts_at, ends_at, status, closed_at,"
    " last_seq) VALUES (:id, 1, NULL, :february, :march, 'closed', :march, 1),"
    " (:id, 2, 1, :march, :april, 'open', NULL, NULL)",
    "INSERT INTO grants (customer_id, grant_id, source, priority, granted, remaining, recorded_at)"
    " VALUES (:id, 'gift', 'operator', 40, 3, 3, :march)",
    "INSERT INTO fixes (customer_id, fix_id, outcome, repository, commit_sha, deployed_at,"
    " recorded_at, settled_at, cycle_start, late, plan, plan_version, price, currency, charge_id,"
    " source, event_id)"
    " SELECT :id, 'fix-' || n, 'charged', 'repository-' || n / 10 % 10, '0123abcd', at, at, at,"
    " start, false, 'payg', '2026-01-01', 2900, 'usd', charge_id, 'here', 'event-' || n"
    " FROM generate_series(1, :fixes) AS n,"
    " LATERAL (SELECT CASE n % 2 WHEN 0 THEN CAST(:march AS timestamptz) ELSE :february END,"
    " CASE n % 2 WHEN 0 THEN 'march-' || n / 2 % 20 ELSE 'february-' || n / 100 END)"
    " AS counted (start, charge_id),"
    " LATERAL (SELECT start + n / 2 % 5 * interval '1 day' + n * interval '1 ms') AS moment (at)",
    "INSERT INTO charges (customer_id, charge_id, status, amount, currency, opened_at, frozen_at,"
    " paid_at, asked_amount, payment_intent)"
    " SELECT :id, charge_id, CASE WHEN open THEN 'open' ELSE 'paid' END, amount, 'usd', at,"
    " CASE WHEN NOT open THEN at END, CASE WHEN NOT open THEN at END,"
    " CASE WHEN open THEN 0 ELSE amount END, CASE WHEN NOT open THEN :id || charge_id END FROM ("
    " SELECT charge_id, charge_id = 'march-0' AS open, sum(price) AS amount, max(settled_at) AS at"
    " FROM fixes WHERE customer_id = :id GROUP BY charge_id) AS grouped",
    "INSERT INTO charge_lines (customer_id, fix_id, charge_id, price, added_at)"
    " SELECT customer_id, fix_id, charge_id, price, settled_at FROM fixes WHERE customer_id = :id",
    "INSERT INTO transfers (customer_id, seq, kind, from_account, to_account, unit, amount,"
    " source_key, fix_id, charge_id, cycle, happened_at, recorded_at, hash)"
    " SELECT customer_id, row_number() OVER (ORDER BY settled_at, fix_id), 'charge',"
    f" '{CHARGED_FROM}', '{CHARGED_TO}', currency, price, fix_id, fix_id, charge_id,"
    " CASE cycle_start WHEN :march THEN 2 ELSE 1 END, deployed_at, settled_at,"
    " sha256(convert_to(fix_id, 'UTF8')) FROM fixes WHERE customer_id = :id",
    "INSERT INTO usage (customer_id, cycle_start, day, repository, charged, amount)"
    " SELECT customer_id, cycle_start, (deployed_at AT TIME ZONE 'UTC')::date, repository,"
    " count(*), sum(price) FROM fixes WHERE customer_id = :id GROUP BY 1, 2, 3, 4",
    "UPDATE books SET receivable = owed, revenue = -total, cash = total - owed FROM ("
    " SELECT sum(amount) AS total, sum(amount) FILTER (WHERE status = 'open') AS owed"
    " FROM charges WHERE customer_id = :id) AS summed WHERE customer_id = :id",
)


def add_large_customer(owner: Engine, customer_id: str, fixes: int) -> None:
    """As settling and collecting would have left it; only the chain of the ledger is none."""
    values = {
        "id": customer_id,
        "fixes": fixes,
        "february": FEBRUARY.start,
        "march": MARCH.start,
        "april": MARCH.end,
    }
    with owner.begin() as tx:
        tx.execute(text("SET LOCAL statement_timeout = 0"))
        # Lines go to charges that are paid already.
        tx.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in CUSTOMER:
            tx.execute(text(statement), values)


def settle_down(owner: Engine) -> None:
    """What autovacuum does by and by."""
    with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
