"""The life of a charge against the Stripe sandbox: at most one payment, and our books equal it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.builders import (
    DAY,
    deployed,
    one_row,
    outcomes,
    owe,
    reverted,
    rows_of,
    settle_events,
    usd,
)
from tests.collecting import PRICE, Case, assert_paid_once
from worker.billing.answers import Answer, AnswerKind
from worker.billing.charges import ChargeStatus
from worker.collect import collect, confirm, create, freeze, record
from worker.storage import tables
from worker.storage.charges import claim_due_charges
from worker.storage.customers import set_payment_method

S = ChargeStatus


def test_a_charge_is_collected(case: Case) -> None:
    status = case.collect()

    assert status is S.PAID
    assert_paid_once(case)
    assert case.answers() == ["succeeded"]
    assert case.book["past_due"] is False


def test_collecting_again_does_nothing(case: Case) -> None:
    case.collect()

    again = case.collect()

    assert again is None
    assert not case.is_due(10 * DAY)
    assert case.intents() == 1
    assert_paid_once(case)


def test_what_is_sent_is_written_down_first(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)

    assert attempt is not None
    stored = one_row(case.engine, tables.attempts)
    assert stored["parameters"] == attempt.parameters
    assert attempt.parameters["amount"] == PRICE
    assert attempt.parameters["customer"] == case.stripe_customer
    assert attempt.parameters["metadata"] == {
        "charge_id": case.key.charge_id,
        "customer_id": "acme",
    }
    assert (attempt.number, attempt.resumed, stored["answer"]) == (1, False, None)
    assert case.charge["status"] == "frozen"
    assert case.paid_at_stripe() == []


def test_a_frozen_charge_takes_no_more_lines(case: Case) -> None:
    freeze(case.key, case.engine, case.gateway, case.clock)

    settle_events(case.engine, deployed("fix-2"))

    statuses = {row["status"]: row["amount"] for row in rows_of(case.engine, tables.charges)}
    assert statuses == {"frozen": PRICE, "open": PRICE}


def test_a_charge_of_nothing_is_void_and_asks_stripe_for_nothing(case: Case) -> None:
    settle_events(case.engine, reverted())

    status = case.collect()

    assert status is None
    assert case.charge["status"] == "void"
    assert case.intents() == 0


# Declines.


def test_a_soft_decline_is_tried_again_on_its_days_and_then_given_up(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_sandbox_chargeCustomerFailInsufficientFunds")
    tries = []

    for day in (0, 1, 3, 5, 7):
        tries.append(
            (case.is_due(day * DAY - timedelta(hours=1)) and day > 0, case.is_due(day * DAY))
        )
        assert case.collect(after=day * DAY) is S.DECLINED

    assert tries == [(False, True)] * 5
    assert case.answers() == ["declined"] * 5
    assert case.charge["due_at"] is None
    assert case.book["past_due"] is True
    assert (case.intents(), case.paid_at_stripe()) == (1, [])
    assert case.book["receivable"] == PRICE


@pytest.mark.parametrize(
    "card", ["pm_card_visa_chargeCustomerFailLostCard", "pm_card_visa_chargeCustomerFailStolenCard"]
)
def test_a_hard_decline_is_never_tried_again(owing: Callable[..., Case], card: str) -> None:
    case = owing(card)

    status = case.collect()

    assert status is S.DECLINED
    assert case.charge["due_at"] is None
    assert case.book["past_due"] is True
    assert not case.is_due(30 * DAY)
    assert case.paid_at_stripe() == []


def test_a_first_soft_decline_leaves_the_customer_in_good_standing(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_chargeCustomerFail")

    status = case.collect()

    assert status is S.DECLINED
    assert case.book["past_due"] is False
    assert case.is_due(DAY + timedelta(seconds=5))


def test_another_card_pays_at_the_next_try(owing: Callable[..., Case]) -> None:
    case = owing("pm_card_chargeCustomerFail")
    case.collect()
    good = case.sandbox.client().v1.payment_methods.attach(
        "pm_card_visa", {"customer": case.stripe_customer}
    )
    with case.engine.begin() as tx:
        set_payment_method(tx, "acme", good.id)

    status = case.collect(after=DAY)

    assert status is S.PAID
    assert_paid_once(case)
    assert case.answers() == ["declined", "succeeded"]
    assert case.intents() == 1


def test_a_customer_who_must_authenticate_is_not_charged_behind_their_back(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_authenticationRequired")

    status = case.collect()

    assert status is S.ACTION_REQUIRED
    assert case.book["past_due"] is True
    assert not case.is_due(30 * DAY)
    assert case.collect(after=DAY) is None
    assert case.paid_at_stripe() == []


# Death between any two steps.


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("keys", ["kept", "forgotten"])
def test_a_death_after_any_step_is_made_good(case: Case, steps: int, keys: str) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    if steps >= 2:
        intent = create(attempt, case.engine, case.gateway)
    if steps >= 3:
        confirm(attempt, intent, case.gateway)
    if keys == "forgotten":
        case.sandbox.ask("POST", "forget_keys")

    status = case.collect()

    assert status is S.PAID
    assert case.intents() == 1
    assert_paid_once(case)


def test_an_intent_whose_id_was_never_saved_is_found_again(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    case.gateway.create_intent(attempt.parameters, attempt.attempt_id)
    case.sandbox.ask("POST", "forget_keys")

    status = case.collect()

    assert status is S.PAID
    assert case.intents() == 1
    assert_paid_once(case)


def test_the_same_news_twice_is_booked_once(case: Case) -> None:
    case.collect()
    intent = str(case.charge["payment_intent"])
    news = case.gateway.retrieve_intent(intent)

    again = record(case.key, news, case.engine, case.clock)

    assert again is S.PAID
    assert_paid_once(case)


def test_news_of_a_payment_may_come_before_the_collectors_own(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    intent = create(attempt, case.engine, case.gateway)
    answer = confirm(attempt, intent, case.gateway)
    record(case.key, answer, case.engine, case.clock)

    late = record(case.key, answer, case.engine, case.clock)

    assert late is S.PAID
    assert_paid_once(case)


@pytest.mark.parametrize("kind", [AnswerKind.DECLINED, AnswerKind.UNKNOWN, AnswerKind.OUR_BUG])
def test_nothing_moves_a_paid_charge(case: Case, kind: AnswerKind) -> None:
    case.collect()

    status = record(case.key, Answer(kind, "pi_other"), case.engine, case.clock)

    assert status is S.PAID
    assert_paid_once(case)


def test_a_payment_of_another_amount_is_parked_and_not_booked(case: Case) -> None:
    freeze(case.key, case.engine, case.gateway, case.clock)
    wrong = Answer(AnswerKind.SUCCEEDED, "pi_wrong", usd(1), case.stripe_customer)

    status = record(case.key, wrong, case.engine, case.clock)

    assert status is S.PARKED
    assert (case.book["cash"], case.book["receivable"]) == (0, PRICE)


def test_a_payment_that_an_open_charge_did_not_ask_for_is_used_before_the_card(
    case: Case,
) -> None:
    stray = Answer(AnswerKind.SUCCEEDED, "pi_stray", usd(29), case.stripe_customer)

    status = record(case.key, stray, case.engine, case.clock)

    assert status is S.OPEN
    assert (case.book["cash"], case.book["unapplied"]) == (PRICE, -PRICE)
    assert case.collect() is None
    assert (case.charge["status"], case.charge["applied"]) == ("paid", PRICE)
    assert (case.book["receivable"], case.book["unapplied"], case.intents()) == (0, 0, 0)


def test_a_paid_fix_that_is_reverted_becomes_a_credit(case: Case) -> None:
    case.collect()

    settle_events(case.engine, reverted())

    assert outcomes(case.engine) == {"fix-1": "reverted"}
    assert (case.book["credits"], case.book["cash"]) == (1, PRICE)
    assert case.paid_at_stripe() == [PRICE]


def test_the_next_charge_is_due_once_the_one_before_is_paid(case: Case) -> None:
    freeze(case.key, case.engine, case.gateway, case.clock)
    second = owe(case.engine, fix_id="fix-2")

    with case.engine.begin() as tx:
        meanwhile = claim_due_charges(tx, case.clock.now() + DAY, case.clock.wall(), 10)
        tx.rollback()
    case.collect()
    with case.engine.begin() as tx:
        afterwards = claim_due_charges(tx, case.clock.now() + DAY, case.clock.wall(), 10)

    assert second not in meanwhile
    assert afterwards == [second]
    assert collect(second, case.engine, case.gateway, case.clock) is S.PAID
    assert case.paid_at_stripe() == [PRICE, PRICE]
