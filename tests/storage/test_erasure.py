"""Every column that can hold text is classified, and what is called erased is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ARRAY, Column, DateTime, Engine, Integer, LargeBinary, Text, insert, text
from sqlalchemy.dialects.postgresql import JSONB

from tests.builders import DAY, NOW, add_customer, deployed, rows_of, settle_events
from worker.billing.ledger import Transfer
from worker.storage import tables
from worker.storage.customers import find_customer
from worker.storage.erasure import ERASED, erase, under_way

PAGE = Path(__file__).parents[2] / "docs/erasure.md"
FATES = ("erased", "kept", "no personal data")
CANARY = "ada@lovelace.example"
COLUMNS = {
    f"{table.name}.{column.name}": column
    for table in tables.metadata.tables.values()
    for column in table.c
}


def can_hold_text(column: Column[Any]) -> bool:
    return isinstance(column.type, (Text, LargeBinary, ARRAY, JSONB))


def listed() -> Iterator[tuple[str, str]]:
    """A pattern of the table, and the fate of what it fits."""
    section = PAGE.read_text().split("\n## Every column\n")[1]
    for line in [line for line in section.splitlines() if line.startswith("|")][2:]:
        columns, fate, why = (cell.strip() for cell in line.strip("| ").split(" | "))
        assert why
        yield from ((pattern, fate) for pattern in re.findall(r"`([^`]+)`", columns))


LISTED = dict(listed())


def fates_of(name: str) -> set[str]:
    """By the patterns that name it whole, or else by the name of the column alone."""
    return (
        {LISTED[name]}
        if name in LISTED
        else {fate for pattern, fate in LISTED.items() if fnmatch(name, pattern)}
    )


ERASED_COLUMNS = [name for name, fate in LISTED.items() if fate == "erased"]


def test_every_column_that_can_hold_text_has_one_fate() -> None:
    fates = {name: fates_of(name) for name, column in COLUMNS.items() if can_hold_text(column)}

    assert {name: found for name, found in fates.items() if len(found) != 1} == {}
    assert set().union(*fates.values()) == {*FATES}


@pytest.mark.parametrize("pattern", LISTED)
def test_every_pattern_fits_a_column_that_can_hold_text(pattern: str) -> None:
    fitting = [column for name, column in COLUMNS.items() if fnmatch(name, pattern)]

    assert any(map(can_hold_text, fitting))


def test_nothing_personal_is_in_the_chain() -> None:
    columns = [tables.transfers.c[name] for name in Transfer._fields]

    assert [column.name for column in tables.transfers.c] == [*Transfer._fields]
    for column in columns:
        if can_hold_text(column):
            assert fates_of(f"transfers.{column.name}") == {"no personal data"}
        else:
            assert isinstance(column.type, (Integer, DateTime))


def fill(engine: Engine, customer_id: str) -> None:
    """A row in every table that something is erased from, with a canary in all that is."""
    add_customer(engine, customer_id)
    settle_events(engine, deployed(customer_id=customer_id, fix_id=f"{customer_id}-fix"))
    (charge,) = rows_of(engine, tables.charges, customer_id=customer_id)
    shared = {"customer_id": customer_id, "currency": "usd", "amount": 2900}
    rows: dict[str, dict[str, Any]] = {
        "contests": {
            "contest_id": "con",
            "fix_id": f"{customer_id}-fix",
            "opened_at": NOW,
            "decided_at": NOW,
            "decision": "rejected",
        },
        "quarantine": {
            "quarantine_id": f"qua_{customer_id}",
            "entry_key": customer_id,
            "reason": "invalid",
            "door": "redis",
            "accepted_at": NOW,
            "recorded_at": NOW,
        },
        "stripe_events": {
            "event_id": f"evt_{customer_id}",
            "type": "customer.updated",
            "livemode": False,
            "received_at": NOW,
        },
        "attempts": {
            "attempt_id": f"att_{customer_id}",
            "charge_id": charge["charge_id"],
            "number": 1,
            "why": "scheduled",
            "parameters": {},
            "answer": "declined",
            "livemode": False,
            "started_at": NOW,
            "answered_at": NOW,
        },
        "refunds": shared
        | {
            "refund_id": "ref",
            "payment_intent": f"pi_{customer_id}",
            "status": "succeeded",
            "stripe_refund": f"re_{customer_id}",
            "requested_at": NOW,
            "started_at": NOW,
        },
        "top_ups": shared
        | {"top_up_id": "more", "credits": 1, "status": "declined", "requested_at": NOW},
        "subscription_orders": {
            "order_id": "ord",
            "wish": "begin",
            "status": "refused",
            "requested_at": NOW,
        },
        "drifts": {
            "kind": "missed_event",
            "subject": customer_id,
            "found_at": NOW,
            "resolved_at": NOW,
        },
    }
    with engine.begin() as tx:
        for name, row in rows.items():
            table = tables.metadata.tables[name]
            owner = {"customer_id": customer_id} if "customer_id" in table.c else {}
            tx.execute(insert(table).values(row | owner | canaries(name, customer_id)))
        tx.execute(
            text("UPDATE customers SET name = :name, email = :name WHERE customer_id = :id"),
            {"name": CANARY, "id": customer_id},
        )


def canaries(table: str, customer_id: str) -> dict[str, Any]:
    """A value with the canary in it for all that is erased from this table."""
    about = f'{{"customer": "cus_{customer_id}", "email": "{CANARY}"}}'
    columns = [COLUMNS[name] for name in ERASED_COLUMNS if name.startswith(f"{table}.")]
    kinds: dict[type, Any] = {LargeBinary: about.encode(), JSONB: {"email": CANARY}}
    return {column.name: kinds.get(type(column.type), CANARY) for column in columns}


def everything(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    return {name: rows_of(engine, table) for name, table in tables.metadata.tables.items()}


def holders(rows: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    """Columns in which the canary sings, and whose row it is."""
    return {
        (f"{table}.{name}", next(who for who in ("acme", "globex") if who in str(row)))
        for table, found in rows.items()
        for row in found
        for name, value in row.items()
        if CANARY in (value.decode() if name == "body" else str(value))
    }


def erase_acme(engine: Engine, now: datetime = NOW) -> datetime:
    with engine.begin() as tx:
        customer = find_customer(tx, "acme")
        assert customer is not None
        return erase(tx, customer, now)


def test_all_that_is_called_erased_is_and_nobody_elses(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        fill(engine, customer_id)
    before = holders(everything(engine))

    erase_acme(engine)

    named = {
        name
        for name in ERASED_COLUMNS
        if name not in ("customers.payment_method", "quarantine.signature")
    }
    assert {name for name, who in before if who == "acme"} >= named
    assert holders(everything(engine)) == {(name, who) for name, who in before if who == "globex"}


def test_nothing_but_that_is_touched(engine: Engine) -> None:
    fill(engine, "acme")
    before = everything(engine)

    erase_acme(engine)

    changed = {
        f"{table}.{name}"
        for table, rows in everything(engine).items()
        for row, old in zip(rows, before[table], strict=True)
        for name in row
        if row[name] != old[name]
    }
    assert changed == {*ERASED_COLUMNS, "customers.erased_at", "quarantine.replayed_at"}


def test_erasing_again_keeps_the_first_time_and_removes_what_has_come_since(
    engine: Engine,
) -> None:
    fill(engine, "acme")
    first = erase_acme(engine)
    with engine.begin() as tx:
        tx.execute(text("UPDATE contests SET reason = :canary"), {"canary": CANARY})

    again = erase_acme(engine, NOW + DAY)

    assert (first, again) == (NOW, NOW)
    (contest,) = rows_of(engine, tables.contests)
    assert contest["reason"] == ERASED


def test_a_webhook_that_is_not_done_with_keeps_its_bytes(engine: Engine) -> None:
    fill(engine, "acme")
    with engine.begin() as tx:
        tx.execute(text("UPDATE stripe_events SET due_at = now()"))

    erase_acme(engine)

    assert holders(everything(engine)) == {("stripe_events.body", "acme")}


UNFINISHED = {
    "charge": "UPDATE charges SET status = 'frozen', frozen_at = now(), asked_amount = amount",
    "refund": "UPDATE refunds SET status = 'pending'",
    "top-up": "UPDATE top_ups SET status = 'requested', due_at = now()",
    "order": "UPDATE subscription_orders SET status = 'requested', due_at = now(), message = NULL",
    "contest": "UPDATE contests SET decided_at = NULL, decision = NULL",
    "difference": "UPDATE drifts SET resolved_at = NULL",
    "dispute": "INSERT INTO disputes VALUES ('acme', 'du_1', NULL, 'pi_1', 1, 'usd',"
    " 'needs_response', 'withdrawn', NULL, now(), now())",
    "event": "INSERT INTO waiting_fixes (customer_id, source, event_id, entry_key, body, door,"
    " body_hash, happened_at, accepted_at)"
    " VALUES ('acme', 's', 'e', 'k', '', 'redis', '', now(), now())",
    "entry": "INSERT INTO parked_entries (entry_key, customer_id, body, door, accepted_at)"
    " VALUES ('k', 'acme', '', 'http', now())",
}


def test_what_is_not_done_with_is_named(engine: Engine, owner: Engine) -> None:
    fill(engine, "acme")
    found: dict[str, str | None] = {}
    with owner.connect() as tx:
        tx.exec_driver_sql("SET session_replication_role = replica")
        tx.commit()
        nothing = under_way(tx, "acme")
        for name, statement in UNFINISHED.items():
            tx.exec_driver_sql(statement)
            found[name] = under_way(tx, "acme")
            tx.rollback()

    assert nothing is None
    assert [name for name, told in found.items() if not (told or "").startswith(name)] == []
