from __future__ import annotations

from datetime import datetime

import pytest

from tests.builders import DAY, HOUR, NOW, charge, usd
from worker.billing.answers import HARD_DECLINES, Answer, AnswerKind, classify
from worker.billing.charges import ChargeStatus
from worker.billing.dunning import ASK_AGAIN, COME_BACK, Policy, Step, next_step

S = ChargeStatus
K = AnswerKind
FROZEN = NOW - HOUR  # when the charge of these tests was frozen
SOFT = Answer(K.DECLINED, "pi_1", code="insufficient_funds")

STEPS: dict[str, tuple[ChargeStatus, int, Answer, Step]] = {
    "paid": (
        S.FROZEN, 1, Answer(K.SUCCEEDED, "pi_1", usd(29)),
        Step(S.PAID, None, answered=True, past_due=False),
    ),
    "paid at the third try": (
        S.DECLINED, 3, Answer(K.SUCCEEDED, "pi_1", usd(29)),
        Step(S.PAID, None, answered=True, past_due=False),
    ),
    "paid by the customer": (
        S.ACTION_REQUIRED, 1, Answer(K.SUCCEEDED, "pi_1", usd(29)),
        Step(S.PAID, None, answered=True, past_due=False),
    ),
    "paid another amount": (
        S.FROZEN, 1, Answer(K.SUCCEEDED, "pi_1", usd(29, 1)),
        Step(S.PARKED, None, answered=True),
    ),
    "paid without saying how much": (
        S.FROZEN, 1, Answer(K.SUCCEEDED, "pi_1"),
        Step(S.PARKED, None, answered=True),
    ),
    "unknown": (
        S.FROZEN, 1, Answer(K.UNKNOWN),
        Step(S.FROZEN, NOW + ASK_AGAIN, answered=False),
    ),
    "unknown at the fourth try": (
        S.DECLINED, 4, Answer(K.UNKNOWN),
        Step(S.DECLINED, NOW + ASK_AGAIN, answered=False),
    ),
    "ready, not confirmed": (
        S.FROZEN, 1, Answer(K.READY, "pi_1"),
        Step(S.FROZEN, NOW + ASK_AGAIN, answered=False),
    ),
    "too many requests": (
        S.FROZEN, 1, Answer(K.LATER),
        Step(S.FROZEN, NOW + COME_BACK, answered=False),
    ),
    "too many requests at the last try": (
        S.DECLINED, 5, Answer(K.LATER),
        Step(S.DECLINED, NOW + COME_BACK, answered=False),
    ),
    "the customer must authenticate": (
        S.FROZEN, 1, Answer(K.NEEDS_CUSTOMER, "pi_1"),
        Step(S.ACTION_REQUIRED, None, answered=True, past_due=True),
    ),
    "our bug": (S.FROZEN, 1, Answer(K.OUR_BUG), Step(S.PARKED, None, answered=True)),
    "canceled": (S.FROZEN, 1, Answer(K.CANCELED, "pi_1"), Step(S.PARKED, None, answered=True)),
    "declined, first": (S.FROZEN, 1, SOFT, Step(S.DECLINED, FROZEN + 1 * DAY, answered=True)),
    "declined, second": (S.DECLINED, 2, SOFT, Step(S.DECLINED, FROZEN + 3 * DAY, answered=True)),
    "declined, third": (S.DECLINED, 3, SOFT, Step(S.DECLINED, FROZEN + 5 * DAY, answered=True)),
    "declined, fourth": (S.DECLINED, 4, SOFT, Step(S.DECLINED, FROZEN + 7 * DAY, answered=True)),
    "declined, last": (
        S.DECLINED, 5, SOFT,
        Step(S.DECLINED, None, answered=True, past_due=True),
    ),
    "declined beyond the last": (
        S.DECLINED, 6, SOFT,
        Step(S.DECLINED, None, answered=True, past_due=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("status", "number", "answer", "step"), STEPS.values(), ids=STEPS)
def test_every_answer_leads_somewhere(
    status: ChargeStatus, number: int, answer: Answer, step: Step
) -> None:
    under_way = charge(2900, status)

    taken = next_step(under_way, number, answer, Policy(), NOW)

    assert taken == step


@pytest.mark.parametrize("code", sorted(HARD_DECLINES))
@pytest.mark.parametrize("number", [1, 5])
def test_a_hard_decline_is_never_tried_again(code: str, number: int) -> None:
    answer = Answer(K.DECLINED, "pi_1", code=code)

    taken = next_step(charge(2900, S.FROZEN), number, answer, Policy(), NOW)

    assert taken == Step(S.DECLINED, None, answered=True, past_due=True)


def test_a_decline_that_advises_against_another_try_is_never_tried_again() -> None:
    error = {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "generic_decline",
        "advice_code": "do_not_try_again",
    }

    taken = next_step(charge(2900, S.FROZEN), 1, classify(402, {"error": error}), Policy(), NOW)

    assert taken == Step(S.DECLINED, None, answered=True, past_due=True)


@pytest.mark.parametrize("now", [NOW, NOW + 40 * DAY], ids=["at once", "learnt late"])
def test_tries_are_counted_from_the_day_the_charge_was_frozen(now: datetime) -> None:
    frozen = charge(2900, S.FROZEN)

    taken = next_step(frozen, 2, SOFT, Policy(), now)

    assert taken.due_at == FROZEN + 3 * DAY


def test_a_policy_without_tries_gives_up_at_once() -> None:
    never_again = Policy(())

    taken = next_step(charge(2900, S.FROZEN), 1, SOFT, never_again, NOW)

    assert taken == Step(S.DECLINED, None, answered=True, past_due=True)
