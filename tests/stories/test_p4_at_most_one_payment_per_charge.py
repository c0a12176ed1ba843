"""P4: at most one card payment per charge, whatever Stripe answers."""

from __future__ import annotations

from typing import Any

import pytest
import urllib3

from tests.running import RunningStack, running_stack
from tests.stories.customers import all_paid, charges_in, deployed_now, new_customer

# How often: the SDK itself tries three times, save after "too many requests".
LIES = [
    ("confirm", "http_500_after", 3),
    ("confirm", "cut_after", 3),
    ("confirm", "half_json", 3),
    ("confirm", "html_502", 3),
    ("confirm", "http_429", 1),
    ("create", "http_500_after", 3),
    ("create", "cut_after", 3),
]
PATHS = {"confirm": "/v1/payment_intents/*/confirm", "create": "/v1/payment_intents"}


@pytest.fixture(scope="module")
def lying_stack(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A stack of its own: a fault would meet the charges of other tests."""
    with running_stack(tmp_path_factory.mktemp("lying")) as one:
        yield one


@pytest.mark.parametrize(("call", "lie", "times"), LIES)
def test_a_charge_is_paid_once_though_stripe(
    lying_stack: RunningStack, call: str, lie: str, times: int
) -> None:
    customer = new_customer(lying_stack, "payg", "pm_card_visa")
    plan_fault(lying_stack, {"method": "POST", "path": PATHS[call], "fault": lie, "times": times})

    lying_stack.post(deployed_now(customer, 1), wait=10)

    assert all_paid(lying_stack, customer, within=90)
    (charge,) = charges_in(lying_stack, customer)
    paid = [each for each in lying_stack.payments() if each["metadata"]["customer_id"] == customer]
    assert [(each["payment_intent"], each["amount"], each["status"]) for each in paid] == [
        (charge.payment_intent, 2900, "succeeded")
    ]
    assert lying_stack.broken() == []


def plan_fault(stack: RunningStack, fault: dict[str, Any]) -> None:
    url = f"{stack.env['STRIPE_API_BASE']}/_sandbox/faults"
    urllib3.request("DELETE", url)  # what the test before did not use up
    assert urllib3.request("POST", url, json=fault).status == 200
