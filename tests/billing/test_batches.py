"""The property that holds the shape of settling, and what no history can break."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.billing.checks import check_books, check_chains, check_usage
from tests.billing.histories import CUSTOMERS, History, cut, histories
from tests.billing.memory import Memory
from tests.builders import DAY, NOW, arrival, book, deployed, grant, reverted

CUTS = st.sets(st.integers(1, 23), max_size=8)
MANY = settings(
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SOME = settings(MANY, max_examples=150)


def settled(history: History, cuts: set[int], now: datetime = NOW) -> Memory:
    memory = history.memory()
    for piece in cut(history.arrivals, cuts):
        memory.settle(piece, now)
    return memory


def without(contents: dict[str, Any], column: str) -> dict[str, Any]:
    for row in contents["books"].values():
        del row[column]
    return contents


@MANY
@given(histories(), CUTS)
def test_however_a_list_of_events_is_cut_the_books_come_out_equal(
    history: History, cuts: set[int]
) -> None:
    whole = settled(history, set())

    in_pieces = settled(history, cuts)

    # When the last entry came is compared below.
    assert without(in_pieces.contents(), "accepted_at") == without(whole.contents(), "accepted_at")


def test_a_duplicate_moves_the_freshness_of_the_books_the_same_way_in_any_cut() -> None:
    memory = Memory(books={"acme": book()})
    first = arrival(deployed(), at=NOW)
    again = arrival(deployed(id="sent-again"), at=NOW.replace(minute=5))
    history = History(memory, [first, again])

    whole, in_pieces = settled(history, set()), settled(history, {1})

    assert in_pieces.books["acme"].accepted_at == whole.books["acme"].accepted_at


@pytest.mark.parametrize("cuts", [set(), {1}], ids=["same batch", "later batch"])
def test_a_repeated_event_changes_nothing_not_even_the_time(cuts: set[int]) -> None:
    memory = Memory(books={"acme": book()})
    first = arrival(deployed(), at=NOW)
    again = arrival(deployed(), at=memory.books["acme"].cycle_end)
    once, twice = History(memory, [first]), History(memory, [first, again])

    alone = settled(once, set(), NOW + 40 * DAY)
    repeated = settled(twice, cuts, NOW + 40 * DAY)

    assert repeated.contents() == alone.contents()


def test_a_credit_given_back_reaches_the_oldest_held_fix_in_any_cut() -> None:
    memory = Memory(books={"acme": book(has_payment_method=False)})
    memory.grants["acme", "gift"] = grant()
    memory.books["acme"].credits, memory.books["acme"].issued = 1, -1
    events = [deployed("paid"), deployed("held"), reverted("paid"), deployed("late")]
    history = History(memory, [arrival(each) for each in events])

    whole, in_pieces = settled(history, set()), settled(history, {2})

    assert in_pieces.contents()["fixes"] == whole.contents()["fixes"]


@SOME
@given(histories(), CUTS)
def test_no_history_breaks_the_books(history: History, cuts: set[int]) -> None:
    memory = history.memory()

    for piece in cut(history.arrivals, cuts):
        memory.settle(piece, NOW)
        check_books(memory)

    check_chains(memory)
    check_usage(memory)


@SOME
@given(histories(), CUTS)
def test_settling_everything_again_changes_nothing(history: History, cuts: set[int]) -> None:
    memory = settled(history, cuts)
    for customer_id in CUSTOMERS:
        memory.settle_backlog(customer_id, NOW)
    before = memory.contents()
    before.pop("quarantine")

    memory.settle(history.arrivals, NOW)

    after = memory.contents()
    after.pop("quarantine")  # what is refused is refused again, under the same entry
    assert without(after, "accepted_at") == without(before, "accepted_at")
