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
