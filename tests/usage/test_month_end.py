"""A month for the accountant: each row adds up, and all of them to what the books hold."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    NOW,
    add_customer,
    deployed,
    give_credits,
    reverted,
    rows_of,
    settle_events,
)
from tests.stating import APRIL, pass_time
from worker.billing.ledger import MONEY_ACCOUNTS, MOVEMENTS
from worker.storage import tables
from worker.usage.month_end import (
    BALANCES,
    COLUMNS,
    CREDIT_COLUMNS,
    MONEY_COLUMNS,
    TOTAL,
    Flow,
    Month,
    amounts_of,
    export,
)
from worker.usage.spreadsheet import decimal, harmless

Row = dict[str, str]

# What the columns between the two balances of an account come to.
SUMS = {
    "receivable": (
        "fixes",
        "reverted",
        "subscriptions",
        "top_ups",
        "paid",
        "paid_from_balance",
        "written_off",
    ),
    "unapplied": ("balance_received", "paid_from_balance", "balance_returned"),
    "cash": ("payments", "fees", "refunds", "disputes"),
}


def exported(engine: Engine, month: Month) -> list[Row]:
    out = StringIO()
    export(month, engine, out)
    return list(csv.DictReader(StringIO(out.getvalue())))


def month(name: str) -> Month:
    return Month.parse(name)


def of_customers(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row["customer_id"] != TOTAL]


def amount(row: Row, column: str) -> Decimal:
    return Decimal(row[column])


def assert_adds_up(row: Row) -> None:
    for account, columns in SUMS.items():
        moved = sum(amount(row, column) for column in columns)
        assert amount(row, f"{account}_before") + moved == amount(row, f"{account}_after")


@pytest.mark.parametrize("kind", [k for k, way in MOVEMENTS.items() if way[0] in MONEY_ACCOUNTS])
def test_every_movement_of_money_stands_in_a_column_of_its_sum(kind: str) -> None:
    flows = [Flow("acme", None, "usd", kind, 100, 7)]

    amounts = amounts_of(flows)

    for account, columns in SUMS.items():
        moved = sum(amounts[column] for column in columns)
        assert amounts[f"{account}_before"] + moved == amounts[f"{account}_after"]
        assert (moved != 0) == (account in MOVEMENTS[kind])


def test_every_row_adds_up_and_so_do_the_totals(engine: Engine) -> None:
    rows = exported(engine, month("2026-03"))

    for row in rows:
        assert_adds_up(row)
    customers, total = rows[:-1], rows[-1]
    assert [row["customer_id"] for row in customers] == ["acme", "globex", "hooli"]
    assert (total["customer_id"], total["currency"]) == (TOTAL, "usd")
    for column in COLUMNS[4:]:
        assert amount(total, column) == sum(amount(row, column) for row in customers)


def test_the_balances_after_the_newest_month_are_those_of_the_books(engine: Engine) -> None:
    total = exported(engine, month("2026-03"))[-1]

    books = rows_of(engine, tables.books)
    for account, sign in BALANCES.items():
        held = sum(sign * row[account] for row in books)
        assert amount(total, f"{account}_after") == Decimal(held) / 100


def test_a_month_of_one_whose_money_went_every_way(engine: Engine) -> None:
    (row,) = [row for row in exported(engine, month("2026-03")) if row["customer_id"] == "hooli"]

    nothing = {f"{account}_before" for account in BALANCES} | {"subscriptions", "top_ups"}
    money = {name: row[name] for name in COLUMNS[4:] if name not in {*nothing, *CREDIT_COLUMNS}}
    assert {row[name] for name in nothing} == {"0.00"}
    assert money == {
        "fixes": "87.00",
        "reverted": "-29.00",
        "paid": "-48.00",
        "paid_from_balance": "-10.00",
        "written_off": "0.00",
        "payments": "87.00",
        "fees": "0.00",
        "refunds": "-30.00",
        "disputes": "-40.00",
        "disputes_lost": "40.00",
        "balance_received": "39.00",
        "balance_returned": "-29.00",
        "receivable_after": "0.00",
        "unapplied_after": "0.00",
        "cash_after": "17.00",
    }


def test_a_month_begins_with_what_the_last_one_left(engine: Engine) -> None:
    settle_events(engine, deployed("in-april"), now=APRIL.start + HOUR)
    settle_events(engine, reverted("owed-1"), now=APRIL.start + 2 * HOUR)

    march, april = (of_customers(exported(engine, month(f"2026-0{n}"))) for n in (3, 4))

    for before, after in zip(march, april, strict=True):
        assert_adds_up(after)
        for account in BALANCES:
            assert after[f"{account}_before"] == before[f"{account}_after"]
    assert (april[0]["fixes"], april[0]["reverted"]) == ("0.00", "-29.00")


def test_what_is_recorded_later_changes_no_month_that_was_handed_over(engine: Engine) -> None:
    before = exported(engine, month("2026-03"))
    late = deployed("late", at=MARCH.end - DAY)
    settle_events(engine, late, now=APRIL.start + 2 * DAY)

    after, april = exported(engine, month("2026-03")), exported(engine, month("2026-04"))

    assert after == before
    assert Counter(row["credits_used"] for row in april) != Counter(["0"] * len(april))


@pytest.mark.parametrize(
    ("at", "counts"),
    [
        (MARCH.end - timedelta(microseconds=1), "2026-03"),
        (MARCH.end, "2026-04"),
    ],
)
def test_a_transfer_is_in_exactly_one_month(engine: Engine, at: datetime, counts: str) -> None:
    add_customer(engine, "initech")
    give_credits(engine, "initech", 5, now=at)

    granted = {
        name: row["credits_granted"]
        for name in ("2026-02", "2026-03", "2026-04")
        for row in exported(engine, month(name))
        if row["customer_id"] == "initech"
    }

    assert {name: given for name, given in granted.items() if given != "0"} == {counts: "5"}


def test_credits_that_expire_are_told_as_credits(engine: Engine) -> None:
    add_customer(engine, "initech")
    give_credits(engine, "initech", 5, expires_at=NOW + DAY, now=NOW)
    pass_time(engine, NOW + 2 * DAY, ["initech"])

    (row,) = [row for row in exported(engine, month("2026-03")) if row["customer_id"] == "initech"]

    moved = {name: row[name] for name in CREDIT_COLUMNS}
    assert moved == {"credits_granted": "5", "credits_used": "0", "credits_expired": "5"}


def test_each_currency_has_a_total_of_its_own(engine: Engine) -> None:
    """Yen have no minor unit, and dinars three decimals."""
    for currency in ("jpy", "bhd"):
        add_customer(engine, currency, currency=currency)
        settle_events(engine, deployed(f"fix-{currency}", currency))
    with engine.begin() as tx:
        customers = tables.customers
        named = update(customers).where(customers.c.customer_id == "jpy")
        tx.execute(named.values(name="=HYPERLINK(1)"))

    totals = exported(engine, month("2026-03"))
    found = {row["currency"]: row["fixes"] for row in totals if row["customer_id"] == TOTAL}
    names = {row["customer_id"]: row["name"] for row in totals}

    assert (found["jpy"], found["bhd"]) == ("2900", "2.900")
    assert names["jpy"] == "'=HYPERLINK(1)"
    assert [*found] == sorted(found)


def test_before_the_first_customer_there_is_nothing_but_the_columns(engine: Engine) -> None:
    out = StringIO()

    export(month("2020-01"), engine, out)

    assert out.getvalue() == ",".join(COLUMNS) + "\r\n"


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_name_that_looks_like_a_formula_is_only_shown(name: str) -> None:
    assert harmless(name) == f"'{name}"
    assert harmless(f"Acme {name}") == f"Acme {name}"


@pytest.mark.parametrize(
    ("minor", "currency", "shown"),
    [
        (0, "usd", "0.00"),
        (5, "usd", "0.05"),
        (-5, "usd", "-0.05"),
        (123456789, "usd", "1234567.89"),
        (-2900, "jpy", "-2900"),
        (1, "kwd", "0.001"),
    ],
)
def test_amounts_are_decimals_that_a_program_can_read(
    minor: int, currency: str, shown: str
) -> None:
    assert decimal(minor, currency) == shown


def test_a_month_is_named_by_year_and_month() -> None:
    december = month("2026-12")

    assert december == Month(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("name", ["", "2026", "2026-13", "2026-1x", "October", "2026-10-01"])
def test_anything_else_is_no_month(name: str) -> None:
    with pytest.raises(ValueError, match=r"match|unconverted"):
        month(name)


def test_every_column_of_money_is_in_a_sum_but_for_what_a_bank_decided() -> None:
    summed = {column for columns in SUMS.values() for column in columns}

    assert {*MONEY_COLUMNS} - summed == {"disputes_lost"}
    assert summed <= {*MONEY_COLUMNS}


def test_every_column_is_documented() -> None:
    page = Path(__file__).parents[2] / "docs" / "statements.md"
    section = page.read_text().split("\n## The month's export\n")[1]

    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [*COLUMNS]
