"""What to do with a charge after an answer, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from worker.billing.answers import Answer, AnswerKind, is_hard
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus, Why
from worker.billing.cycles import CLOSING, COLLECTED_WITHIN, spread
from worker.billing.policy import Policy

# In these states an answer is waited for.
UNDER_WAY = (ChargeStatus.FROZEN, ChargeStatus.WITHDRAWING)

# After an unknown outcome, or "too many requests": the first pause, and the longest.
ASK_AGAIN = timedelta(seconds=5), timedelta(hours=1)
COME_BACK = timedelta(seconds=15), timedelta(minutes=5)


class Step(NamedTuple):
    """Where a charge goes from here. Without `due_at` nothing more happens by itself."""

    status: ChargeStatus
    due_at: datetime | None
    answered: bool  # the attempt is over
    past_due: bool | None = None  # what this makes of the customer; None: no change


def next_step(charge: Charge, answer: Answer, policy: Policy, now: datetime) -> Step:
    """The pure rule over (charge, answer). Waiting uses up no try."""
    if answer.kind is AnswerKind.SUCCEEDED:
        return Step(ChargeStatus.PAID, None, answered=True, past_due=False)
    if answer.kind is AnswerKind.OUR_BUG:
        return Step(ChargeStatus.PARKED, None, answered=True)
    if charge.status not in UNDER_WAY:
        return Step(charge.status, charge.due_at, answered=False)  # late news of a closed attempt
    if answer.kind is AnswerKind.LATER:
        return Step(charge.status, now + pause(charge, *COME_BACK), answered=False)
    if answer.kind in (AnswerKind.UNKNOWN, AnswerKind.READY):
        return Step(charge.status, now + pause(charge, *ASK_AGAIN), answered=False)
    if charge.status is ChargeStatus.WITHDRAWING:
        return after_withdrawal(charge, answer, now)
    if answer.kind is AnswerKind.NEEDS_CUSTOMER:
        return Step(ChargeStatus.ACTION_REQUIRED, None, answered=True, past_due=True)
    if answer.kind is AnswerKind.DECLINED:
        return after_decline(charge, answer, policy, now)
    return Step(ChargeStatus.PARKED, None, answered=True)  # someone cancelled it at Stripe


def after_withdrawal(charge: Charge, answer: Answer, now: datetime) -> Step:
    """Only an intent that is cancelled for good makes room for another one."""
    if answer.kind is AnswerKind.CANCELED:
        return Step(ChargeStatus.VOID, None, answered=True)
    return Step(charge.status, now, answered=True)


def after_decline(charge: Charge, answer: Answer, policy: Policy, now: datetime) -> Step:
    scheduled = charge.due_why is Why.SCHEDULED
    tries = max(1, charge.tries + scheduled)
    failed_at = charge.declined_at or now
    due_at = None if is_hard(answer) else retry_at(failed_at, tries, policy, now, scheduled)
    past_due = True if due_at is None else None
    return Step(ChargeStatus.DECLINED, due_at, answered=True, past_due=past_due)


def due_at(book: Book, now: datetime) -> datetime:
    """When a charge that is opened now is to be collected.

    Once a cycle is once it is closed; spread, so that new charges need not stand behind a crowd.
    """
    if book.policy.collect == "at_once":
        return now
    return book.cycle_end + CLOSING + spread(book.customer_id, COLLECTED_WITHIN)


def retry_at(
    declined_at: datetime, tries: int, policy: Policy, now: datetime, scheduled: bool = True
) -> datetime | None:
    """When the next scheduled try is due, `tries` of them having failed; None after the last.

    One that came late moves the next: what was missed is not caught up in a burst. An attempt
    beside the schedule moves nothing.
    """
    if tries > len(policy.retry_days):
        return None
    day = policy.retry_days[tries - 1]
    gap = timedelta(days=day - (policy.retry_days[tries - 2] if tries > 1 else 0))
    planned = declined_at + timedelta(days=day)
    room = gap / 2 if scheduled else timedelta(0)
    return planned if planned - now > room else now + gap


def doubled(waits: int, first: timedelta, longest: timedelta) -> timedelta:
    """The pause after so many in vain."""
    grown: timedelta = first * 2 ** min(waits, 20)
    return min(grown, longest)


def pause(charge: Charge, first: timedelta, longest: timedelta) -> timedelta:
    """Twice as long each time, up to the longest; spread over half of it so that a crowd parts."""
    whole = doubled(charge.waits, first, longest)
    seed = sha256(f"{charge.charge_id} {charge.waits}".encode()).digest()[0]
    return whole * (0.5 + seed / 510)
