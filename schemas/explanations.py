"""Why a fix or a charge costs what it costs, in words and in numbers that add up."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from schemas.answers import Answer
from schemas.contests import ContestAnswer
from schemas.money import Money


class Step(Answer):
    """One line of the arithmetic. What is below 0 comes back to the customer."""

    text: str
    credits: int | None = None
    money: Money | None = None


class Net(Answer):
    """The sum of the steps: what it costs the customer in the end."""

    text: str
    credits: int
    money: Money | None = Field(description="Null for a customer who is not known yet.")


class EventExplained(Answer):
    """What a producer said, and what we made of it."""

    event_id: str | None = Field(description="Null where the event could not be read.")
    source: str | None
    type: str | None
    door: str = Field(description="How it came in: http, redis, celery, replay, contest …")
    key_id: str | None = Field(description="Of the producer's key that signed it, if one did.")
    trace_id: str | None
    happened_at: datetime | None = Field(description="When the fix was deployed or taken back.")
    accepted_at: datetime = Field(description="When the inbox took it; wall time, as `recorded`.")
    recorded_at: datetime | None = Field(description="When it was settled; null while it waits.")
    verdict: str
    text: str = Field(description="The verdict in words: first of its fix, duplicate of …")


class PlanExplained(Answer):
    code: str
    title: str
    version: date
    price_per_fix: Money | None = Field(description="Of a fix without a credit; null: none.")


class CycleExplained(Answer):
    """In which cycle the fix counts, and why."""

    number: int
    start: datetime
    end: datetime
    late: bool
    text: str


class GrantExplained(Answer):
    """The grant whose credit paid, or that a fix earned when it was taken back."""

    grant_id: str
    source: str
    origin: str | None = Field(description="What it came from: a grant, a charge, an invoice.")
    given_at: datetime
    expires_at: datetime | None
    priority: int = Field(description="Lower is used first.")
    text: str = Field(description="Why it was this one.")


class TransferExplained(Answer):
    """One row of the ledger: docs/ledger.md says how its hash is computed, and from what."""

    seq: int
    kind: str
    from_account: str
    to_account: str
    credits: int | None = None
    money: Money | None = None
    source_key: str
    fix_id: str | None
    grant_id: str | None
    charge_id: str | None
    cycle: int
    happened_at: datetime
    recorded_at: datetime
    previous_hash: str | None = Field(description="Of the customer's transfer before, in hex.")
    hash: str


class AttemptExplained(Answer):
    number: int
    why: str
    started_at: datetime
    answered_at: datetime | None
    answer: str | None = Field(description="Stripe's, as we class it; null while it is not known.")
    code: str | None
    message: str | None
    payment_intent: str | None


class RefundExplained(Answer):
    refund_id: str
    stripe_refund: str | None
    fix_id: str | None = Field(description="The one fix it is for; null: the charge as a whole.")
    money: Money
    own_money: Money = Field(description="Of it: the customer's own money that was with us.")
    status: str
    requested_at: datetime
    reason: str | None


class DisputeExplained(Answer):
    dispute_id: str
    money: Money
    status: str = Field(description="Stripe's word.")
    funds: str = Field(description="Where the money is: ours, withdrawn, won or lost.")
    reason: str | None
    opened_at: datetime


class Collected(Answer):
    """How a charge was collected, and what went back of it."""

    charge_id: str
    status: str
    amount: Money = Field(description="Of its lines; of those it had when it was frozen.")
    dropped: Money = Field(description="The part that left it after that.")
    own_money: Money = Field(description="The part that the customer's money with us paid.")
    asked: Money = Field(description="What the card was asked for.")
    owed: Money = Field(description="What is still to be paid of it.")
    opened_at: datetime
    due_at: datetime | None
    frozen_at: datetime | None
    paid_at: datetime | None
    payment_intent: str | None
    attempts: list[AttemptExplained]
    refunds: list[RefundExplained]
    disputes: list[DisputeExplained]


Chain = Literal["ok", "broken"]


class FixExplanation(Answer):
    """From the event to the card, and what the customer pays for this fix in the end."""

    customer_id: str
    fix_id: str
    as_of: datetime | None = Field(
        description="Everything accepted before it is included; null for an unknown customer."
    )
    status: Literal["credited", "charged", "held", "reverted", "waiting", "quarantined"]
    text: str = Field(description="The answer in one sentence.")
    story: list[str] = Field(
        description="At length: events, plan, cycle, what paid, attempts, what came back, contests."
    )
    repository: str | None
    commit_sha: str | None
    pull_request: int | None
    finding: str | None
    deployed_at: datetime | None
    settled_at: datetime | None
    held_why: str | None
    events: list[EventExplained] = Field(description="As they came in; the newest hundred.")
    plan: PlanExplained | None
    cycle: CycleExplained | None
    grants: list[GrantExplained]
    charge: Collected | None
    contests: list[ContestAnswer]
    steps: list[Step] = Field(description="They add up to `net`.")
    net: Net
    transfers: list[TransferExplained]
    chain: Chain = Field(description="ok: every hash recomputes from its row and the one before.")


class LineExplained(Answer):
    fix_id: str
    price: Money
    added_at: datetime
    removed_at: datetime | None = Field(description="When the fix was taken back, unpaid.")


class LinesExplained(Answer):
    """All lines of a charge in numbers."""

    count: int
    money: Money
    removed: int = Field(description="Of them, taken back before they were paid.")
    removed_money: Money
    not_shown: int = Field(description="How many more there are than `lines` shows.")
    not_shown_money: Money


class ChargeExplanation(Answer):
    """What a charge is made of, how it was collected, and what stays of it."""

    customer_id: str
    charge_id: str
    as_of: datetime | None
    text: str = Field(description="The answer in one sentence.")
    story: list[str] = Field(
        description="At length: lines, amount, attempts, payment, what came back."
    )
    lines: list[LineExplained] = Field(description="The first 1,000, in the order of fix ids.")
    all_lines: LinesExplained
    collected: Collected
    steps: list[Step] = Field(description="They add up to `net`.")
    net: Net
    transfers: list[TransferExplained] = Field(
        description="Of the charge, and those that its shown lines made."
    )
    chain: Chain = Field(description="ok: every hash recomputes from its row and the one before.")
