"""Charges: money to collect, made of lines, and the states a charge can be in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.money import Money

# Below this Stripe refuses a payment (docs.stripe.com/currencies, minimum charge amounts).
STRIPE_MINIMUM = {"usd": 50, "eur": 50, "gbp": 30}


class ChargeStatus(StrEnum):
    """Where a charge stands."""

    OPEN = "open"  #: takes lines
    FROZEN = "frozen"  #: amount and lines fixed for ever; an attempt is under way or due
    DECLINED = "declined"  #: the bank said no; tried again at `due_at`, or never if that is empty
    ACTION_REQUIRED = "action_required"  #: the customer must authenticate
    PARKED = "parked"  #: something is wrong on our side; an operator looks
    PAID = "paid"  #: the money is here; final
    VOID = "void"  #: every line was removed; final


#: A customer has at most one charge in these states: a second one waits, open, behind it.
IN_FLIGHT = (
    ChargeStatus.FROZEN,
    ChargeStatus.DECLINED,
    ChargeStatus.ACTION_REQUIRED,
    ChargeStatus.PARKED,
)


@dataclass(slots=True)
class Charge:
    """`amount` and the line prices are minor units of `currency`."""

    customer_id: str
    charge_id: str
    status: ChargeStatus
    amount: int
    currency: str
    opened_at: datetime
    due_at: datetime | None  # business time
    leased_until: datetime | None = None  # wall time
    frozen_at: datetime | None = None
    paid_at: datetime | None = None
    payment_intent: str | None = None

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)

    def worth_collecting(self) -> bool:
        """Less than Stripe's minimum is carried over: the charge stays open for more lines."""
        return self.amount >= STRIPE_MINIMUM.get(self.currency, 50)


@dataclass(slots=True)
class Line:
    """One fix on a charge, at the price pinned when it settled."""

    customer_id: str
    charge_id: str
    fix_id: str
    price: int
    added_at: datetime
    removed_at: datetime | None = None
