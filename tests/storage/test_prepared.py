from __future__ import annotations

from datetime import date

from sqlalchemy import Engine, bindparam, func, select, text

from tests.builders import MARCH, add_customer
from worker.storage.prepared import Prepared
from worker.storage.tables import books, customers

PLAN = Prepared(
    select(books.c.plan, books.c.plan_version, books.c.cycle_start, books.c.head).where(
        books.c.customer_id == bindparam("customer_id"), books.c.currency == "usd"
    )
)


def test_a_statement_is_read_with_whatever_values_it_is_given(engine: Engine) -> None:
    for customer_id in ("acme", "globex"):
        add_customer(engine, customer_id)

    with engine.begin() as tx:
        found = [PLAN.rows(tx, customer_id=each) for each in ("acme", "globex", "nobody")]

    row = ("payg", date(2026, 1, 1), MARCH.start, bytes(32))
    assert found == [[row], [row], []]


def test_what_it_reads_is_of_the_transaction_in_which_it_is_read(engine: Engine) -> None:
    counted = Prepared(select(func.count()).select_from(customers))
    with engine.connect() as tx:
        add = "INSERT INTO customers (customer_id, livemode, created_at) VALUES ('a', false, now())"
        tx.execute(text(add))
        within = counted.rows(tx)
        tx.rollback()
        after = counted.rows(tx)

    assert (within, after) == ([(1,)], [(0,)])
