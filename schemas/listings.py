"""What lists of a customer's rows answer, and the small answers beside them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from schemas.answers import Answer, BalanceAnswer, Listing, Transaction
from schemas.money import Money

LEFT_OUT = (
    "How many older ones there are of a list that is too long to be shown whole, by its name."
)

Outcome = Literal["credited", "charged", "held", "reverted"]
Status = Literal[
    "open", "frozen", "declined", "action_required", "parked", "withdrawing", "paid", "void"
]


class TransactionList(Listing):
    """Newest first. With a filter a page may hold fewer than `limit`, or none, before the last."""

    data: list[Transaction]


class Balance(BalanceAnswer):
    as_of: datetime = Field(description="Everything accepted before it is included.")


class Entitlement(Answer):
    """What would happen to a fix that is deployed now."""

    customer_id: str
    as_of: datetime = Field(description="Everything accepted before it is included.")
    pays_by: Literal["credit", "money", "nothing"] = Field(
        description="nothing: the fix would be held until something can pay for it."
    )
    price: Money | None = Field(description="What it would cost; null unless money pays.")
    why_not: str | None = Field(description="Why it would be held; null if it would be paid.")
    credits_left: int
    covered: int | None = Field(
        description="So many more fixes are paid before one is held; null: there is no end to it."
    )


class FixAnswer(Answer):
    """A fix, and what became of it."""

    customer_id: str
    fix_id: str
    outcome: Outcome
    held_why: str | None = Field(description="What it waits for, while it is held.")
    price: Money | None = Field(description="What it costs in money; null unless it is charged.")
    repository: str
    commit_sha: str
    pull_request: int | None
    finding: str | None
    deployed_at: datetime
    recorded_at: datetime
    settled_at: datetime | None = Field(description="When it was paid or taken back.")
    cycle_start: datetime = Field(description="Of the cycle in which it counts.")
    late: bool = Field(description="It came when the cycle of its deployment was over.")
    plan: str
    plan_version: date
    grant_id: str | None = Field(description="The credits that paid for it.")
    charge_id: str | None = Field(description="The charge it went to, also if it was taken back.")


class FixList(Listing):
    """Newest deployment first. With a filter a page may hold fewer than `limit` before the last."""

    data: list[FixAnswer]


class FixEvent(Answer):
    """One event about a fix, and what it did."""

    source: str
    event_id: str
    type: str
    verdict: str = Field(description="duplicate: the fix was known, so nothing was billed.")
    door: str = Field(description="How it came in.")
    happened_at: datetime
    accepted_at: datetime
    recorded_at: datetime


class ChargeLine(Answer):
    """A fix on a charge, at the price it was settled at."""

    fix_id: str
    price: Money
    added_at: datetime
    removed_at: datetime | None = Field(description="When it was reverted before it was paid.")


class ChargeAttempt(Answer):
    """One try to collect a charge, and what Stripe said."""

    number: int
    why: Literal["scheduled", "manual", "new_card", "operator"]
    answer: str | None = Field(description="Null while it is under way.")
    code: str | None
    message: str | None
    payment_intent: str | None
    started_at: datetime
    answered_at: datetime | None


class ChargeRefund(Answer):
    """Money of a charge that goes back to the card."""

    refund_id: str
    status: Literal["requested", "pending", "succeeded", "failed", "refused"]
    amount: Money
    fix_id: str | None = Field(description="The one fix it is for; null: for the charge.")
    reason: str | None
    code: str | None
    stripe_refund: str | None
    requested_at: datetime


class ChargeDispute(Answer):
    """A bank questions what paid for a charge."""

    dispute_id: str
    status: str = Field(description="As Stripe says.")
    funds: Literal["ours", "withdrawn", "won", "lost"] = Field(description="Where the money is.")
    amount: Money
    reason: str | None
    opened_at: datetime


class ChargeAnswer(Answer):
    """Money to collect, and how far that has come."""

    customer_id: str
    charge_id: str
    status: Status
    amount: Money = Field(description="Of its lines.")
    applied: Money = Field(description="What the customer's own money paid of it.")
    returned: Money = Field(description="What went back to the card.")
    payment_intent: str | None = Field(description="Stripe's id of the payment.")
    decline: str | None = Field(description="The code of the newest attempt, if that failed.")
    opened_at: datetime
    due_at: datetime | None = Field(description="When it is collected next; null: not by itself.")
    paid_at: datetime | None


class ChargeList(Listing):
    """Newest first. With a filter a page may hold fewer than `limit`, or none, before the last."""

    data: list[ChargeAnswer]


class ChargeCollection(ChargeAnswer):
    """A charge and all that was done to collect it, oldest first."""

    attempts: list[ChargeAttempt]
    refunds: list[ChargeRefund]
    disputes: list[ChargeDispute]
    left_out: dict[str, int] = Field(description=LEFT_OUT)


class ChargeDetail(ChargeCollection):
    lines: list[ChargeLine]


class ChargeReport(ChargeDetail):
    as_of: datetime = Field(description="Everything accepted before it is included.")


class FixHistory(FixAnswer):
    """A fix with every event about it, and how the charge it went to was collected."""

    as_of: datetime = Field(description="Everything accepted before it is included.")
    events: list[FixEvent] = Field(description="Oldest first.")
    charge: ChargeCollection | None = Field(
        description="Its refunds are those of this fix and of the charge as a whole."
    )
    left_out: dict[str, int] = Field(description=LEFT_OUT)


class QuarantineEntry(Answer):
    """An entry that could not be settled, and why."""

    quarantine_id: str
    reason: str
    detail: str
    source: str | None
    event_id: str | None
    fix_id: str | None = Field(description="If it could be read.")
    accepted_at: datetime
    replayed_at: datetime | None = Field(description="When an operator had it settled again.")


class QuarantineList(Listing):
    """Newest first."""

    data: list[QuarantineEntry]
