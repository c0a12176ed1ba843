"""Lists page by page: every row once, whatever is written meanwhile, and few rows read for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, update

from schemas.listings import FixAnswer
from tests.builders import HOUR, MINUTE, NOW, attempt, deployed, one_row, settle_events, usd
from worker.storage import tables
from worker.storage.charges import ChargeKey, add_attempt
from worker.usage import fixes as of_fixes
from worker.usage import transactions as of_transactions
from worker.usage.charges import charge_detail, list_charges
from worker.usage.fixes import fix_history, list_fixes
from worker.usage.lists import ALL, Listed, Window
from worker.usage.quarantine import list_entries
from worker.usage.transactions import list_transactions

# What is listed.


def test_fixes_of_a_customer_are_listed_newest_deployment_first(engine: Engine) -> None:
    with engine.begin() as tx:
        found = list_fixes(tx, "acme").items

    listed = {each.fix_id: (each.outcome, each.price) for each in found}
    assert [each.fix_id for each in found][-3:] == ["paid-2", "paid-1", "new"]
    assert listed["paid-1"] == ("charged", usd(29))
    assert listed["held-2"] == ("credited", None)
    assert listed["unseen"] == ("reverted", None)
    assert {each.customer_id for each in found} == {"acme"}


def test_a_fix_that_was_taken_back_costs_nothing(engine: Engine) -> None:
    with engine.begin() as tx:
        (found,) = [each for each in list_fixes(tx, "hooli").items if each.outcome == "reverted"]

    assert found.price is None
    assert found.charge_id is not None


def test_charges_are_listed_with_the_payment_that_collected_them(engine: Engine) -> None:
    with engine.begin() as tx:
        owed, paid = list_charges(tx, "acme").items

    assert (paid.status, paid.amount, paid.payment_intent) == ("paid", usd(58), "pi_paid")
    assert (owed.status, owed.amount, owed.payment_intent) == ("open", usd(58), None)


def test_without_a_customer_everybodys_charges_are_listed(engine: Engine) -> None:
    with engine.begin() as tx:
        found = list_charges(tx).items

    assert Counter(each.customer_id for each in found) == {"acme": 2, "globex": 1, "hooli": 1}
    assert [each.opened_at for each in found] == sorted(
        (each.opened_at for each in found), reverse=True
    )


def test_a_listed_charge_says_why_its_last_try_failed(engine: Engine) -> None:
    owed = one_row(engine, tables.charges, customer_id="acme", status="open")
    with engine.begin() as tx:
        for number, code in enumerate(["lost_card", "insufficient_funds"], start=1):
            one = attempt(number, charge_id=owed["charge_id"])
            add_attempt(tx, one)
            tx.execute(
                update(tables.attempts)
                .where(tables.attempts.c.attempt_id == one.attempt_id)
                .values(answer="declined", code=code, answered_at=one.started_at)
            )

    with engine.begin() as tx:
        found = list_charges(tx, "acme").items[0]
        detail = charge_detail(tx, ChargeKey("acme", owed["charge_id"]))

    assert found.decline == "insufficient_funds"
    assert detail is not None
    assert [each.code for each in detail.attempts] == ["lost_card", "insufficient_funds"]
    assert detail.decline == "insufficient_funds"


def test_of_a_customer_nobody_knows_nothing_is_listed(engine: Engine) -> None:
    with engine.begin() as tx:
        assert list_fixes(tx, "stranger").items == []
        assert list_charges(tx, "stranger").items == []
        assert list_transactions(tx, "stranger", ALL).items == []
        assert list_entries(tx, "stranger", ALL).items == []
        assert fix_history(tx, "stranger", "paid-1", NOW) is None
        assert charge_detail(tx, ChargeKey("stranger", "ch_1")) is None


# Page by page.


def walked(page: Callable[[Window], Listed[Any]], window: Window) -> Iterator[list[Any]]:
    """The pages of a list, each after the place where the one before ended."""
    while True:
        listed = page(window)
        yield listed.items
        if listed.end is None:
            return
        window = window._replace(before=listed.end)


@pytest.mark.parametrize("limit", [1, 3, 8, 100])
def test_pages_hold_every_row_once_in_order(engine: Engine, limit: int) -> None:
    with engine.begin() as tx:
        found = list(walked(lambda part: list_fixes(tx, "acme", window=part), Window(limit)))
        whole = list_fixes(tx, "acme").items

    assert [each for page in found for each in page] == whole
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


@pytest.mark.parametrize("scan", [2, 3, 8, 9, 1000])
def test_what_is_rare_is_found_however_little_is_read_for_a_page(engine: Engine, scan: int) -> None:
    """Some pages are empty then, and yet not the last."""
    wanted = of_fixes.Filters(repository="acme/api")
    with engine.begin() as tx:
        found = list(
            walked(lambda part: list_fixes(tx, "acme", wanted, part), Window(20, scan=scan))
        )

    assert [each.fix_id for page in found for each in page] == ["owed-2"]
    assert len(found) >= 8 // scan


@pytest.mark.parametrize("limit", [1, 2])
def test_a_page_that_is_full_ends_before_its_rows_are_all_read(engine: Engine, limit: int) -> None:
    wanted = of_transactions.Filters(kind="charge")
    with engine.begin() as tx:
        pages = list(
            walked(lambda part: list_transactions(tx, "acme", part, wanted), Window(limit, scan=5))
        )
        whole = list_transactions(tx, "acme", ALL, wanted).items

    assert [each for page in pages for each in page] == whole
    assert {each.kind for each in whole} == {"charge"}


def test_what_is_written_between_two_pages_moves_no_row(engine: Engine) -> None:
    """Older, newer, and between those seen and those not: each old row comes once all the same."""
    with engine.begin() as tx:
        old = [each.fix_id for each in list_fixes(tx, "acme").items]
    moments = [NOW - 3 * HOUR, NOW - MINUTE - timedelta(seconds=1), NOW - MINUTE, NOW]

    def page(window: Window) -> Listed[FixAnswer]:
        number = len(seen)
        settle_events(
            engine, *(deployed(f"late-{number}-{n}", at=t) for n, t in enumerate(moments))
        )
        with engine.begin() as tx:
            return list_fixes(tx, "acme", window=window)

    seen: list[str] = []
    for each in walked(page, Window(3)):
        seen += [fix.fix_id for fix in each]
        if len(seen) > 60:
            break

    counts = Counter(seen)
    assert [each for each in seen if each in old] == old
    assert max(counts.values()) == 1
