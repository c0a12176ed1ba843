"""Faults at Stripe: whatever it answers, at most one payment, and books that come to equal it.

Each test begins with the number of its row in the fault matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest
from structlog.testing import capture_logs

from tests.builders import DAY, HOUR, deployed, outcomes, settle_events
from tests.collecting import (
    AFTER,
    BEFORE,
    CONFIRM,
    CREATE,
    LATER,
    NO_TIME,
    PRICE,
    RETRIEVE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
    hasty_gateway,
    paid_in_the_end,
)
from tests.running import eventually
from tests.sandbox import sandbox_process
from tests.stack import HastyGateway
from worker.billing.charges import ChargeStatus
from worker.charges import retry_charge
from worker.collect import confirm, create, freeze, record
from worker.learn import learn_payment
from worker.stripe_gateway import StripeGateway

S = ChargeStatus
STEPS = pytest.mark.parametrize("path", [CREATE, CONFIRM], ids=["create", "confirm"])


# F54, F55: the effect has happened, and nobody says so.


@pytest.mark.every(3)
@STEPS
@pytest.mark.parametrize("fault", AFTER, ids=lambda fault: f"f54_f55_{fault}")
def test_charged_and_not_told_so(case: Case, fault: str, path: str) -> None:
    case.sandbox.fault(fault, "POST", path, seconds=60)

    first = case.collect(hasty_gateway(case, fault))

    assert first is S.FROZEN
    assert len(case.paid_at_stripe()) == (path == CONFIRM)
    assert case.answers() == [None]
    assert case.is_due(timedelta(minutes=1))
    paid_in_the_end(case)
    assert case.answers() == ["succeeded"]
    assert case.intents() == 1


@pytest.mark.every(3)
@STEPS
@pytest.mark.parametrize("fault", [*BEFORE, *LATER], ids=lambda fault: f"f54_f55_{fault}")
def test_not_charged_and_not_told_so(case: Case, fault: str, path: str) -> None:
    case.sandbox.fault(fault, "POST", path, seconds=60)

    first = case.collect(hasty_gateway(case, fault))

    assert first is S.FROZEN
    assert case.paid_at_stripe() == []
    assert case.is_due(timedelta(minutes=1))
    paid_in_the_end(case)
    assert case.answers() == ["succeeded"]


@pytest.mark.parametrize("fault", ["http_500_before", "html_502", "half_json", "http_429"])
@pytest.mark.parametrize("path", [CREATE, RETRIEVE], ids=["list", "retrieve"])
def test_f55_when_asking_fails_too_nothing_is_done(case: Case, fault: str, path: str) -> None:
    lost_at = CREATE if path == CREATE else CONFIRM
    case.sandbox.fault("http_500_after", "POST", lost_at)
    case.collect(HastyGateway(case.sandbox))
    before = case.paid_at_stripe()
    case.sandbox.fault(fault, "GET", path)

    status = case.collect(HastyGateway(case.sandbox))

    assert status is S.FROZEN
    assert case.paid_at_stripe() == before
    paid_in_the_end(case)


@pytest.mark.parametrize(
    ("card", "status", "answer"),
    [
        ("pm_card_chargeCustomerFail", S.DECLINED, "declined"),
        ("pm_card_authenticationRequired", S.ACTION_REQUIRED, "needs_customer"),
    ],
    ids=["declined", "needs_customer"],
)
@pytest.mark.parametrize("fault", ["http_500_after", "cut_after", "half_json"])
def test_f55_a_no_whose_answer_was_lost_is_one_no(
    owing: Callable[..., Case], fault: str, card: str, status: ChargeStatus, answer: str
) -> None:
    case = owing(card)
    case.sandbox.fault(fault, "POST", CONFIRM)
    assert case.collect(HastyGateway(case.sandbox)) is S.FROZEN

    assert case.collect() is status

    assert case.answers() == [answer]
    assert (case.asked_of_the_bank(), case.paid_at_stripe()) == (1, [])


@pytest.mark.parametrize("fault", ["http_500_after", "cut_after"])
def test_f55_a_later_tries_answer_may_be_lost_too(owing: Callable[..., Case], fault: str) -> None:
    case = owing("pm_card_chargeCustomerFail")
    case.collect()
    case.sandbox.fault(fault, "POST", CONFIRM)
    assert case.collect(HastyGateway(case.sandbox), after=DAY) is S.FROZEN
    assert case.answers() == ["declined", None]

    case.collect(after=DAY)

    assert case.answers() == ["declined", "declined"]
    assert case.asked_of_the_bank() == 2


# F56, F57: what Stripe keeps under a key, and that it forgets.


@STEPS
def test_f56_a_stored_500_is_left_by_asking_for_the_intent(case: Case, path: str) -> None:
    case.sandbox.fault("http_500_after", "POST", path)
    case.collect(HastyGateway(case.sandbox))
    (attempt,) = case.attempts()
    hasty = HastyGateway(case.sandbox)

    if path == CREATE:
        replayed = hasty.create_intent(attempt["parameters"], attempt["attempt_id"])
    else:
        method = attempt["parameters"]["payment_method"]
        replayed = hasty.confirm_intent(case.intent, method, f"{case.intent}-1")

    assert replayed.kind == "unknown"
    paid_in_the_end(case)
    assert case.intents() == 1


@STEPS
@pytest.mark.parametrize("how", ["a day passes", "forgotten early"])
def test_f57_a_key_that_was_forgotten_while_the_outcome_is_unknown_charges_nobody_twice(
    case: Case, path: str, how: str
) -> None:
    case.sandbox.fault("http_500_after", "POST", path)
    case.collect(HastyGateway(case.sandbox))

    if how == "a day passes":
        case.sandbox.advance(25 * sandbox_process.HOUR)
    else:
        case.sandbox.ask("POST", "forget_keys")

    assert case.collect(after=25 * HOUR) is S.PAID
    assert case.intents() == 1
    assert_paid_once(case)


# F58, F59: keys that are in use, or were used for something else.


def test_f58_two_workers_on_one_charge_charge_it_once(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    create(attempt, case.engine, case.gateway)
    case.sandbox.fault("slow", "POST", CONFIRM, seconds=1)

    workers = [Thread(target=case.collect) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    paid_in_the_end(case)
    assert case.intents() == 1


def test_f58_a_key_that_is_in_use_by_another_worker_is_waited_for(case: Case) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    intent = create(attempt, case.engine, case.gateway)
    case.sandbox.fault("slow", "POST", CONFIRM, seconds=4)
    first = Thread(target=confirm, args=(attempt, intent, case.gateway))
    first.start()
    assert eventually(lambda: case.sandbox.ask("GET", "faults") == [])  # it is in mid-call

    answer = confirm(attempt, intent, HastyGateway(case.sandbox))

    assert answer.kind == "unknown"
    first.join()
    assert case.collect() is S.PAID
    assert_paid_once(case)


@STEPS
def test_f59_a_key_that_was_used_for_something_else_parks_the_charge(case: Case, path: str) -> None:
    attempt = freeze(case.key, case.engine, case.gateway, case.clock)
    assert attempt is not None
    other = attempt.parameters | {"amount": 100, "metadata": {}}
    if path == CREATE:
        case.gateway.create_intent(other, attempt.attempt_id)
    else:
        intent = create(attempt, case.engine, case.gateway).payment_intent
        case.gateway.confirm_intent(str(intent), "pm_card_chargeCustomerFail", f"{intent}-1")
    before = case.intents(), case.asked_of_the_bank()

    with capture_logs() as logs:
        answer = create(attempt, case.engine, case.gateway)
        if answer.kind == "ready":
            answer = confirm(attempt, answer, case.gateway)
        status = record(case.key, answer, case.engine, case.clock)

    assert status is S.PARKED
    assert [each["event"] for each in logs if each["log_level"] == "error"] == ["charge_parked"]
    assert not case.is_due(30 * DAY)
    assert (case.intents(), case.asked_of_the_bank()) == before
    assert case.paid_at_stripe() == []
    assert_books_equal_stripe(case)


# F60: too many requests.


def test_f60_a_storm_of_429_burns_no_attempt_and_others_are_served(
    owing: Callable[..., Case],
) -> None:
    case, other = owing(), owing(customer_id="other")
    dies(case.collect, case, "confirm", heard=False)
    case.sandbox.fault("http_429", "POST", f"/v1/payment_intents/{case.intent}/confirm", times=8)
    after, pauses = timedelta(0), []

    for _ in range(8):
        assert case.collect(after=after) is S.FROZEN
        pause = case.charge["due_at"] - case.later(after).now()
        pauses.append(pause)
        after += pause + timedelta(seconds=5)

    assert other.collect() is S.PAID
    assert pauses[0] < timedelta(seconds=15)
    assert timedelta(minutes=2) < max(pauses) <= timedelta(minutes=5)
    assert len({pause.total_seconds() / 2**n for n, pause in enumerate(pauses)}) == 8
    assert (case.charge["tries"], case.answers(), case.asked_of_the_bank()) == (0, [None], 0)
    assert case.collect(after=after) is S.PAID
    assert_paid_once(case)
    assert_paid_once(other)


# F61, F62: the bank says no, or wants to see the customer.

AGAIN, NEVER = True, False
FAILS = "pm_card_sandbox_chargeCustomerFail"


@pytest.mark.parametrize(
    ("card", "code", "again"),
    [
        ("pm_card_chargeCustomerFail", "generic_decline", AGAIN),
        (f"{FAILS}InsufficientFunds", "insufficient_funds", AGAIN),
        (f"{FAILS}ProcessingError", "processing_error", AGAIN),
        (f"{FAILS}IncorrectCvc", "incorrect_cvc", AGAIN),
        (f"{FAILS}ExpiredCard", "expired_card", NEVER),
        ("pm_card_visa_chargeCustomerFailLostCard", "lost_card", NEVER),
        ("pm_card_visa_chargeCustomerFailStolenCard", "stolen_card", NEVER),
    ],
)
def test_f61_a_decline_is_tried_again_only_where_that_is_allowed(
    owing: Callable[..., Case], card: str, code: str, again: bool
) -> None:
    case = owing(card)

    assert case.collect() is S.DECLINED

    assert case.attempts()[0]["code"] == code
    assert case.is_due(DAY + HOUR) is again
    assert case.book["past_due"] is not again
    for day in range(1, 30):
        case.collect(after=day * DAY)
    assert case.asked_of_the_bank() == (5 if again else 1)
    assert case.paid_at_stripe() == []
    assert_books_equal_stripe(case)


def test_f62_who_must_authenticate_is_left_alone_until_they_have(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_authenticationRequired")

    assert case.collect() is S.ACTION_REQUIRED

    for day in range(1, 30):
        assert case.collect(after=day * DAY) is None
    assert case.asked_of_the_bank() == 1
    client = case.sandbox.client()
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": case.stripe_customer})
    client.v1.payment_intents.confirm(case.intent, {"payment_method": card.id})
    case.hear(*case.events("payment_intent.succeeded"))
    assert_paid_once(case)
    assert [row["why"] for row in case.attempts()] == ["scheduled", "manual"]


# F64: the bank takes days.


@pytest.mark.parametrize("who", ["collector", "webhook"])
def test_f64_a_payment_that_succeeds_three_days_later_is_booked_then_and_once(
    owing: Callable[..., Case], who: str
) -> None:
    case = owing("pm_card_sandbox_processing")
    assert case.collect() is S.FROZEN
    assert case.collect(after=2 * DAY) is S.FROZEN
    assert (case.standing, case.charge["tries"]) == ({"receivable": PRICE}, 0)

    case.sandbox.advance(4 * sandbox_process.DAY)
    if who == "webhook":
        case.hear(*case.events())
    case.collect(after=4 * DAY)
    case.hear(*case.events())

    assert_paid_once(case)
    assert case.asked_of_the_bank() == 1


def test_f64_a_payment_that_fails_three_days_later_is_one_decline(
    owing: Callable[..., Case],
) -> None:
    """killbill#1832: a payment that was pending and failed was never tried again."""
    case = owing("pm_card_sandbox_processingFails")
    assert case.collect() is S.FROZEN

    case.sandbox.advance(4 * sandbox_process.DAY)
    case.hear(*case.events("payment_intent.payment_failed"))

    assert case.collect(after=4 * DAY) is S.DECLINED
    assert (case.charge["tries"], case.answers()) == (1, ["declined"])
    assert not case.is_due(4 * DAY + 23 * HOUR)
    assert case.is_due(5 * DAY + HOUR)
    assert_books_equal_stripe(case)


# F65: Stripe's answer is about something else.

LIES = pytest.mark.parametrize("lie", ["wrong_amount", "wrong_currency", "wrong_customer"])


@LIES
def test_f65_an_intent_that_is_not_as_asked_is_not_confirmed(case: Case, lie: str) -> None:
    case.sandbox.fault(lie, "POST", CREATE)

    with capture_logs() as logs:
        assert case.collect() is S.PARKED

    assert "charge_parked" in {each["event"] for each in logs if each["log_level"] == "error"}
    assert (case.asked_of_the_bank(), case.standing) == (0, {"receivable": PRICE})
    retry_charge(case.key, case.engine, case.clock)
    assert case.collect() is S.PAID
    assert_paid_once(case)


@LIES
@pytest.mark.parametrize("when", ["confirm", "retrieve"])
def test_f65_a_payment_that_is_not_as_asked_is_not_booked(case: Case, lie: str, when: str) -> None:
    if when == "retrieve":
        dies(case.collect, case, "confirm", heard=True)
        case.sandbox.fault(lie, "GET", RETRIEVE)
    else:
        case.sandbox.fault(lie, "POST", CONFIRM)

    with capture_logs() as logs:
        assert case.collect() is S.PARKED

    assert "charge_parked" in {each["event"] for each in logs if each["log_level"] == "error"}
    assert case.standing == {"receivable": PRICE}
    learn_payment(case.intent, case.engine, case.gateway, case.clock)
    assert_paid_once(case)


# F66: Stripe is away for two days.


def test_f66_while_stripe_is_away_settling_goes_on_and_afterwards_all_is_paid(case: Case) -> None:
    away = StripeGateway(case.sandbox.api_key, "http://127.0.0.1:1", retries=0)
    after = NO_TIME

    while after < 48 * HOUR:
        assert case.collect(away, after) is S.FROZEN
        pause = case.charge["due_at"] - case.later(after).now()
        assert pause <= HOUR
        after += pause + timedelta(seconds=5)
    settle_events(case.engine, deployed("fix-2"), now=case.later(after).now())

    assert outcomes(case.engine) == {"fix-1": "charged", "fix-2": "charged"}
    assert (case.charge["tries"], case.book["past_due"]) == (0, False)
    second = case.replacement()
    assert case.collect(after=after) is S.PAID
    assert second.collect(after=after) is S.PAID
    assert case.paid_at_stripe() == [PRICE, PRICE]
    assert case.standing == {"cash": 2 * PRICE}
    assert_books_equal_stripe(case)
