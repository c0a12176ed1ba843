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
    FROZEN = "frozen"  #: amount and lines fixed; an attempt is under way
    DECLINED = "declined"  #: the bank said no; tried again at `due_at`, or never if that is empty
    ACTION_REQUIRED = "action_required"  #: the customer must authenticate
    PARKED = "parked"  #: something is wrong on our side; an operator looks
    WITHDRAWING = "withdrawing"  #: the debt has changed: waits until Stripe cancelled the intent
    PAID = "paid"  #: the money is here; final
    VOID = "void"  #: no line is left on it, or its debt was written off; final


#: A customer has at most one charge in these states: a second one waits, open, behind it.
IN_FLIGHT = (
    ChargeStatus.FROZEN,
    ChargeStatus.DECLINED,
    ChargeStatus.ACTION_REQUIRED,
    ChargeStatus.PARKED,
    ChargeStatus.WITHDRAWING,
)

FINAL = (ChargeStatus.PAID, ChargeStatus.VOID)

#: The one table of how a charge may move on; the schema refuses every other way.
TRANSITIONS = {
    ChargeStatus.OPEN: (ChargeStatus.FROZEN, ChargeStatus.PAID, ChargeStatus.VOID),
    ChargeStatus.FROZEN: (
        ChargeStatus.PAID,
        ChargeStatus.DECLINED,
        ChargeStatus.ACTION_REQUIRED,
        ChargeStatus.PARKED,
        ChargeStatus.WITHDRAWING,
    ),
    ChargeStatus.DECLINED: (
        ChargeStatus.FROZEN,
        ChargeStatus.PAID,
        ChargeStatus.ACTION_REQUIRED,
        ChargeStatus.PARKED,
        ChargeStatus.WITHDRAWING,
    ),
    ChargeStatus.ACTION_REQUIRED: (
        ChargeStatus.FROZEN,
        ChargeStatus.PAID,
        ChargeStatus.PARKED,
        ChargeStatus.WITHDRAWING,
    ),
    ChargeStatus.PARKED: (ChargeStatus.FROZEN, ChargeStatus.PAID, ChargeStatus.WITHDRAWING),
    ChargeStatus.WITHDRAWING: (ChargeStatus.PAID, ChargeStatus.PARKED, ChargeStatus.VOID),
    ChargeStatus.PAID: (),
    ChargeStatus.VOID: (),
}


class Why(StrEnum):
    """Why an attempt is made; only scheduled ones use up the tries of the dunning policy."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"  #: the customer, through a link
    NEW_CARD = "new_card"
    OPERATOR = "operator"


@dataclass(slots=True)
class Charge:
    """Amounts are minor units of `currency`; `amount` never changes once the charge is frozen."""

    customer_id: str
    charge_id: str
    status: ChargeStatus
    amount: int  # of its lines; of those it had when it was frozen
    currency: str
    opened_at: datetime
    due_at: datetime | None  # business time
    due_why: Why = Why.SCHEDULED  # the reason of the attempt that is due or under way
    applied: int = 0  # the part that unapplied money paid
    asked_amount: int = 0  # what the card is asked for; never changes once it is frozen
    dropped: int = 0  # the part that has left it since it was frozen
    returned: int = 0  # the part of what was collected that went back to the card
    tries: int = 0  # scheduled attempts that were declined
    waits: int = 0  # times in a row that Stripe gave no final answer
    write_off: bool = False  # once withdrawn, its debt is given up
    resume_at: datetime | None = None  # once withdrawn, its replacement is due
    leased_until: datetime | None = None  # wall time
    frozen_at: datetime | None = None
    declined_at: datetime | None = None  # the first time
    paid_at: datetime | None = None
    payment_intent: str | None = None

    def __post_init__(self) -> None:
        self.status, self.due_why = ChargeStatus(self.status), Why(self.due_why)  # rows have texts

    @property
    def asked(self) -> Money:
        """What Stripe is asked to collect."""
        return Money(self.asked_amount, self.currency)

    @property
    def owed(self) -> int:
        """What is still owed of it; below 0 never."""
        return self.amount - self.applied - self.dropped

    def worth_collecting(self) -> bool:
        """Less than Stripe's minimum is carried over: the charge stays open for more lines."""
        return self.amount >= minimum(self.currency)


def minimum(currency: str) -> int:
    return STRIPE_MINIMUM.get(currency, 50)


@dataclass(slots=True)
class Line:
    """One fix on a charge, at the price pinned when it settled."""

    customer_id: str
    charge_id: str
    fix_id: str
    price: int
    added_at: datetime
    removed_at: datetime | None = None
