"""(a) A Celery task for each event, with the transaction anyone would write by hand."""

import os
import re
import threading
from hashlib import sha256
from typing import Any

import psycopg
from celery import Celery
from psycopg.rows import dict_row

app = Celery("peer", broker=os.environ["PEER_BROKER"], task_default_queue="peer")
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=int(os.environ["PEER_PREFETCH"]))
mine = threading.local()  # a connection for each process or thread of the pool
WAY = ("outcome", "kind", "from", "to", "unit", "paid", "owed")
PAID = ("credited", "consume", "credits", "consumed", "credit", 1, 0)
OWED = ("charged", "charge", "revenue", "receivable", "usd", 0, 2900)
STEPS = """SELECT * FROM books WHERE customer_id = :customer_id FOR UPDATE;
INSERT INTO events VALUES (:customer_id, :source, :id, :type, :fix_id, :hash, :outcome, 'celery',
    NULL, NULL, :time, now(), now()) ON CONFLICT DO NOTHING;
SELECT FROM fixes WHERE customer_id = :customer_id AND fix_id = :fix_id;
UPDATE grants SET remaining = remaining - 1 WHERE (customer_id, grant_id) = (SELECT customer_id,
    grant_id FROM grants WHERE customer_id = :customer_id AND remaining > 0 ORDER BY priority,
    expires_at LIMIT 1) RETURNING grant_id;
INSERT INTO charges (customer_id, charge_id, status, amount, currency, opened_at) VALUES
    (:customer_id, :fix_id, 'open', :owed, 'usd', now()) ON CONFLICT (customer_id) WHERE status =
    'open' DO UPDATE SET amount = charges.amount + excluded.amount RETURNING charge_id;
INSERT INTO charge_lines VALUES (:customer_id, :fix_id, :charge_id, :owed, now());
INSERT INTO fixes VALUES (:customer_id, :fix_id, :outcome, NULL, :repository, :commit_sha,
    :pull_request, NULL, :time, now(), now(), :cycle_start, false, :plan, :plan_version,
    nullif(:owed, 0), :currency, :grant_id, :charge_id, :source, :id);
INSERT INTO transfers VALUES (:customer_id, :seq + 1, :kind, :from, :to, :unit, :paid + :owed,
    :fix_id, :fix_id, :grant_id, :charge_id, :cycle, :time, now(), :hash);
UPDATE books SET seq = seq + 1, head = :hash, credits = credits - :paid, consumed = consumed +
    :paid, revenue = revenue - :owed, receivable = receivable + :owed, spent = spent + :owed
    WHERE customer_id = :customer_id;
INSERT INTO usage AS u VALUES (:customer_id, :cycle_start, :time, :repository, :paid, 1 - :paid,
    0, 0, :owed) ON CONFLICT (customer_id, cycle_start, day, repository) DO UPDATE SET credited =
    u.credited + :paid, charged = u.charged + 1 - :paid, amount = u.amount + :owed"""
BOOK, EVENT, KNOWN, TAKE, CHARGE, LINE, *ALWAYS = re.sub(r":(\w+)", r"%(\1)s", STEPS).split(";\n")


@app.task(name="peer.settle")  # type: ignore[untyped-decorator]
def settle(event: dict[str, Any]) -> None:
    if not hasattr(mine, "connection"):
        mine.connection = psycopg.connect(os.environ["PEER_DATABASE"], row_factory=dict_row)
    with mine.connection.transaction():
        settle_one(mine.connection.execute, {"pull_request": None, **event, **event["data"]})


def settle_one(ask: Any, row: dict[str, Any]) -> None:
    row |= ask(BOOK, row).fetchone()
    row |= zip(WAY, PAID if row["credits"] else OWED, strict=True)
    row["hash"] = sha256(row["head"] + repr(row).encode()).digest()
    if ask(EVENT, row).rowcount and not ask(KNOWN, row).rowcount:
        row |= dict.fromkeys(("grant_id", "charge_id"))
        row |= ask(TAKE if row["paid"] else CHARGE, row).fetchone()
        for statement in (LINE, *ALWAYS) if row["owed"] else ALWAYS:
            ask(statement, row)
