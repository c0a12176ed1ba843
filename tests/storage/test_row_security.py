"""A customer sees only their own rows, and the API role writes hardly anything."""

from __future__ import annotations

import pytest
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from tests.builders import NOW, deployed, entry
from tests.storage.conftest import Ledger
from worker.billing.hints import Webhook
from worker.storage import tables
from worker.storage.engine import OPS
from worker.storage.parked import park
from worker.storage.stripe_events import store_event

PER_CUSTOMER = (
    "customers",
    "books",
    "cycles",
    "statements",
    "grants",
    "fixes",
    "events",
    "transfers",
    "charges",
    "charge_lines",
    "attempts",
    "refunds",
    "disputes",
    "subscriptions",
    "invoices",
    "usage",
    "waiting_fixes",
    "parked_entries",
    "quarantine",
    "contests",
)
HIDDEN = (
    "claims",
    "entry_tries",
    "collecting",
    "drifts",
    "fees_read",
    "clock",
    "subscription_orders",
    "top_ups",
    "producer_keys",
)
WRITTEN = ("parked_entries", "contests")
UNWRITTEN = (*(each for each in PER_CUSTOMER if each not in WRITTEN), *HIDDEN)
WRITES = ("INSERT INTO {} DEFAULT VALUES", "UPDATE {} SET customer_id = NULL", "DELETE FROM {}")


def customers_in(engine: Engine, table: str, named: str | None) -> set[str]:
    """Whose rows are seen, by one who has named this customer."""
    with engine.begin() as tx:
        if named is not None:
            tx.execute(text("SELECT set_config('fixbill.customer_id', :id, true)"), {"id": named})
        return set(tx.scalars(text(f"SELECT DISTINCT customer_id FROM {table}")))


@pytest.mark.parametrize("table", PER_CUSTOMER)
def test_without_a_named_customer_nothing_is_seen(ledger: Ledger, table: str) -> None:
    api = ledger.api

    seen = customers_in(api, table, None)

    assert seen == set()


@pytest.mark.parametrize("named", ["", "nobody", "acme' OR true --", "%"])
def test_a_name_that_is_no_customer_sees_nothing(ledger: Ledger, named: str) -> None:
    api = ledger.api

    seen = [customers_in(api, table, named) for table in PER_CUSTOMER]

    assert seen == [set()] * len(PER_CUSTOMER)


@pytest.mark.parametrize("table", [each for each in PER_CUSTOMER if each != "waiting_fixes"])
@pytest.mark.parametrize("named", ["acme", "globex"])
def test_a_named_customer_sees_their_own_rows_and_no_others(
    ledger: Ledger, table: str, named: str
) -> None:
    others = customers_in(ledger.worker, table, None)

    seen = customers_in(ledger.api, table, named)

    assert {"acme", "globex"} <= others
    assert seen == {named}


def test_a_customer_sees_what_waits_for_them(ledger: Ledger) -> None:
    everyone = customers_in(ledger.worker, "waiting_fixes", None)

    seen = {
        named: customers_in(ledger.api, "waiting_fixes", named) for named in ("stranger", "acme")
    }

    assert everyone == {"stranger"}
    assert seen == {"stranger": {"stranger"}, "acme": set()}


def test_a_customer_contests_nothing_in_the_name_of_another(ledger: Ledger) -> None:
    with ledger.api.begin() as tx:
        tx.execute(text("SELECT set_config('fixbill.customer_id', 'acme', true)"))
        copied = (
            "INSERT INTO contests (customer_id, contest_id, fix_id, reason, opened_at) "
            "SELECT 'globex', 'con_2', 'held', reason, opened_at FROM contests"
        )
        with pytest.raises(ProgrammingError) as refused:
            tx.execute(text(copied))

    assert isinstance(refused.value.orig, InsufficientPrivilege)


def test_only_who_says_so_sees_over_all_customers_and_changes_nothing(ledger: Ledger) -> None:
    with ledger.api.begin() as tx:
        tx.execute(text(f"SET LOCAL ROLE {OPS}"))
        seen = set(tx.scalars(text("SELECT customer_id FROM books")))
        with pytest.raises(ProgrammingError) as refused:
            tx.execute(text("UPDATE books SET spending_cap = 0"))

    assert {"acme", "globex"} <= seen
    assert isinstance(refused.value.orig, InsufficientPrivilege)


def test_a_name_ends_with_its_transaction(ledger: Ledger) -> None:
    with ledger.api.connect() as connection:
        with connection.begin():
            connection.execute(text("SELECT set_config('fixbill.customer_id', 'acme', true)"))

        with connection.begin():
            seen = connection.scalars(text("SELECT customer_id FROM books")).all()

    assert seen == []


@pytest.mark.parametrize("table", HIDDEN)
def test_other_tables_are_not_read_at_all(ledger: Ledger, table: str) -> None:
    with pytest.raises(ProgrammingError) as refused, ledger.api.begin() as tx:
        tx.execute(text(f"SELECT 1 FROM {table}"))

    assert isinstance(refused.value.orig, InsufficientPrivilege)


@pytest.mark.parametrize("column", ["object_id", "type", "body"])
def test_a_stored_webhook_is_not_read_again(ledger: Ledger, column: str) -> None:
    with pytest.raises(ProgrammingError) as refused, ledger.api.begin() as tx:
        tx.execute(text(f"SELECT {column} FROM stripe_events"))

    assert isinstance(refused.value.orig, InsufficientPrivilege)


@pytest.mark.parametrize("table", UNWRITTEN)
@pytest.mark.parametrize("write", WRITES, ids=["insert", "update", "delete"])
def test_the_api_role_cannot_write(ledger: Ledger, table: str, write: str) -> None:
    column = next(iter(tables.metadata.tables[table].columns)).name
    statement = write.format(table).replace("customer_id", column)

    with pytest.raises(ProgrammingError) as refused, ledger.api.begin() as tx:
        tx.exec_driver_sql(statement)

    assert isinstance(refused.value.orig, InsufficientPrivilege)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE api_keys SET scopes = '{admin}'",
        "UPDATE api_keys SET revoked_at = NULL",
        "DELETE FROM api_keys",
        "DELETE FROM parked_entries",
        "DELETE FROM stripe_events",
        "UPDATE parked_entries SET customer_id = 'acme'",
        "UPDATE stripe_events SET due_at = NULL",
        "ALTER TABLE books DISABLE ROW LEVEL SECURITY",
        "SET ROLE fixbill_worker",
    ],
)
def test_the_api_role_cannot_give_itself_more(ledger: Ledger, statement: str) -> None:
    with pytest.raises(ProgrammingError) as refused, ledger.api.begin() as tx:
        tx.exec_driver_sql(statement)

    assert isinstance(refused.value.orig, InsufficientPrivilege)


def test_the_api_role_stores_a_webhook_once(api_engine: Engine, engine: Engine) -> None:
    event = Webhook("evt_1", "ping", False, None, b"as signed")

    for _ in range(2):
        with api_engine.begin() as tx:
            store_event(tx, event, NOW)

    with engine.begin() as tx:
        assert tx.scalars(text("SELECT event_id FROM stripe_events")).all() == ["evt_1"]


def test_the_api_role_parks_an_event(api_engine: Engine, engine: Engine) -> None:
    with api_engine.begin() as tx:
        park(tx, "acme", entry(deployed(), key="parked/1"))

    with engine.begin() as tx:
        assert tx.scalars(text("SELECT entry_key FROM parked_entries")).all() == ["parked/1"]


def test_every_table_is_either_per_customer_or_known_not_to_be() -> None:
    others = {*HIDDEN, "stripe_events", "api_keys"}

    found = set(tables.metadata.tables)

    assert found == {*PER_CUSTOMER, *others}
