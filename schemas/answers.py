"""What Fixbill answers, over HTTP and as `--json`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.events import Event
from schemas.money import Money


class Answer(BaseModel):
    """Answers are values; unknown fields are our own mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Receipt(Answer):
    """What has become of one event."""

    event_id: str
    customer_id: str
    fix_id: str
    status: Literal["accepted", "settled", "waiting", "quarantined", "refused", "spooled"]
    outcome: Literal["credited", "charged", "held", "reverted"] | None = None
    price: Money | None = None
    detail: str | None = Field(None, description="Why, where the status alone does not say it.")


def receipt(event: Event, status: str, detail: str | None = None, **more: object) -> Receipt:
    """The receipt of this event."""
    return Receipt.model_validate(
        {
            "event_id": event.id,
            "customer_id": event.customer_id,
            "fix_id": event.fix_id,
            "status": status,
            "detail": detail,
            **more,
        }
    )


class PlanAnswer(Answer):
    code: str
    title: str
    version: date
    price_per_fix: Money | None
    subscription_price: Money | None
    subscription_status: Literal["none"] | None = Field(
        None, description="None where the plan has no subscription."
    )
    standing: Literal["good", "past_due", "parked"] = Field(
        description="past_due: a payment failed; parked: nothing is collected, and a warning why."
    )


class CycleAnswer(Answer):
    start: datetime
    end: datetime


class FixCounts(Answer):
    credited: int = 0
    charged: int = 0
    held: int = 0
    reverted: int = 0


class RepositoryUsage(Answer):
    repository: str
    fixes: FixCounts
    charged: Money


class GrantAnswer(Answer):
    grant_id: str
    source: str
    granted: int
    remaining: int
    expires_at: datetime | None


class CreditAnswer(Answer):
    balance: int
    grants: list[GrantAnswer]


class MoneyAnswer(Answer):
    charged: Money = Field(description="Fixes charged in this cycle.")
    paid: Money = Field(description="What was paid of charges in this cycle.")
    open: Money = Field(description="Charged and not paid yet, of any cycle.")


class Transaction(Answer):
    seq: int
    kind: str
    credits: int | None = None
    money: Money | None = None
    fix_id: str | None
    charge_id: str | None
    happened_at: datetime
    recorded_at: datetime


class Limits(Answer):
    spending_cap: Money | None
    spent: Money


class Caution(Answer):
    code: Literal[
        "parked",
        "past_due",
        "no_payment_method",
        "first_charge",
        "low_credit",
        "held_fixes",
        "near_cap",
    ]
    message: str


class Usage(Answer):
    """Usage of the current cycle. Everything accepted before `as_of` is in it."""

    customer_id: str
    as_of: datetime
    plan: PlanAnswer
    cycle: CycleAnswer
    fixes: FixCounts
    held_now: int
    repositories: list[RepositoryUsage]
    credits: CreditAnswer
    money: MoneyAnswer
    transactions: list[Transaction]
    limits: Limits
    warnings: list[Caution]


class HeldCost(Answer):
    """What the fixes that wait would cost, once there is a way to pay."""

    fixes: int
    by_credits: int = Field(description="So many are paid by credits at once.")
    by_money: int = Field(description="So many would cost money.")
    amount: Money | None = Field(description="What those would cost; null without a price.")
    price_per_fix: Money | None = Field(description="Of a fix without a credit, from then on.")
    spending_cap: Money | None = Field(
        description="Within it those are charged at once; without one, once they are accepted."
    )


class SetupLink(Answer):
    """Where a customer adds a payment method, and what that will mean."""

    url: str
    expires_at: datetime
    held: HeldCost


class RecoveryLink(Answer):
    """Where a customer authenticates a payment that their bank asked about."""

    url: str
    expires_at: datetime
    amount: Money


class Problem(Answer):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
