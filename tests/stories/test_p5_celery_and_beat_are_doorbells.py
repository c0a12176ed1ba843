"""P5: an obligation is a row or an entry; messages and ticks only hurry it."""

from __future__ import annotations

import os
import signal

from tests.running import RunningStack, eventually
from tests.stories.customers import all_paid, deployed_now, new_customer, statuses
from worker.due import DUE, sweep


def test_a_frozen_beat_delays_collecting_until_it_is_back(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    beat = stack.pids()["beat"]
    os.kill(beat, signal.SIGSTOP)
    try:
        stack.post(deployed_now(customer, 2), wait=10)
        assert statuses(stack, customer) == ["open"]
    finally:
        os.kill(beat, signal.SIGCONT)

    assert all_paid(stack, customer)


def test_everything_may_be_swept_twice_at_any_time(stack: RunningStack) -> None:
    customer = new_customer(stack, "payg", "pm_card_visa")
    stack.post(deployed_now(customer, 3), wait=10)

    for _ in range(3):
        for kind in DUE:
            sweep(kind, stack.tools)

    assert all_paid(stack, customer)
    assert eventually(lambda: stack.broken() == [])
    paid = [each for each in stack.payments() if each["metadata"].get("customer_id") == customer]
    assert sum(each["amount"] for each in paid) == 3 * 2900
