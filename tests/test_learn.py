"""Payments that Stripe tells of: booked once, on their charge or as the customer's own money."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.builders import DAY, deployed, reverted, rows_of, settle_events
from tests.collecting import (
    PRICE,
    RETRIEVE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
)
from tests.stack import HastyGateway
from worker.billing.charges import ChargeStatus
from worker.learn import learn_payment, payer_of_intent
from worker.storage import tables
from worker.stripe_calls import StripeRefused
from worker.stripe_gateway import StripeGateway

S = ChargeStatus


def learn(case: Case, intent: str, gateway: StripeGateway | None = None) -> str:
    return learn_payment(intent, case.engine, gateway or case.gateway, case.clock)


def test_a_payment_of_ours_is_booked_on_its_charge(case: Case) -> None:
    dies(case.collect, case, "confirm", heard=True)

    result = [learn(case, case.intent) for _ in range(3)]

    assert result == [f"succeeded: {case.key.charge_id}"] * 3
    assert_paid_once(case)


def test_a_payment_that_no_charge_explains_is_the_customers_own_money(case: Case) -> None:
    intent = case.pay_in_dashboard(1000)

    results = [learn(case, intent) for _ in range(3)]

    assert results == ["unapplied", "nothing new", "nothing new"]
    assert case.standing == {"receivable": PRICE, "cash": 1000, "unapplied": -1000}
    assert_books_equal_stripe(case)


@pytest.mark.parametrize(
    ("held", "taken", "left"),
    [
        (1000, [1900], 0),
        (PRICE, [], 0),
        (5000, [], 2100),
        (2870, [50], 20),  # less than Stripe's minimum cannot be charged
        (2850, [50], 0),
    ],
)
def test_the_customers_own_money_is_used_before_their_card(
    case: Case, held: int, taken: list[int], left: int
) -> None:
    learn(case, case.pay_in_dashboard(held))

    case.collect()

    assert case.charge["status"] == "paid"
    assert case.paid_at_stripe()[1:] == taken
    assert case.book["unapplied"] == -left
    assert case.book["receivable"] == 0
    assert_books_equal_stripe(case)


def test_money_that_comes_before_a_retry_is_not_asked_for_again(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_chargeCustomerFail")
    assert case.collect() is S.DECLINED
    good = case.sandbox.client().v1.payment_methods.attach(
        "pm_card_visa", {"customer": case.stripe_customer}
    )
    learn(case, case.pay_in_dashboard(1000, payment_method=good.id))

    assert case.collect(after=DAY) is None
    assert case.charge["status"] == "withdrawing"
    case.withdraw()
    rest = case.replacement()
    assert rest.collect(after=DAY) is S.DECLINED

    asked = case.sandbox.payments(customer=case.stripe_customer)
    assert [each["amount"] for each in asked] == [PRICE, 1000, 1900]
    assert rest.charge["tries"] == 2
    assert_books_equal_stripe(case)


def test_money_for_a_charge_that_was_withdrawn_is_the_customers_own(case: Case) -> None:
    dies(case.collect, case, "create", heard=False)
    settle_events(case.engine, reverted())
    case.withdraw()
    late = case.pay_in_dashboard(PRICE, metadata={"charge_id": case.key.charge_id})

    learn(case, late)

    assert case.charge["status"] == "void"
    assert case.standing == {"cash": PRICE, "unapplied": -PRICE}
    settle_events(case.engine, deployed("fix-2"))
    case.replacement().collect()
    assert case.standing == {"cash": PRICE}
    assert_books_equal_stripe(case)


def test_a_second_payment_for_a_paid_charge_is_the_customers_own(case: Case) -> None:
    case.collect()
    again = case.pay_in_dashboard(PRICE, metadata={"charge_id": case.key.charge_id})

    learn(case, again)

    assert case.charge["status"] == "paid"
    assert case.standing == {"cash": 2 * PRICE, "unapplied": -PRICE}
    assert_books_equal_stripe(case)


def test_money_in_another_currency_is_not_booked(case: Case) -> None:
    intent = case.pay_in_dashboard(1000, currency="eur")

    assert learn(case, intent) == "nothing new"

    assert case.standing == {"receivable": PRICE}


def test_a_payment_by_somebody_else_is_left_alone(case: Case) -> None:
    client = case.sandbox.client()
    stranger = client.v1.customers.create({}).id
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": stranger}).id
    intent = case.pay_in_dashboard(1000, customer=stranger, payment_method=card)

    assert learn(case, intent) == "no charge of ours"

    assert payer_of_intent(intent, case.engine, case.gateway, case.clock) is None
    assert rows_of(case.engine, tables.transfers, kind="unapplied_in") == []
    assert_books_equal_stripe(case)


@pytest.mark.parametrize("fault", ["http_500_before", "html_502", "half_json", "http_429"])
def test_without_a_clear_answer_nothing_is_booked(case: Case, fault: str) -> None:
    dies(case.collect, case, "confirm", heard=True)
    case.sandbox.fault(fault, "GET", RETRIEVE)

    with pytest.raises(StripeRefused):
        learn(case, case.intent, HastyGateway(case.sandbox))

    assert case.standing == {"receivable": PRICE}
    learn(case, case.intent)
    assert_paid_once(case)


def test_of_a_decline_the_collector_is_told_to_ask_by_itself(owing: Callable[..., Case]) -> None:
    case = owing("pm_card_chargeCustomerFail")
    away = HastyGateway(case.sandbox)
    case.sandbox.fault("http_500_after", "POST", "/v1/payment_intents/*/confirm")
    assert case.collect(away) is S.FROZEN
    assert not case.is_due(timedelta(0))

    learn(case, case.intent)

    assert (case.charge["status"], case.answers()) == ("frozen", [None])
    assert case.is_due(timedelta(0))
    assert case.collect() is S.DECLINED
    assert_books_equal_stripe(case)


def test_that_an_intent_was_made_cuts_no_pause_short(case: Case) -> None:
    case.sandbox.fault("http_429", "POST", "/v1/payment_intents/*/confirm")
    assert case.collect() is S.FROZEN

    learn(case, case.intent)

    assert not case.is_due(timedelta(0))


def test_who_paid_is_asked_of_stripe_where_the_books_do_not_know_yet(case: Case) -> None:
    dies(case.collect, case, "confirm", heard=True)

    payer = payer_of_intent(case.intent, case.engine, case.gateway, case.clock)

    assert payer == ("acme", case.key.charge_id)
    assert_paid_once(case)
