"""The main job as its users see it: credits used, cards charged, answers given."""

from __future__ import annotations

from tests.builders import reverted
from tests.running import RunningStack, eventually
from tests.stories.customers import (
    all_paid,
    charges_in,
    deployed_now,
    new_customer,
    outcomes_in,
    statuses,
)
from worker.customers import add_payment_method


def test_a_trial_uses_its_credits_then_fixes_are_held(stack: RunningStack) -> None:
    customer = new_customer(stack, "trial")

    answers = [stack.post(event, wait=10)[1]["outcome"] for event in deployed_now(customer, 7)]

    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert answers == ["credited"] * 5 + ["held"] * 2
    assert usage["fixes"] == {"credited": 5, "charged": 0, "held": 2, "reverted": 0}
    assert usage["credits"]["balance"] == 0
    assert {each["code"] for each in usage["warnings"]} == {
        "low_credit",
        "no_payment_method",
        "held_fixes",
    }


def test_adding_a_card_brings_credits_that_pay_for_held_fixes_oldest_first(
    stack: RunningStack,
) -> None:
    customer = new_customer(stack, "trial")
    stack.post(deployed_now(customer, 12), wait=10)

    tools = stack.tools
    add_payment_method(customer, "pm_card_visa", tools.engine, tools.stripe, tools.clock)

    settled = outcomes_in(stack, customer)
    assert [settled[f"fix-{number:05}"] for number in range(1, 13)] == (
        ["credited"] * 10 + ["held"] * 2
    )
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert (usage["plan"]["code"], usage["held_now"]) == ("payg", 2)


def test_a_pay_as_you_go_fix_is_charged_and_collected(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")

    stack.post(deployed_now(customer, 3), wait=10)

    assert all_paid(stack, customer)
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert usage["money"]["charged"] == {"amount": 3 * 2900, "currency": "usd"}
    assert usage["money"]["paid"] == {"amount": 3 * 2900, "currency": "usd"}
    assert usage["money"]["open"] == {"amount": 0, "currency": "usd"}
    paid = [each for each in stack.payments() if each["metadata"].get("customer_id") == customer]
    assert sum(each["amount"] for each in paid) == 3 * 2900


def test_a_declined_card_leaves_the_charge_open_for_another_day(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_chargeCustomerFail")

    stack.post(deployed_now(customer, 1), wait=10)

    assert eventually(lambda: statuses(stack, customer) == ["declined"])
    (charge,) = charges_in(stack, customer)
    assert charge.decline == "generic_decline"
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert usage["money"]["open"] == {"amount": 2900, "currency": "usd"}


def test_a_reverted_fix_gives_its_credit_back(stack: RunningStack) -> None:
    customer = new_customer(stack, "trial")
    events = deployed_now(customer, 1)
    stack.post(events, wait=10)

    back = reverted(events[0].fix_id, customer, at=events[0].time)
    _, receipt = stack.post(back, wait=10)

    assert receipt["outcome"] == "reverted"
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert usage["credits"]["balance"] == 5
    assert usage["fixes"]["reverted"] == 1


def test_the_books_are_whole_after_all_of_it(stack: RunningStack) -> None:
    customer = new_customer(stack, "pro", "pm_card_mastercard")
    stack.post(deployed_now(customer, 12), wait=10)  # ten of them are included

    assert all_paid(stack, customer)

    assert stack.broken() == []
