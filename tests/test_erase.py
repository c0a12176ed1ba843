"""A customer is forgotten, here and at Stripe; the books and their proof do not notice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from tests.builders import (
    DAY,
    NOW,
    add_customer_with_card,
    deployed,
    give_credits,
    one_row,
    outcomes,
    owe,
    reverted,
    rows_of,
    settle_events,
)
from tests.cli.running import NOWHERE, somebody
from tests.sandbox.sandbox_process import RunningSandbox
from worker.clock import Clock
from worker.collect import collect
from worker.customers import CustomerProblem, add_payment_method
from worker.erase import NotErasable, erase_customer
from worker.leave import cancel_customer
from worker.refund import refund, request_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.stripe_calls import StripeRefused
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.usage.verify import audit

EMAIL = "ada@lovelace.example"


@pytest.fixture
def left(engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock) -> str:
    """A customer who has paid 29 dollars, has a credit left, and has been cancelled."""
    customer_id = somebody()
    stripe_customer = add_customer_with_card(engine, sandbox, customer_id)
    sandbox.client().v1.customers.update(stripe_customer, {"email": EMAIL, "name": "Ada"})
    with engine.begin() as tx:
        tx.execute(update(tables.customers).values(name="Ada", email=EMAIL))
    assert collect(owe(engine, customer_id), engine, stripe, clock) == "paid"
    give_credits(engine, customer_id, 1, "late")
    cancel_customer(customer_id, engine, stripe, clock)
    return customer_id


def test_who_they_were_is_gone_and_what_was_paid_is_not(
    left: str, engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    before = one_row(engine, tables.customers)
    proof = audit(engine, stripe)

    erased_at = erase_customer(left, engine, stripe, clock)

    row = one_row(engine, tables.customers)
    gone = {"name": None, "email": None, "payment_method": None, "erased_at": erased_at}
    assert row == before | gone
    after = audit(engine, stripe)
    assert after == proof
    assert [check for check in after.checks if not check.ok] == []


def test_at_stripe_the_customer_is_deleted_and_the_payment_still_listed(
    left: str, engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    stripe_customer = one_row(engine, tables.customers)["stripe_customer"]

    erase_customer(left, engine, stripe, clock)

    found = sandbox.client().v1.customers.retrieve(stripe_customer)
    assert found.to_dict() == {"id": stripe_customer, "object": "customer", "deleted": True}
    assert [each.stripe_customer for each in stripe.payments()].count(stripe_customer) == 1


def test_erasing_again_is_harmless(
    left: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    first = erase_customer(left, engine, stripe, clock)
    rows = rows_of(engine, tables.customers)

    assert erase_customer(left, engine, stripe, clock) == first
    assert rows_of(engine, tables.customers) == rows


def test_without_stripe_nothing_is_erased_yet(
    left: str, engine: Engine, sandbox: RunningSandbox, clock: Clock
) -> None:
    away = StripeGateway(sandbox.api_key, f"http://{NOWHERE}", retries=0)

    with pytest.raises(StripeRefused):
        erase_customer(left, engine, away, clock)

    assert one_row(engine, tables.customers)["email"] == EMAIL


def test_later_events_go_the_way_of_one_who_left(
    left: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    erase_customer(left, engine, stripe, clock)

    settle_events(engine, deployed("fix-2", left), deployed("fix-3", left))
    settle_events(engine, reverted("fix-3", left), deployed("fix-4", left))

    assert outcomes(engine, left) == {
        "fix-1": "charged",
        "fix-2": "credited",
        "fix-3": "reverted",
        "fix-4": "held",
    }


def test_a_late_refund_reaches_the_ledger(
    left: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    erase_customer(left, engine, stripe, clock)
    charge = one_row(engine, tables.charges, status="paid")

    sent = request_refund(ChargeKey(left, charge["charge_id"]), engine, clock)
    refund(sent, engine, stripe, clock)

    assert one_row(engine, tables.books)["refunded"] == 2900
    assert [check for check in audit(engine, stripe).checks if not check.ok] == []


def test_who_comes_back_is_a_new_customer(
    left: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    erase_customer(left, engine, stripe, clock)

    with pytest.raises(CustomerProblem, match="was erased"):
        add_payment_method(left, "pm_card_visa", engine, stripe, clock)


@pytest.mark.parametrize("kind", ["customer.deleted", "payment_method.detached"])
def test_a_webhook_that_comes_later_is_emptied_once_it_is_done(
    left: str, engine: Engine, stripe: StripeGateway, clock: Clock, kind: str
) -> None:
    stripe_customer = one_row(engine, tables.customers)["stripe_customer"]
    erase_customer(left, engine, stripe, clock)
    told = [stripe_customer, "cus_of_somebody_else"]
    for number, each in enumerate(told):
        keep_webhook(engine, f"evt_{number}", kind, {"customer": each, "email": EMAIL})

    for number in range(len(told)):
        apply_stripe_event(f"evt_{number}", engine, stripe, clock)

    emptied = [row["body"] == b"" for row in rows_of(engine, tables.stripe_events)]
    assert emptied == [True, False]


def keep_webhook(engine: Engine, event_id: str, kind: str, thing: dict[str, Any]) -> None:
    with engine.begin() as tx:
        tx.execute(
            insert(tables.stripe_events).values(
                event_id=event_id,
                type=kind,
                livemode=False,
                body=json.dumps({"data": {"object": thing}}).encode(),
                received_at=NOW,
                due_at=NOW,
            )
        )


def test_one_who_has_not_left_is_refused_with_what_to_do(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    customer_id = somebody()
    add_customer_with_card(engine, sandbox, customer_id)

    with pytest.raises(NotErasable) as refused:
        erase_customer(customer_id, engine, stripe, clock)

    assert str(refused.value) == (
        f"{customer_id} has not left: `fixbill customers cancel {customer_id}` first"
    )
    assert one_row(engine, tables.customers)["erased_at"] is None


SUBSCRIBED = {"subscription_id": "sub_1", "anchor": NOW, "paid_until": NOW + DAY}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (SUBSCRIBED, "has a subscription that runs"),
        ({"held": 3}, "has 3 fixes that wait"),
        ({"parked_at": NOW, "parked_why": "circuit breaker: too much"}, "has not left"),
        ({"parked_at": NOW, "parked_why": "cancelled", **SUBSCRIBED}, "the subscription sub_1 of"),
    ],
)
def test_what_is_not_done_with_is_done_first(
    engine: Engine,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    clock: Clock,
    columns: dict[str, Any],
    sentence: str,
) -> None:
    add_customer_with_card(engine, sandbox, **columns)

    with pytest.raises(NotErasable, match=sentence):
        erase_customer("acme", engine, stripe, clock)


def test_a_charge_in_flight_is_waited_for(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    customer_id = somebody()
    add_customer_with_card(engine, sandbox, customer_id, card="pm_card_chargeCustomerFail")
    key = owe(engine, customer_id)
    assert collect(key, engine, stripe, clock) == "declined"
    cancel_customer(customer_id, engine, stripe, clock)

    with pytest.raises(NotErasable, match=f"the charge {key.charge_id} of {customer_id}"):
        erase_customer(customer_id, engine, stripe, clock)
