"""Money is whole minor units and a currency, from wire to database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Digits behind the point, where it is not two (ISO 4217; Stripe's zero- and three-decimal lists).
DECIMALS = {
    "jpy": 0,
    "krw": 0,
    "vnd": 0,
    "clp": 0,
    "bhd": 3,
    "kwd": 3,
    "jod": 3,
    "omr": 3,
    "tnd": 3,
}
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£"}


class CurrencyMismatch(TypeError):
    """Amounts in two currencies cannot be added or compared."""


@dataclass(frozen=True, slots=True)
class Money:
    """`amount` is in minor units (cents for usd); `currency` is the lower-case ISO 4217 code."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int:
            raise TypeError(f"amount must be a whole number of minor units, not {self.amount!r}")
        if len(self.currency) != 3 or not self.currency.isalpha() or not self.currency.islower():
            raise ValueError(
                f"currency must be a lower-case ISO 4217 code such as usd: {self.currency!r}"
            )

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __mul__(self, times: int) -> Money:
        return Money(self.amount * times, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __str__(self) -> str:
        decimals = DECIMALS.get(self.currency, 2)
        whole, part = divmod(abs(self.amount), 10**decimals)
        digits = f"{whole:,}" + (f".{part:0{decimals}d}" if decimals else "")
        symbol = SYMBOLS.get(self.currency)
        text = f"{symbol}{digits}" if symbol else f"{digits} {self.currency.upper()}"
        return f"-{text}" if self.amount < 0 else text

    @classmethod
    def parse(cls, text: str, currency: str) -> Money:
        """An amount as people write it: `100`, `100.00`; raises ValueError."""
        decimals = DECIMALS.get(currency, 2)
        whole, _, part = text.partition(".")
        digits = whole + part.ljust(decimals, "0")
        if len(part) > decimals or not whole or not digits.isascii() or not digits.isdecimal():
            raise ValueError(f"{text!r} is no amount in {currency}")
        return cls(int(digits), currency)

    def split(self, weights: Sequence[int]) -> list[Money]:
        """Shares by weight that add up; of the uneven ones the first get what is left over."""
        total = sum(weights)
        if total <= 0 or min(weights) < 0:
            raise ValueError(
                f"weights must not be negative and must add up to more than 0: {weights}"
            )
        shares = [abs(self.amount) * weight // total for weight in weights]
        uneven = [n for n, weight in enumerate(weights) if abs(self.amount) * weight % total]
        for index in uneven[: abs(self.amount) - sum(shares)]:
            shares[index] += 1
        sign = -1 if self.amount < 0 else 1
        return [Money(sign * share, self.currency) for share in shares]

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not mix")
        return other.amount
