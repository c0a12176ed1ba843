"""What a customer does in a browser: add a card, and answer their bank."""

from __future__ import annotations

from typing import Any

import httpx

from tests.running import RunningStack, eventually
from tests.sandbox.browser import led_to, look, submit, told
from tests.stories.customers import (
    all_paid,
    all_settled,
    charges_in,
    deployed_now,
    new_customer,
    outcomes_in,
    statuses,
)
from worker.storage.charges import ChargeKey
from worker.usage.charges import charge_detail

CARD = "4242424242424242"
WANTS_THE_CUSTOMER = "pm_card_authenticationRequired"
PRICE = 2900


def link(stack: RunningStack, path: str) -> dict[str, Any]:
    """A link as the customer's own pages would ask for it."""
    url = f"{stack.env['FIXBILL_API_URL']}/api/v1/customers/{path}"
    reply = httpx.post(url, headers=stack.authorized, timeout=30)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


def asked_by_their_bank(stack: RunningStack) -> tuple[str, str]:
    """A customer whose bank wants to see them, and the link on which it does."""
    customer = new_customer(stack, "payg", WANTS_THE_CUSTOMER)
    stack.post(deployed_now(customer, 1), wait=10)
    assert eventually(lambda: statuses(stack, customer) == ["action_required"])
    (charge,) = charges_in(stack, customer)
    made = link(stack, f"{customer}/charges/{charge.charge_id}/recovery")
    assert made["amount"] == {"amount": PRICE, "currency": "usd"}
    return customer, made["url"]


def answer_the_bank(url: str, outcome: str) -> httpx.Response:
    """From the link to the bank's page and back again; the page that is seen at the end."""
    assert "Continue to my bank" in look(url).text
    bank = led_to(submit(url))
    assert "Pay $29.00" in look(bank).text
    return look(led_to(submit(bank, outcome=outcome)))


def paid_at_stripe(stack: RunningStack, customer: str) -> list[int]:
    return [
        each["amount"]
        for each in stack.payments()
        if each["metadata"].get("customer_id") == customer and each["status"] == "succeeded"
    ]


def attempts_of(stack: RunningStack, customer: str) -> list[str]:
    """Why each attempt was made."""
    (charge,) = charges_in(stack, customer)
    with stack.engine.begin() as tx:
        detail = charge_detail(tx, ChargeKey(customer, charge.charge_id))
    assert detail is not None
    return [attempt.why for attempt in detail.attempts]


def test_a_trial_is_told_what_waits_saves_a_card_and_its_held_fixes_settle(
    stack: RunningStack,
) -> None:
    customer = new_customer(stack, "trial")
    stack.post(deployed_now(customer, 12), wait=10)
    assert all_settled(stack, customer, 12)

    made = link(stack, f"{customer}/setup")

    held = made["held"]
    assert (held["fixes"], held["by_credits"], held["by_money"]) == (7, 5, 2)
    told_first = (
        "7 fixes wait for payment: credits pay for 5, 2 would cost $58.00 once you accept that. "
        "From now on, a fix that no credit covers costs $29.00."
    )
    assert told_first in look(made["url"]).text
    saved = look(led_to(submit(made["url"], number=CARD)))
    assert "Your card is saved" in saved.text
    assert eventually(
        lambda: list(outcomes_in(stack, customer).values()) == ["credited"] * 10 + ["held"] * 2
    )
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert (usage["plan"]["code"], usage["credits"]["balance"]) == ("payg", 0)


def test_a_refused_card_and_a_page_that_is_left_change_nothing(stack: RunningStack) -> None:
    customer = new_customer(stack, "trial")
    made = link(stack, f"{customer}/setup")
    way_back = f"{stack.env['PUBLIC_URL']}/setup/cancelled"
    assert way_back in look(made["url"]).text
    assert "No card was saved" in look(way_back).text

    refused = submit(made["url"], number="4000000000000002")

    assert "Your card was declined." in refused.text
    usage = stack.get(f"/api/v1/customers/{customer}/usage")
    assert "no_payment_method" in {each["code"] for each in usage["warnings"]}


def test_a_payment_the_bank_asked_about_is_made_in_the_browser_exactly_once(
    stack: RunningStack,
) -> None:
    customer, url = asked_by_their_bank(stack)

    done = answer_the_bank(url, "complete")

    assert "Thank you, this is paid" in done.text
    assert all_paid(stack, customer)
    assert "Thank you, this is paid" in submit(url).text
    assert paid_at_stripe(stack, customer) == [PRICE]
    assert attempts_of(stack, customer) == ["scheduled", "manual"]


def test_a_failed_authentication_leaves_the_charge_payable(stack: RunningStack) -> None:
    customer, url = asked_by_their_bank(stack)

    failed = answer_the_bank(url, "fail")

    assert told(str(failed.url))["redirect_status"] == "failed"
    assert "Thank you" not in failed.text
    assert paid_at_stripe(stack, customer) == []
    assert statuses(stack, customer) == ["action_required"]
    answer_the_bank(str(failed.url), "complete")
    assert all_paid(stack, customer)
    assert paid_at_stripe(stack, customer) == [PRICE]
