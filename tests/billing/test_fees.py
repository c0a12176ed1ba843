"""Stripe's fees: what a ledger takes of them."""

from __future__ import annotations

import pytest

from schemas.money import Money
from tests.builders import DAY, NOW, book, journal, moved
from worker.billing.fees import take_fee
from worker.billing.stripe_objects import StripeFee


def fee(amount: int, currency: str = "usd") -> StripeFee:
    return StripeFee("txn_1", "pi_1", "cus_1", Money(amount, currency), NOW - DAY)


def test_a_fee_leaves_what_we_have_of_the_payments() -> None:
    payer = book(cash=2900, revenue=-2900)
    written = journal(payer)

    taken = take_fee(written, payer, fee(114))

    assert taken
    assert moved(written) == [("fee", 114, "txn_1")]
    assert written.transfers[0].happened_at == NOW - DAY
    assert (payer.cash, payer.fees, payer.receivable) == (2786, 114, 0)


def test_a_fee_that_is_given_back_comes_back() -> None:
    payer = book(cash=1400, fees=1500, revenue=-2900)
    written = journal(payer)

    assert take_fee(written, payer, fee(-1500))

    assert moved(written) == [("fee_returned", 1500, "txn_1")]
    assert (payer.cash, payer.fees) == (2900, 0)


@pytest.mark.parametrize("other", [fee(114, "eur"), fee(-115)])
def test_what_the_ledger_cannot_hold_is_left_out(other: StripeFee) -> None:
    payer = book(cash=2786, fees=114, revenue=-2900)
    written = journal(payer)

    assert not take_fee(written, payer, other)

    assert written.transfers == []
