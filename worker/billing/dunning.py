"""What to do with a charge after an answer, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from worker.billing.answers import Answer, AnswerKind, is_hard
from worker.billing.charges import Charge, ChargeStatus

ASK_AGAIN = timedelta(seconds=10)  # after an unknown outcome
COME_BACK = timedelta(seconds=15)  # after "too many requests"


class Policy(NamedTuple):
    """When a declined charge is tried again: days after it was frozen."""

    retry_days: tuple[int, ...] = (1, 3, 5, 7)


class Step(NamedTuple):
    """Where a charge goes from here. Without `due_at` nothing more happens by itself."""

    status: ChargeStatus
    due_at: datetime | None
    answered: bool  # the attempt is over
    past_due: bool | None = None  # what this makes of the customer; None: no change


def next_step(
    charge: Charge, attempt_number: int, answer: Answer, policy: Policy, now: datetime
) -> Step:
    """The pure rule over (charge, attempt, answer). Waiting uses up no attempt."""
    if answer.kind is AnswerKind.SUCCEEDED:
        if answer.money != charge.money:
            return Step(ChargeStatus.PARKED, None, answered=True)
        return Step(ChargeStatus.PAID, None, answered=True, past_due=False)
    if answer.kind in (AnswerKind.UNKNOWN, AnswerKind.READY):
        return Step(charge.status, now + ASK_AGAIN, answered=False)
    if answer.kind is AnswerKind.LATER:
        return Step(charge.status, now + COME_BACK, answered=False)
    if answer.kind is AnswerKind.NEEDS_CUSTOMER:
        return Step(ChargeStatus.ACTION_REQUIRED, None, answered=True, past_due=True)
    if answer.kind is AnswerKind.DECLINED:
        return after_decline(charge, attempt_number, answer, policy)
    return Step(ChargeStatus.PARKED, None, answered=True)


def after_decline(charge: Charge, attempt_number: int, answer: Answer, policy: Policy) -> Step:
    out_of_tries = attempt_number > len(policy.retry_days)
    if is_hard(answer) or out_of_tries or charge.frozen_at is None:
        return Step(ChargeStatus.DECLINED, None, answered=True, past_due=True)
    due_at = charge.frozen_at + timedelta(days=policy.retry_days[attempt_number - 1])
    return Step(ChargeStatus.DECLINED, due_at, answered=True)
