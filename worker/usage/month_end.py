"""A calendar month of all customers for the accountant: a row each, and a total per currency.

By the time transfers were recorded, not when they happened: what is recorded later can never
change a month that was handed over, and every transfer is in exactly one month.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TextIO

from sqlalchemy import Connection, Engine, text

from worker.billing.cycles import month_of
from worker.billing.ledger import MOVEMENTS
from worker.usage.spreadsheet import decimal, harmless

TOTAL = "TOTAL"  # in place of a customer
PAGE = 5000  # rows the database sends at a time


class Month(NamedTuple):
    """From `start` up to, and not including, `end`; UTC."""

    start: datetime
    end: datetime

    @classmethod
    def parse(cls, month: str) -> Month:
        """Such as 2026-10; raises ValueError."""
        return cls(*month_of(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)))


class Flow(NamedTuple):
    """What one kind of transfer moved of a customer: before the month, and in it."""

    customer_id: str
    name: str | None
    currency: str
    kind: str
    before: int
    within: int


# Column → the movements that add to it and those that take from it.
MONEY_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fixes": (("charge",), ()),
    "reverted": ((), ("uncharge",)),
    "subscriptions": (("invoice",), ()),
    "top_ups": (("top_up",), ()),
    "paid": ((), ("pay",)),
    "paid_from_balance": (("unapply",), ("apply",)),
    "written_off": ((), ("write_off",)),
    "payments": (("pay", "unapplied_in"), ()),
    "fees": (("fee_returned",), ("fee",)),
    "refunds": (
        ("refund_failed", "refund_unapplied_failed"),
        ("refund", "refund_unapplied"),
    ),
    "disputes": (("dispute_won",), ("dispute_opened",)),
    "disputes_lost": (("dispute_lost",), ()),
    "balance_received": (("unapplied_in",), ()),
    "balance_returned": (("refund_unapplied_failed",), ("refund_unapplied",)),
}
CREDIT_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "credits_granted": (("grant", "reissue"), ("claw_back",)),
    "credits_used": (("consume",), ("give_back",)),
    "credits_expired": (("expire",), ()),
}
# Account → its sign in the export: what is owed to us and what we have are above 0.
BALANCES = {"receivable": 1, "unapplied": -1, "cash": 1}
COLUMNS = (
    "month",
    "customer_id",
    "name",
    "currency",
    *(f"{account}_before" for account in BALANCES),
    *MONEY_COLUMNS,
    *(f"{account}_after" for account in BALANCES),
    *CREDIT_COLUMNS,
)

FLOWS = """
    SELECT t.customer_id, c.name, b.currency, t.kind,
        coalesce(sum(t.amount) FILTER (WHERE t.recorded_at < :start), 0)::bigint AS before,
        coalesce(sum(t.amount) FILTER (WHERE t.recorded_at >= :start), 0)::bigint AS within
    FROM transfers AS t JOIN books AS b USING (customer_id) JOIN customers AS c USING (customer_id)
    WHERE t.recorded_at < :end
    GROUP BY t.customer_id, c.name, b.currency, t.kind ORDER BY t.customer_id
"""


def export(month: Month, engine: Engine, out: TextIO) -> None:
    """A customer's row is written as soon as it is read: however many there are, memory is flat."""
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    totals: dict[str, Counter[str]] = {}
    with engine.connect() as tx, tx.begin():
        for customer, amounts in rows(tx, month):
            totals.setdefault(customer.currency, Counter()).update(amounts)
            writer.writerow(
                line(month, customer.customer_id, customer.name, customer.currency, amounts)
            )
    for currency, amounts in sorted(totals.items()):
        writer.writerow(line(month, TOTAL, None, currency, amounts))


def rows(tx: Connection, month: Month) -> Iterator[tuple[Flow, dict[str, int]]]:
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        tx.execute(text(f"SET LOCAL {limit} = 0"))  # whoever reads us may be slow
    found = tx.execution_options(yield_per=PAGE).execute(text(FLOWS), month._asdict())
    flows = (Flow(*row) for row in found)
    for _, of_customer in groupby(flows, key=attrgetter("customer_id")):
        kinds = list(of_customer)
        yield kinds[0], amounts_of(kinds)


def amounts_of(kinds: Iterable[Flow]) -> dict[str, int]:
    """The figures of one customer."""
    before, within = Counter[str](), Counter[str]()
    for each in kinds:
        before[each.kind], within[each.kind] = each.before, each.within
    opening, change = balances_of(before), balances_of(within)
    amounts = {f"{account}_before": sign * opening[account] for account, sign in BALANCES.items()}
    for column, (plus, minus) in (MONEY_COLUMNS | CREDIT_COLUMNS).items():
        amounts[column] = sum(within[kind] for kind in plus) - sum(within[kind] for kind in minus)
    for account, sign in BALANCES.items():
        amounts[f"{account}_after"] = sign * (opening[account] + change[account])
    return amounts


def balances_of(moved: Counter[str]) -> Counter[str]:
    """What these transfers leave in each account."""
    balances = Counter[str]()
    for kind, amount in moved.items():
        source, target = MOVEMENTS[kind]
        balances[source] -= amount
        balances[target] += amount
    return balances


def line(
    month: Month, customer_id: str, name: str | None, currency: str, amounts: dict[str, int]
) -> list[Any]:
    figures = [
        amounts[column] if column in CREDIT_COLUMNS else decimal(amounts[column], currency)
        for column in COLUMNS[4:]
    ]
    return [f"{month.start:%Y-%m}", harmless(customer_id), harmless(name or ""), currency, *figures]
