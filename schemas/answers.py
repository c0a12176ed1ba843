"""What Fixbill answers, over HTTP and as `--json`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.money import Money


class Answer(BaseModel):
    """Answers are values; unknown fields are our own mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Listing(Answer):
    """A page of a list. `cursor` leads to the next one; null on the last."""

    as_of: datetime = Field(description="Everything accepted before it is included.")
    has_more: bool
    cursor: str | None


class PlanAnswer(Answer):
    code: str
    title: str
    version: date
    price_per_fix: Money | None
    subscription_price: Money | None
    subscription_status: str | None = Field(
        None, description="As Stripe says, also of one that has ended; null if there was none."
    )
    paid_until: datetime | None = Field(
        None, description="The end of the newest period of the subscription that is paid."
    )
    ends_at: datetime | None = Field(
        None, description="When the subscription ends, if it was cancelled for that time."
    )
    standing: Literal["good", "past_due", "parked"] = Field(
        description="past_due: a payment failed; parked: nothing is collected, and a warning why."
    )


class CycleAnswer(Answer):
    number: int
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


class GrantBalance(Answer):
    grant_id: str
    credits: int


class BalanceAnswer(Answer):
    """What a customer had at a moment, as the ledger knew it then."""

    customer_id: str
    at: datetime
    credits: int
    grants: list[GrantBalance] = Field(description="Those with credits left.")
    owed: Money
    own_money: Money = Field(description="With us, and used before any card.")


class MoneyAnswer(Answer):
    charged: Money = Field(description="Fixes charged in this cycle.")
    paid: Money = Field(description="What was paid of charges in this cycle.")
    subscription: Money = Field(description="What was paid for the subscription in this cycle.")
    open: Money = Field(description="Charged and not paid yet, of any cycle.")


class Transaction(Answer):
    """One transfer of the ledger; docs/ledger.md explains each kind."""

    seq: int = Field(description="Numbered per customer from 1, without a gap.")
    kind: str
    from_account: str
    to_account: str
    credits: int | None = None
    money: Money | None = None
    fix_id: str | None
    grant_id: str | None
    charge_id: str | None
    cycle: int
    happened_at: datetime
    recorded_at: datetime
    hash: str = Field(description="SHA-256 over it and the hash of the one before, in hex.")


class Limits(Answer):
    spending_cap: Money | None
    spent: Money


class Caution(Answer):
    code: Literal[
        "parked",
        "past_due",
        "unpaid_period",
        "no_payment_method",
        "first_charge",
        "low_credit",
        "held_fixes",
        "near_cap",
    ]
    message: str


class Forecast(Answer):
    """The cycle so far, and at its end."""

    fixes: int = Field(description="Paid by credits or charged so far.")
    money: Money = Field(description="Charged for them so far, and paid for the subscription.")
    fixes_by_end: int
    credits_by_end: int = Field(description="Used in the cycle, those of so far among them.")
    money_by_end: Money
    held_by_end: int = Field(description="So many more, for want of a price, a card, or the cap.")
    assumes: str


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
    forecast: Forecast | None = Field(description="Null in the first hour of a cycle.")
    warnings: list[Caution]


class Movement(Answer):
    """All transfers of one kind; docs/ledger.md explains each."""

    kind: str
    transfers: int
    credits: int | None = None
    money: Money | None = None


class StatementFixes(Answer):
    """Each is counted where it happened: a fix that is taken back later stays counted here."""

    credited: int = Field(0, description="Paid by credits.")
    charged: int = Field(0, description="Paid, or to be paid, in money.")
    reverted: int = Field(0, description="Taken back in this cycle, also of earlier ones.")


class StatementRepository(Answer):
    repository: str
    fixes: StatementFixes
    charged: Money = Field(description="Less what was reverted before it was paid.")


class StatementDay(Answer):
    """By the day they were deployed or taken back, which may lie before the cycle."""

    day: date
    fixes: StatementFixes


class StatementCredits(Answer):
    """`opening` + granted + rolled_in + given_back + reissued - used - rolled_out - expired

    - taken_back = `closing`. Below 0 if a fix of the last minutes was paid by a credit that had
    rolled over into the next cycle by then.
    """

    opening: int
    granted: int
    granted_for: dict[str, int] = Field(
        description="The same by what they were given for; revert: fixes that had been paid."
    )
    rolled_in: int = Field(description="From the cycle before.")
    given_back: int = Field(description="For reverted fixes that credits had paid.")
    reissued: int = Field(description="They had gone with a refund, which failed.")
    used: int
    rolled_out: int = Field(description="Into the next cycle.")
    expired: int
    taken_back: int = Field(description="Went with a refund of what they stood for.")
    closing: int


class StatementMoney(Answer):
    """What is owed to us: `opening` + charged - reverted + subscription + top_ups - paid

    - paid_from_balance - written_off = `closing`.
    """

    opening: Money
    charged: Money = Field(description="Fixes.")
    reverted: Money = Field(description="Fixes that were reverted before they were paid.")
    subscription: Money
    top_ups: Money = Field(description="Credits that were bought.")
    paid: Money = Field(description="By card, or as Stripe was paid otherwise.")
    paid_from_balance: Money = Field(description="With the customer's own money that was with us.")
    written_off: Money
    closing: Money


class StatementBalance(Answer):
    """The customer's own money with us: `opening` + received - used - returned = `closing`."""

    opening: Money
    received: Money = Field(description="Payments, or parts of them, that were not owed.")
    used: Money = Field(description="Paid what was owed.")
    returned: Money = Field(description="Went back to the card.")
    closing: Money


class StatementCard(Answer):
    """What went through the card in this cycle; what is below 0 came back."""

    collected: Money = Field(description="All that Stripe collected.")
    refunded: Money = Field(description="Went back to it, less refunds that failed.")
    disputed: Money = Field(description="Taken back by a bank, less what it gave back.")


class StatementLine(Answer):
    """One payment, refund or dispute, or a use of the customer's own money."""

    kind: Literal[
        "payment",
        "refund",
        "refund_failed",
        "dispute_opened",
        "dispute_won",
        "dispute_lost",
        "write_off",
        "apply",
        "unapply",
    ]
    money: Money
    at: datetime
    reference: str = Field(description="Stripe's id of it, or ours of the charge or the fix.")


class Statement(Answer):
    """One cycle. Once it is closed nothing in it changes any more.

    Statements are kept for ever as they were written: a field that is added needs a default.
    """

    customer_id: str
    number: int = Field(description="Numbered per customer from 1, without a gap.")
    status: Literal["open", "closing", "closed"] = Field(
        description="A statement that is not closed is a preview; it will change."
    )
    currency: str
    cycle: CycleAnswer
    plans: list[str] = Field(description="Plan and version of the fixes that were paid for.")
    fixes: StatementFixes
    credits: StatementCredits
    money: StatementMoney
    balance: StatementBalance
    card: StatementCard
    repositories: list[StatementRepository]
    days: list[StatementDay]
    payments: list[StatementLine] = Field(description="Oldest first.")
    movements: list[Movement] = Field(description="The whole ledger of the cycle, by kind.")
    balances_before: dict[str, int] = Field(description="Of every account, before the cycle.")
    balances: dict[str, int] = Field(description="Of every account, at the end of the cycle.")


class StatementSummary(Answer):
    """A statement in a list."""

    number: int
    cycle: CycleAnswer
    fixes: StatementFixes
    money: StatementMoney
    written_at: datetime


class StatementList(Listing):
    """Newest first."""

    data: list[StatementSummary]


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
