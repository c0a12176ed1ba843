from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.money import CurrencyMismatch, Money

AMOUNTS = st.integers(-(10**15), 10**15)
WEIGHTS = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)


@settings(max_examples=200)
@given(AMOUNTS, WEIGHTS)
def test_shares_add_up_to_the_whole(amount: int, weights: list[int]) -> None:
    whole = Money(amount, "usd")

    shares = whole.split(weights)

    assert sum(share.amount for share in shares) == amount
    assert len(shares) == len(weights)
    assert {share.currency for share in shares} == {"usd"}


@settings(max_examples=200)
@given(AMOUNTS, WEIGHTS)
def test_a_share_is_less_than_a_unit_off_its_weight(amount: int, weights: list[int]) -> None:
    whole = Money(amount, "usd")

    shares = whole.split(weights)

    for share, weight in zip(shares, weights, strict=True):
        assert abs(share.amount * sum(weights) - amount * weight) < sum(weights)


@pytest.mark.parametrize(
    ("amount", "weights", "shares"),
    [
        (100, [1, 1, 1], [34, 33, 33]),
        (-100, [1, 1, 1], [-34, -33, -33]),
        (5, [1, 1, 1, 1], [2, 1, 1, 1]),
        (0, [1, 2], [0, 0]),
        (10, [3, 7], [3, 7]),
        (1, [1], [1]),
        (2, [0, 1, 1], [0, 1, 1]),
        (897123, [49, 1, 2743], [15739, 322, 881062]),
        (1, [0, 1, 1], [0, 1, 0]),
        (-1, [0, 1, 1], [0, -1, 0]),
    ],
)
def test_left_over_units_go_to_the_first_shares_that_have_a_weight(
    amount: int, weights: list[int], shares: list[int]
) -> None:
    whole = Money(amount, "usd")

    found = whole.split(weights)

    assert [share.amount for share in found] == shares


@pytest.mark.parametrize("weights", [[], [0], [0, 0], [-1, 2], [1, -1]], ids=str)
def test_weights_without_a_sense_are_refused(weights: list[int]) -> None:
    whole = Money(100, "usd")

    with pytest.raises(ValueError, match=r"weights|empty"):
        whole.split(weights)


@pytest.mark.parametrize(
    "amount", [1.0, 29.99, "29", None, True, float("nan")], ids=lambda each: repr(each)
)
def test_only_whole_minor_units_are_money(amount: Any) -> None:
    with pytest.raises(TypeError, match="whole number of minor units"):
        Money(amount, "usd")


@pytest.mark.parametrize("currency", ["", "us", "USD", "Usd", "usdt", "us1", "u d"])
def test_only_a_lower_case_code_is_a_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="lower-case ISO 4217"):
        Money(1, currency)


def test_amounts_are_added_subtracted_negated_and_compared() -> None:
    ten, three = Money(10, "usd"), Money(3, "usd")

    results = (ten + three, ten - three, three - ten, -ten)

    assert results == (Money(13, "usd"), Money(7, "usd"), Money(-7, "usd"), Money(-10, "usd"))
    assert three < ten
    assert ten <= Money(10, "usd")
    assert ten > three
    assert len({ten, Money(10, "usd")}) == 1


MIXED = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "less": lambda a, b: a < b,
    "less or equal": lambda a, b: a <= b,
    "more": lambda a, b: a > b,
}


@pytest.mark.parametrize("operation", MIXED.values(), ids=MIXED)
def test_currencies_do_not_mix(operation: Any) -> None:
    dollars, euros = Money(1, "usd"), Money(1, "eur")

    with pytest.raises(CurrencyMismatch, match=r"usd and eur|eur and usd"):
        operation(dollars, euros)

    assert dollars != euros


@pytest.mark.parametrize(
    ("amount", "currency", "printed"),
    [
        (2900, "usd", "$29.00"),
        (5, "usd", "$0.05"),
        (0, "usd", "$0.00"),
        (-2950, "usd", "-$29.50"),
        (-5, "usd", "-$0.05"),
        (123456789, "usd", "$1,234,567.89"),
        (2900, "eur", "\u20ac29.00"),
        (2900, "gbp", "\u00a329.00"),
        (2900, "sek", "29.00 SEK"),
        (2900, "jpy", "2,900 JPY"),
        (-1, "jpy", "-1 JPY"),
        (2900, "kwd", "2.900 KWD"),
        (1, "bhd", "0.001 BHD"),
    ],
)
def test_money_is_printed_with_the_digits_of_its_currency(
    amount: int, currency: str, printed: str
) -> None:
    money = Money(amount, currency)

    text = str(money)

    assert text == printed


def test_money_cannot_be_changed() -> None:
    money = Money(1, "usd")

    with pytest.raises(AttributeError):
        money.amount = 2  # type: ignore[misc]

    assert money == Money(1, "usd")
