"""Disputes: however late and out of order we hear of them, the books follow the bank."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.builders import book, dispute, journal, moved
from worker.billing.disputes import FINAL, Dispute, Funds, take_dispute
from worker.billing.journal import Journal

OPENED = ("dispute_opened", 2900, "du_acme")
WON = ("dispute_won", 2900, "du_acme")
LOST = ("dispute_lost", 2900, "du_acme")


def told(asked: Dispute, *statuses: str) -> tuple[Journal, tuple[int, int, int]]:
    """Stripe's words in this order; what moved, and then cash, disputed and lost money."""
    standing = book(cash=2900, revenue=-2900)
    written = journal(standing)
    for status in statuses:
        take_dispute(written, standing, asked, status)
    return written, (standing.cash, standing.disputed, standing.lost)


ENDINGS = {
    "only asked": (("warning_needs_response", "warning_under_review"), [], (2900, 0, 0)),
    "asked, and dropped": (("warning_needs_response", "warning_closed"), [], (2900, 0, 0)),
    "prevented": (("prevented",), [], (2900, 0, 0)),
    "opened": (("needs_response",), [OPENED], (0, 2900, 0)),
    "answered": (("needs_response", "under_review"), [OPENED], (0, 2900, 0)),
    "won": (("needs_response", "under_review", "won"), [OPENED, WON], (2900, 0, 0)),
    "lost": (("needs_response", "under_review", "lost"), [OPENED, LOST], (0, 0, 2900)),
    "an inquiry that became one": (
        ("warning_needs_response", "needs_response", "lost"),
        [OPENED, LOST],
        (0, 0, 2900),
    ),
}
ORDERS = {
    f"{name}: {', '.join(order)}": (order, booked, balances)
    for name, (statuses, booked, balances) in ENDINGS.items()
    for order in permutations(statuses)
}


@pytest.mark.parametrize(("order", "booked", "balances"), ORDERS.values(), ids=ORDERS)
def test_in_any_order_of_words_the_same_money_moves(
    order: tuple[str, ...], booked: list[object], balances: tuple[int, int, int]
) -> None:
    asked = dispute()

    written, after = told(asked, *order, *order)

    assert moved(written) == booked
    assert after == balances


@pytest.mark.parametrize("end", ["won", "lost"])
@pytest.mark.parametrize("later", ["needs_response", "under_review", "won", "lost"])
def test_what_is_decided_stays_decided(end: str, later: str) -> None:
    asked = dispute()
    told(asked, "needs_response", end)

    written, _ = told(asked, later)

    assert (asked.status, asked.funds) == (end, Funds(end))
    assert asked.funds in FINAL
    assert moved(written) == []


def test_a_word_we_do_not_know_is_kept_and_moves_nothing() -> None:
    asked = dispute(funds=Funds.WITHDRAWN)

    written, _ = told(asked, "in_appeal")

    assert (asked.status, asked.funds) == ("in_appeal", Funds.WITHDRAWN)
    assert moved(written) == []


def test_what_moves_names_the_charge_and_touches_the_book() -> None:
    asked = dispute()

    written, _ = told(asked, "needs_response")

    (opened,) = written.transfers
    assert (opened.charge_id, opened.unit) == ("ch_acme", "usd")
    assert written.touched == {"acme"}
