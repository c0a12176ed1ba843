"""The smallest and largest payments, in minor units."""

from __future__ import annotations

import re
from typing import Any

from worker.sandbox.errors import invalid

# Stripe's minimum charge amounts; a currency not listed takes any amount.
MINIMUM = {
    "aud": 50,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "jpy": 50,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "sek": 300,
    "sgd": 50,
    "usd": 50,
}
MAXIMUM = 99_999_999
# Currencies without a smaller unit.
ZERO_DECIMAL = frozenset(
    (
        "bif",
        "clp",
        "djf",
        "gnf",
        "jpy",
        "kmf",
        "krw",
        "mga",
        "pyg",
        "rwf",
        "ugx",
        "vnd",
        "vuv",
        "xaf",
        "xof",
        "xpf",
    )
)
SYMBOLS = {"eur": "€", "gbp": "£", "jpy": "¥", "usd": "$"}


def check_currency(value: Any) -> str:
    """The currency in the lower case Stripe answers with."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{3}", value):
        raise invalid(f"Invalid currency: {value}", param="currency")
    return value.lower()


def check_amount(amount: int, currency: str) -> None:
    """Refuse what cannot be charged."""
    if amount < 1:
        raise invalid(
            "This value must be greater than or equal to 1.",
            param="amount",
            code="parameter_invalid_integer",
        )
    least = MINIMUM.get(currency, 1)
    if amount < least:
        raise invalid(
            f"Amount must be at least {least} {currency} in minor units.",
            param="amount",
            code="amount_too_small",
        )
    if amount > MAXIMUM:
        raise invalid(
            f"Amount must be no more than {MAXIMUM} {currency} in minor units.",
            param="amount",
            code="amount_too_large",
        )


def written(amount: int, currency: str) -> str:
    """An amount as a customer reads it."""
    symbol = SYMBOLS.get(currency, f"{currency.upper()} ")
    return f"{symbol}{amount:,}" if currency in ZERO_DECIMAL else f"{symbol}{amount / 100:,.2f}"
