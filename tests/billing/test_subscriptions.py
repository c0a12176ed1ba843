"""A subscription's invoice is money of the ledger like any other, booked once."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.money import Money
from tests.at_stripe import invoiced
from tests.builders import HOUR, NOW, book, journal, moved
from worker.billing.payments import book_unapplied
from worker.billing.stripe_objects import StripeInvoice
from worker.billing.subscriptions import take_invoice

EARNED = ("invoice", 59900, "in_1")
PAID = ("pay", 59900, "pi_1")

SEEN: dict[str, tuple[StripeInvoice, str | None, list[tuple[str, int, str]]]] = {
    "paid, and new to us": (invoiced(), None, [EARNED, PAID]),
    "paid at last": (invoiced(), "open", [EARNED, PAID]),
    "paid though given up": (invoiced(), "uncollectible", [EARNED, PAID]),
    "paid without a payment": (
        invoiced(payment_intent=None),
        None,
        [EARNED, ("pay", 59900, "in_1")],
    ),
    "paid, as we know": (invoiced(), "paid", []),
    "paid with nothing": (invoiced(amount=0), None, []),
    "a draft": (invoiced("draft", 0), None, []),
    "open": (invoiced("open", 0), "draft", []),
    "void": (invoiced("void", 0), "open", []),
    "uncollectible": (invoiced("uncollectible", 0), "open", []),
}


@pytest.mark.parametrize(("seen", "was", "booked"), SEEN.values(), ids=SEEN)
def test_an_invoice_is_booked_when_it_is_paid_and_only_then(
    seen: StripeInvoice, was: str | None, booked: list[tuple[str, int, str]]
) -> None:
    standing = book()
    written = journal(standing)

    take_invoice(written, standing, seen, was, already_here=False)

    assert moved(written) == booked
    assert (standing.receivable, standing.cash) == (0, 59900 if booked else 0)
    assert standing.revenue == -standing.cash
    assert written.touched == ({"acme"} if booked else set())


def test_an_invoice_is_booked_by_the_customers_clock() -> None:
    standing = book(clock_offset=HOUR)
    written = journal(standing)

    take_invoice(written, standing, invoiced(), None, already_here=False)

    assert {(each.happened_at, each.recorded_at) for each in written.transfers} == {
        (NOW + HOUR, NOW + HOUR)
    }


@pytest.mark.parametrize("other", [0, 700], ids=["nothing else", "something else"])
def test_a_payment_that_came_before_its_invoice_pays_it(other: int) -> None:
    standing = book(unapplied=-other, cash=other)
    written = journal(standing)
    book_unapplied(written, standing, 59900, "pi_1")

    take_invoice(written, standing, invoiced(), None, already_here=True)

    assert moved(written) == [("unapplied_in", 59900, "pi_1"), EARNED, ("apply", 59900, "in_1")]
    assert (standing.receivable, standing.unapplied) == (0, -other)
    assert (standing.cash, standing.revenue) == (59900 + other, -59900)


LIVES = ("draft", "open", "paid", "paid")


def test_an_invoice_in_a_currency_the_ledger_does_not_have_is_not_booked() -> None:
    standing = book()
    written = journal(standing)

    take_invoice(written, standing, invoiced(money=Money(59900, "eur")), None, already_here=False)

    assert (moved(written), written.touched) == ([], set())


@pytest.mark.parametrize("order", sorted(set(permutations(LIVES))), ids=", ".join)
@pytest.mark.parametrize("payment_after", range(5))
def test_in_whatever_order_we_hear_of_it_the_same_money_is_booked_once(
    order: tuple[str, ...], payment_after: int
) -> None:
    standing, was = book(), None
    written = journal(standing)

    for number, status in enumerate([*order, None]):
        here = any(each.source_key == "pi_1" for each in written.transfers)
        if number == payment_after and not here:
            book_unapplied(written, standing, 59900, "pi_1")
            here = True
        if status is not None:
            seen = invoiced(status, 59900 if status == "paid" else 0)
            take_invoice(written, standing, seen, was, here)
            was = status if was != "paid" else was

    assert (standing.cash, standing.revenue) == (59900, -59900)
    assert (standing.receivable, standing.unapplied) == (0, 0)
