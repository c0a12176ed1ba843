"""How a charge was collected, as values and in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from schemas.explanations import AttemptExplained, Collected, DisputeExplained, RefundExplained
from schemas.money import Money
from worker.billing.answers import AnswerKind
from worker.billing.charges import Charge, ChargeStatus, Why
from worker.billing.disputes import Dispute, Funds
from worker.billing.refunds import Refund, RefundStatus
from worker.storage.collection import Collection, Tried
from worker.usage.arithmetic import owed_of

WHY = {
    Why.SCHEDULED: "on schedule",
    Why.MANUAL: "by the customer, through a link",
    Why.NEW_CARD: "because there was a new card",
    Why.OPERATOR: "at the operator's wish",
}
ANSWERS = {
    AnswerKind.SUCCEEDED: "the money was collected",
    AnswerKind.READY: "nothing was asked of the bank yet",
    AnswerKind.UNKNOWN: "Stripe gave no final answer",
    AnswerKind.LATER: "Stripe asked us to come back later",
    AnswerKind.DECLINED: "the bank declined",
    AnswerKind.NEEDS_CUSTOMER: "the bank wants the customer to authenticate",
    AnswerKind.CANCELED: "the payment was cancelled",
    AnswerKind.OUR_BUG: "Stripe did not take the request",
}
REFUNDS = {
    RefundStatus.REQUESTED: "asked for, not on its way yet",
    RefundStatus.PENDING: "on its way",
    RefundStatus.SUCCEEDED: "went back to the card",
    RefundStatus.FAILED: "the bank would not take it, so nothing went back",
    RefundStatus.REFUSED: "Stripe did not make it, so nothing went back",
}
FUNDS = {
    Funds.OURS: "only an inquiry: the money is with us",
    Funds.WITHDRAWN: "the bank has the money until it decides",
    Funds.WON: "the bank gave the money back to us",
    Funds.LOST: "the bank gave the money to the cardholder",
}
STANDS = {
    ChargeStatus.OPEN: "it is open and takes more fixes",
    ChargeStatus.FROZEN: "it is being collected",
    ChargeStatus.DECLINED: "the bank declined, and it is owed",
    ChargeStatus.ACTION_REQUIRED: "the customer must authenticate the payment",
    ChargeStatus.PARKED: "something is wrong on our side, and a person looks at it",
    ChargeStatus.WITHDRAWING: "a fix left it, so its payment is cancelled before another is made",
    ChargeStatus.PAID: "it is paid",
    ChargeStatus.VOID: "nothing is owed of it any more",
}


def when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def collected(collection: Collection, returned: Sequence[Refund]) -> Collected:
    """`returned` are the refunds that matter here."""
    charge, currency = collection.charge, collection.charge.currency
    return Collected(
        charge_id=charge.charge_id,
        status=charge.status,
        amount=Money(charge.amount, currency),
        dropped=Money(charge.dropped, currency),
        own_money=Money(charge.applied, currency),
        asked=charge.asked,
        owed=owed_of(collection),
        opened_at=charge.opened_at,
        due_at=charge.due_at,
        frozen_at=charge.frozen_at,
        paid_at=charge.paid_at,
        payment_intent=charge.payment_intent,
        attempts=[AttemptExplained(**each._asdict()) for each in collection.attempts],
        refunds=[refund_explained(each) for each in returned],
        disputes=[dispute_explained(each) for each in collection.disputes],
    )


def refund_explained(refund: Refund) -> RefundExplained:
    return RefundExplained(
        refund_id=refund.refund_id,
        stripe_refund=refund.stripe_refund,
        fix_id=refund.fix_id,
        money=Money(refund.amount, refund.currency),
        own_money=Money(refund.from_unapplied, refund.currency),
        status=refund.status,
        requested_at=refund.requested_at,
        reason=refund.reason,
    )


def dispute_explained(dispute: Dispute) -> DisputeExplained:
    return DisputeExplained(
        dispute_id=dispute.dispute_id,
        money=Money(dispute.amount, dispute.currency),
        status=dispute.status,
        funds=dispute.funds,
        reason=dispute.reason,
        opened_at=dispute.opened_at,
    )


def collecting_story(collection: Collection, returned: Sequence[Refund]) -> Iterator[str]:
    """From freezing to what came back, a sentence for each thing that happened."""
    charge = collection.charge
    yield from frozen_story(charge)
    for tried in collection.attempts:
        yield attempt_told(tried)
    yield standing_told(charge)
    for refund in returned:
        yield refund_told(refund)
    for dispute in collection.disputes:
        yield dispute_told(dispute)


def frozen_story(charge: Charge) -> Iterator[str]:
    currency = charge.currency
    if charge.frozen_at is not None:
        amount = Money(charge.amount, currency)
        yield f"{charge.charge_id} was fixed at {amount} on {when(charge.frozen_at)}."
    if charge.applied:
        yield f"{Money(charge.applied, currency)} of it the customer's own money with us paid."
    if charge.asked_amount:
        yield f"The card was asked for {charge.asked}."
    if charge.dropped:
        left = Money(charge.dropped, currency)
        yield (
            f"Later {left} of it left {charge.charge_id}: taken back, or moved to the next charge."
        )


def attempt_told(tried: Tried) -> str:
    succeeded = tried.answer == AnswerKind.SUCCEEDED
    answer = ANSWERS[AnswerKind(tried.answer)] if tried.answer else "not answered yet"
    details = [each for each in (tried.code, tried.message) if each and not succeeded]
    intent = f" ({tried.payment_intent})" if tried.payment_intent else ""
    told = f"Attempt {tried.number}, {WHY[Why(tried.why)]}, {when(tried.started_at)}: {answer}"
    return told + intent + (f": {', '.join(details)}" if details else "") + "."


def standing_told(charge: Charge) -> str:
    how = STANDS[charge.status]
    if charge.status is ChargeStatus.PAID and charge.paid_at is not None:
        paid_by = charge.payment_intent or "the customer's own money with us"
        how = f"it was paid on {when(charge.paid_at)} by {paid_by}"
    due = f"; it is due on {when(charge.due_at)}" if charge.due_at else ""
    return f"{charge.charge_id}: {how}{due}."


def refund_told(refund: Refund) -> str:
    money, own = (Money(each, refund.currency) for each in (refund.amount, refund.from_unapplied))
    about = f" for {refund.fix_id}" if refund.fix_id else ""
    part = f"; {own} of it was the customer's own money with us" if own.amount else ""
    name = refund.stripe_refund or refund.refund_id
    return f"Refund {name} of {money}{about}: {REFUNDS[refund.status]}{part}."


def dispute_told(dispute: Dispute) -> str:
    money = Money(dispute.amount, dispute.currency)
    return f"Dispute {dispute.dispute_id} of {money}: {FUNDS[Funds(dispute.funds)]}."
