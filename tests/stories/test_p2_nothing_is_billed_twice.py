"""P2: a fix is (customer, fix id) and has one settlement."""

from __future__ import annotations

from producers.publish import publish
from tests.builders import deployed
from tests.running import RunningStack
from tests.stories.customers import (
    all_paid,
    all_settled,
    charges_in,
    deployed_now,
    new_customer,
    outcomes_in,
)


def test_a_fix_published_through_every_door_and_again_is_charged_once(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    (event,) = deployed_now(customer, 1)

    publish([event] * 50, redis=stack.redis)
    stack.post(event, wait=10)
    stack.post([event, event])
    status, receipt = stack.post(event, wait=10)

    assert (status, receipt["outcome"]) == (200, "charged")
    assert all_paid(stack, customer)
    assert [str(charge.amount) for charge in charges_in(stack, customer)] == ["$29.00"]


def test_the_same_fix_under_another_event_id_costs_nothing(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    (event,) = deployed_now(customer, 1)
    again = deployed(event.fix_id, customer, id="another-event", at=event.time)

    stack.post(event, wait=10)
    stack.post(again, wait=10)

    assert all_paid(stack, customer)
    paid = [each for each in stack.payments() if each["metadata"]["customer_id"] == customer]
    assert [each["amount"] for each in paid] == [2900]


def test_an_event_id_used_for_another_fix_is_quarantined(stack: RunningStack) -> None:
    customer = new_customer(stack)
    first, second = deployed_now(customer, 2)
    twisted = deployed(second.fix_id, customer, id=first.id, at=second.time)

    stack.post(first, wait=10)
    _, receipt = stack.post(twisted, wait=10)

    assert receipt["status"] == "quarantined"
    assert receipt["detail"].startswith("conflict")
    assert all_settled(stack, customer, 1)
    assert outcomes_in(stack, customer) == {first.fix_id: "credited"}
