"""After an answer: where a charge goes, when it is tried again, and when never."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import DAY, HOUR, MINUTE, NOW, book, charge, journal, usd
from worker.billing.answers import HARD_DECLINES, Answer, AnswerKind, classify
from worker.billing.charges import IN_FLIGHT, TRANSITIONS, Charge, ChargeStatus, Why
from worker.billing.cycles import CLOSING, COLLECTED_WITHIN
from worker.billing.dunning import (
    ASK_AGAIN,
    COME_BACK,
    Step,
    due_at,
    next_step,
    pause,
    retry_at,
)
from worker.billing.payments import take_step
from worker.billing.policy import AT_ONCE, Policy

S = ChargeStatus
K = AnswerKind
THANKS = Answer(K.SUCCEEDED, "pi_1", usd(29))
SOFT = Answer(K.DECLINED, "pi_1", code="insufficient_funds")
PAID = Step(S.PAID, None, answered=True, past_due=False)
PARKED = Step(S.PARKED, None, answered=True)
GIVEN_UP = Step(S.DECLINED, None, answered=True, past_due=True)
BESIDE_THE_SCHEDULE = [each for each in Why if each is not Why.SCHEDULED]

STEPS: dict[str, tuple[ChargeStatus, Answer, Step]] = {
    "paid": (S.FROZEN, THANKS, PAID),
    "paid after all": (S.DECLINED, THANKS, PAID),
    "paid by the customer": (S.ACTION_REQUIRED, THANKS, PAID),
    "paid while an operator looked": (S.PARKED, THANKS, PAID),
    "paid before it was withdrawn": (S.WITHDRAWING, THANKS, PAID),
    "declined": (S.FROZEN, SOFT, Step(S.DECLINED, NOW + DAY, answered=True)),
    "the customer must authenticate": (
        S.FROZEN,
        Answer(K.NEEDS_CUSTOMER, "pi_1"),
        Step(S.ACTION_REQUIRED, None, answered=True, past_due=True),
    ),
    "our bug": (S.FROZEN, Answer(K.OUR_BUG), PARKED),
    "our bug at a withdrawal": (S.WITHDRAWING, Answer(K.OUR_BUG), PARKED),
    "canceled by someone": (S.FROZEN, Answer(K.CANCELED, "pi_1"), PARKED),
    "canceled by us": (
        S.WITHDRAWING,
        Answer(K.CANCELED, "pi_1"),
        Step(S.VOID, None, answered=True),
    ),
    "declined before it was withdrawn": (
        S.WITHDRAWING,
        SOFT,
        Step(S.WITHDRAWING, NOW, answered=True),
    ),
    "authentication wanted before it was withdrawn": (
        S.WITHDRAWING,
        Answer(K.NEEDS_CUSTOMER, "pi_1"),
        Step(S.WITHDRAWING, NOW, answered=True),
    ),
}


@pytest.mark.parametrize(("status", "answer", "step"), STEPS.values(), ids=STEPS)
def test_every_answer_leads_somewhere(status: ChargeStatus, answer: Answer, step: Step) -> None:
    under_way = charge(2900, status)

    taken = next_step(under_way, answer, AT_ONCE, NOW)

    assert taken == step


@pytest.mark.parametrize("status", IN_FLIGHT)
@pytest.mark.parametrize("kind", K)
def test_no_answer_leads_where_a_charge_may_not_go(status: ChargeStatus, kind: AnswerKind) -> None:
    owed = charge(2900, status)

    step = next_step(owed, Answer(kind, "pi_1"), AT_ONCE, NOW)

    assert step.status in (status, *TRANSITIONS[status])


AT_REST: dict[str, Charge] = {
    "to be tried again": charge(2900, S.DECLINED, due_at=NOW + 2 * DAY),
    "to be tried at once": charge(2900, S.DECLINED, due_at=NOW, due_why=Why.OPERATOR),
    "declined for good": charge(2900, S.DECLINED, due_at=None),
    "the customer must act": charge(2900, S.ACTION_REQUIRED, due_at=None),
    "parked": charge(2900, S.PARKED, due_at=None),
}


@pytest.mark.parametrize("owed", AT_REST.values(), ids=AT_REST)
@pytest.mark.parametrize("kind", sorted({*K} - {K.SUCCEEDED, K.OUR_BUG}))
def test_late_news_of_an_attempt_that_is_over_changes_nothing(
    owed: Charge, kind: AnswerKind
) -> None:
    owed = replace(owed, waits=2, tries=3, declined_at=NOW - DAY, payment_intent="pi_1")
    standing, before = book(receivable=2900, revenue=-2900), replace(owed)

    step = next_step(owed, Answer(kind, "pi_1"), AT_ONCE, NOW)
    take_step(journal(standing), standing, owed, step, Answer(kind, "pi_1"))

    assert owed == before
    assert (step.answered, standing.past_due) == (False, False)


def declined(
    owed: Charge, now: datetime, why: Why = Why.SCHEDULED, policy: Policy = AT_ONCE
) -> Charge:
    """One more attempt that the bank refused."""
    owed.status, owed.due_why = S.FROZEN, why
    standing = book(receivable=owed.amount, revenue=-owed.amount)
    step = next_step(owed, SOFT, policy, now)
    take_step(journal(standing, now=now), standing, owed, step, SOFT)
    return owed


def days_of_tries(first_failure: datetime, days: tuple[int, ...]) -> list[float]:
    """The days after the first failure on which a charge is tried again, on time."""
    policy, tried = Policy(retry_days=days), []
    owed = declined(charge(), first_failure, policy=policy)
    while owed.due_at is not None:
        tried.append((owed.due_at - first_failure) / DAY)
        declined(owed, owed.due_at, policy=policy)
    return tried


@pytest.mark.parametrize("days", [(1, 3, 5, 7), (2,), (1, 2, 3, 30), ()], ids=str)
def test_a_charge_is_tried_on_the_days_of_its_policy_after_the_first_failure(
    days: tuple[int, ...],
) -> None:
    first_failure = NOW

    tried = days_of_tries(first_failure, days)

    assert tried == list(days)


def test_after_the_last_try_the_customer_is_past_due() -> None:
    last = charge(2900, S.FROZEN, tries=4, declined_at=NOW - 7 * DAY)

    taken = next_step(last, SOFT, AT_ONCE, NOW)

    assert taken == GIVEN_UP


def test_after_a_standstill_of_weeks_nothing_is_caught_up_in_a_burst() -> None:
    standstill = 3 * 7 * DAY

    owed = declined(charge(), NOW)
    first = declined(owed, NOW + standstill).due_at
    second = declined(owed, NOW + standstill + 2 * DAY).due_at
    third = declined(owed, NOW + standstill + 4 * DAY).due_at

    assert (first, second) == (NOW + standstill + 2 * DAY, NOW + standstill + 4 * DAY)
    assert third == NOW + standstill + 6 * DAY


GAPS: dict[str, tuple[float, bool, float]] = {
    "on time": (1, True, 3),
    "a little late": (1.9, True, 3),
    "half a gap late": (2, True, 4),
    "almost a gap late": (2.9, True, 4.9),
    "later than the next": (9, True, 11),
    "beside the schedule, shortly before": (2.9, False, 3),
    "beside the schedule, at its very moment": (3, False, 5),
}


@pytest.mark.parametrize(("at", "scheduled", "due"), GAPS.values(), ids=GAPS)
def test_a_try_that_came_late_keeps_its_distance_from_the_next(
    at: float, scheduled: bool, due: float
) -> None:
    tried = NOW + at * DAY

    following = retry_at(NOW, 2, AT_ONCE, tried, scheduled)

    assert following == NOW + due * DAY


@settings(max_examples=100)
@given(st.integers(1, 4), st.floats(0, 40))
def test_two_scheduled_tries_are_never_closer_than_half_of_what_the_schedule_has(
    tries: int, day: float
) -> None:
    tried = NOW + day * DAY
    gap = (AT_ONCE.retry_days[tries - 1] - (0, *AT_ONCE.retry_days)[tries - 1]) * DAY

    following = retry_at(NOW, tries, AT_ONCE, tried)

    assert following is not None
    assert following - tried >= gap / 2


@settings(max_examples=100)
@given(st.lists(st.integers(0, 60 * 24), min_size=5, max_size=5))
def test_however_late_the_tries_are_there_are_no_more_of_them(hours_late: list[int]) -> None:
    owed, tries = declined(charge(), NOW), 1

    for hours in hours_late:
        if owed.due_at is None:
            break
        now = owed.due_at + hours * HOUR
        declined(owed, now)
        tries += 1
        assert owed.due_at is None or owed.due_at > now

    assert (tries, owed.due_at) == (5, None)


@pytest.mark.parametrize("why", BESIDE_THE_SCHEDULE)
@pytest.mark.parametrize(("tries", "due"), [(1, 1), (2, 3), (4, 7)])
def test_an_attempt_beside_the_schedule_uses_up_no_try(why: Why, tries: int, due: int) -> None:
    failed = charge(2900, S.DECLINED, tries=tries, declined_at=NOW)

    declined(failed, NOW + (due - 1) * DAY + HOUR, why)

    assert (failed.tries, failed.due_at) == (tries, NOW + due * DAY)


@pytest.mark.parametrize("why", BESIDE_THE_SCHEDULE)
def test_an_attempt_beside_the_schedule_brings_no_try_back(why: Why) -> None:
    given_up = charge(2900, S.DECLINED, tries=5, declined_at=NOW - 7 * DAY, due_at=None)

    declined(given_up, NOW, why)

    assert (given_up.tries, given_up.due_at) == (5, None)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(BESIDE_THE_SCHEDULE), st.floats(0.1, 0.9)), max_size=4))
def test_whatever_happens_beside_it_the_schedule_stays(extra: list[tuple[Why, float]]) -> None:
    owed, tried, now = declined(charge(), NOW), [], NOW

    while owed.due_at is not None:
        due = owed.due_at
        for why, part in sorted(extra, key=lambda each: each[1]):
            declined(owed, now + (due - now) * part, why)
        now = due
        tried.append((now - NOW) / DAY)
        declined(owed, now)

    assert tried == [1, 3, 5, 7]


@pytest.mark.parametrize("code", sorted(HARD_DECLINES))
@pytest.mark.parametrize("tries", [0, 3])
def test_a_hard_decline_is_never_tried_again(code: str, tries: int) -> None:
    answer = Answer(K.DECLINED, "pi_1", code=code)

    taken = next_step(charge(2900, S.FROZEN, tries=tries), answer, AT_ONCE, NOW)

    assert taken == GIVEN_UP


ADVICE = {
    "Stripe says so": ({"advice_code": "do_not_try_again"}, None),
    "the network says so": ({"network_advice_code": "03"}, None),
    "the payment was cancelled": ({"network_advice_code": "21"}, None),
    "the network over Stripe": (
        {"network_advice_code": "03", "advice_code": "try_again_later"},
        None,
    ),
    "try later": ({"advice_code": "try_again_later"}, NOW + DAY),
    "confirm the card": ({"advice_code": "confirm_card_data"}, NOW + DAY),
    "the network has no objection": ({"network_advice_code": "02"}, NOW + DAY),
}


@pytest.mark.parametrize(("advice", "due"), ADVICE.values(), ids=ADVICE)
def test_advice_against_another_try_is_taken(advice: dict[str, str], due: datetime | None) -> None:
    error = {"type": "card_error", "code": "card_declined", "decline_code": "generic_decline"}

    answer = classify(402, {"error": error | advice})
    taken = next_step(charge(2900, S.FROZEN), answer, AT_ONCE, NOW)

    assert (taken.status, taken.due_at, taken.past_due) == (S.DECLINED, due, due is None or None)


# Waiting.

WAITS: dict[str, tuple[ChargeStatus, AnswerKind, tuple[timedelta, timedelta]]] = {
    "unknown": (S.FROZEN, K.UNKNOWN, ASK_AGAIN),
    "unknown at a withdrawal": (S.WITHDRAWING, K.UNKNOWN, ASK_AGAIN),
    "ready, not confirmed": (S.FROZEN, K.READY, ASK_AGAIN),
    "ready, not cancelled": (S.WITHDRAWING, K.READY, ASK_AGAIN),
    "too many requests": (S.FROZEN, K.LATER, COME_BACK),
    "too many requests at a withdrawal": (S.WITHDRAWING, K.LATER, COME_BACK),
}


@pytest.mark.parametrize(("status", "kind", "bounds"), WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("why", Why)
def test_waiting_uses_up_nothing(
    status: ChargeStatus, kind: AnswerKind, bounds: tuple[timedelta, timedelta], why: Why
) -> None:
    asked = charge(2900, status, tries=2, waits=3, due_why=why, declined_at=NOW - DAY)
    standing = book(receivable=2900, revenue=-2900)
    due = NOW + pause(asked, *bounds)

    step = next_step(asked, Answer(kind), AT_ONCE, NOW)
    take_step(journal(standing), standing, asked, step, Answer(kind))

    assert (step.answered, step.past_due) == (False, None)
    assert (asked.status, asked.due_at, asked.due_why) == (status, due, why)
    assert (asked.tries, asked.waits, asked.declined_at) == (2, 4, NOW - DAY)


def test_an_answer_ends_the_waiting() -> None:
    asked = charge(waits=7)

    declined(asked, NOW, Why.OPERATOR)

    assert (asked.waits, asked.due_why, asked.tries) == (0, Why.SCHEDULED, 0)


@pytest.mark.parametrize("bounds", [ASK_AGAIN, COME_BACK], ids=["ask again", "come back"])
def test_pauses_double_up_to_the_longest(bounds: tuple[timedelta, timedelta]) -> None:
    first, longest = bounds

    pauses = [pause(charge(waits=waits), *bounds) for waits in range(1000)]

    for waits, each in enumerate(pauses):
        whole = min(first * 2 ** min(waits, 20), longest)
        assert whole / 2 <= each <= whole


def test_a_crowd_that_waits_does_not_come_back_at_once() -> None:
    crowd = [charge(charge_id=f"ch_{number}") for number in range(200)]

    seconds = sorted(pause(each, MINUTE, HOUR).total_seconds() for each in crowd)

    in_ten_parts = {int((each - 30) // 3) for each in seconds}
    assert len(in_ten_parts) >= 10


def test_the_same_pause_is_the_same_length_wherever_it_is_counted() -> None:
    waits = charge(waits=4)

    pauses = {pause(waits, *ASK_AGAIN) for _ in range(3)}

    assert len(pauses) == 1


# When a charge is due first.


def test_a_charge_of_a_plan_that_collects_at_once_is_due_at_once() -> None:
    standing = book(policy=Policy("at_once"))

    first = due_at(standing, NOW)

    assert first == NOW


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-03-01T00:00", "2026-04-01T00:00"),
        ("2026-12-01T00:00", "2027-01-01T00:00"),
        ("2026-03-15T09:30", "2026-04-15T09:30"),
    ],
    ids=["March", "December", "a period of Stripe's"],
)
def test_a_charge_that_is_collected_once_a_cycle_is_due_when_the_cycle_is_closed(
    start: str, end: str
) -> None:
    begun, over = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (start, end))
    standing = book(policy=Policy("cycle_end"), cycle_start=begun, cycle_end=over)

    first, last_minute = due_at(standing, begun), due_at(standing, over - MINUTE)

    assert over + CLOSING <= first < over + CLOSING + COLLECTED_WITHIN
    assert last_minute == first


def test_charges_of_one_cycles_end_are_due_one_after_the_other() -> None:
    crowd = [book(policy=Policy("cycle_end"), customer_id=f"customer-{n}") for n in range(200)]

    waits = [due_at(each, NOW) - each.cycle_end - CLOSING for each in crowd]

    assert len({each // HOUR for each in waits}) == COLLECTED_WITHIN // HOUR
    assert len(set(waits)) == len(crowd)
