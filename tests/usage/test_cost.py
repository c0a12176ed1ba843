"""What an answer costs depends on what is in it, never on how many fixes there have been."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from schemas.usage_report import GROUPS, GroupBy, UsageWindow
from tests.builders import MARCH, NOW
from tests.large_customer import FEBRUARY, add_large_customer, settle_down
from tests.stack import Databases, connected
from worker.storage.engine import API
from worker.usage.current import current_usage
from worker.usage.report import Asked, usage_report

FEW, MANY = 100, 20_000
WINDOW = UsageWindow(start=FEBRUARY.start.date(), end=MARCH.start.date() + timedelta(days=3))

Question = Callable[[Connection, str], object]


def current(tx: Connection, customer_id: str) -> object:
    return current_usage(tx, customer_id, NOW, None)


def report(period: UsageWindow | int, group_by: GroupBy) -> Question:
    asked = Asked(period, group_by)
    return lambda tx, customer_id: usage_report(tx, customer_id, asked, NOW)


QUESTIONS: dict[str, Question] = {"current usage": current} | {
    f"{name} by {group_by}": report(period, group_by)
    for name, period in (("a cycle", 1), ("a window", WINDOW))
    for group_by in GROUPS
}


@pytest.fixture(scope="module")
def customers(databases: Databases) -> Iterator[Engine]:
    """As the API sees them: one with few fixes, one with many."""
    with databases.fresh() as one, connected(one.owner_url, None) as owner:
        add_large_customer(owner, "few", FEW)
        add_large_customer(owner, "many", MANY)
        settle_down(owner)
        with connected(one.api_url, API) as engine:
            yield engine


BLOCKS = text(
    "SELECT sum(pg_stat_get_xact_blocks_fetched(oid))::bigint FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace"
)


def blocks_read(engine: Engine, question: Question, customer_id: str) -> int:
    """Of our tables and their indexes, from wherever they came."""
    with engine.begin() as tx:
        tx.execute(text("SELECT set_config('fixbill.customer_id', :id, true)"), {"id": customer_id})
        assert question(tx, customer_id) is not None  # and what is read only once is read
        before = tx.scalar(BLOCKS)
        question(tx, customer_id)
        after = tx.scalar(BLOCKS)
    assert before
    assert after
    return int(after - before)


def grows(few: int, many: int) -> bool:
    """Generous: an index over so many more rows may be a level or two deeper."""
    return many > 2 * few + 20


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_an_answer_about_many_fixes_reads_as_much_as_one_about_few(
    customers: Engine, question: Question
) -> None:
    few, many = (blocks_read(customers, question, each) for each in ("few", "many"))

    assert not grows(few, many)


def test_what_reads_every_fix_is_seen_to_do_so(customers: Engine) -> None:
    def spent(tx: Connection, customer_id: str) -> object:
        return tx.scalar(
            text("SELECT sum(price) FROM fixes WHERE customer_id = :id"), {"id": customer_id}
        )

    few, many = (blocks_read(customers, spent, each) for each in ("few", "many"))

    assert grows(few, many)
