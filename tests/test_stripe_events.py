"""A webhook is a hint: whatever it says, Stripe is asked, and what Stripe says is booked once."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.builders import (
    NOW,
    add_customer_with_card,
    deployed,
    one_row,
    owe,
    rows_of,
    settle_events,
)
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from worker.billing.answers import AnswerKind
from worker.clock import Clock
from worker.collect import collect, confirm, create, freeze
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.stripe_events import TRY_AGAIN, claim_due_events, store_event
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.stripe_webhooks import parse_webhook

MORE_THAN_A_LEASE = timedelta(minutes=10)


def webhook(id: str, type: str, thing: object) -> dict[str, Any]:
    return {
        "id": id,
        "object": "event",
        "type": type,
        "livemode": False,
        "data": {} if thing is ... else {"object": thing},
    }


def about_intent(intent: str, what: str = "succeeded", id: str | None = None) -> dict[str, Any]:
    thing = {"id": intent, "object": "payment_intent"}
    return webhook(id or f"evt_{what}", f"payment_intent.{what}", thing)


def about_charge(intent: str) -> dict[str, Any]:
    thing = {"id": "ch_of_stripe", "object": "charge", "payment_intent": intent}
    return webhook("evt_charge", "charge.succeeded", thing)


def store(engine: Engine, clock: Clock, *events: dict[str, Any]) -> list[str]:
    with engine.begin() as tx:
        for each in events:
            store_event(tx, parse_webhook(json.dumps(each).encode()), clock.wall())
    return [str(each["id"]) for each in events]


@pytest.fixture
def owed(engine: Engine, sandbox: RunningSandbox) -> ChargeKey:
    """29 dollars on an open charge of a customer whose card is good."""
    add_customer_with_card(engine, sandbox)
    return owe(engine)


@pytest.fixture
def unrecorded(owed: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock) -> str:
    """A payment that succeeded at Stripe; the collector died before it could be recorded."""
    attempt = freeze(owed, engine, stripe, clock)
    assert attempt is not None
    answer = confirm(attempt, create(attempt, engine, stripe), stripe)
    assert answer.kind is AnswerKind.SUCCEEDED
    assert answer.payment_intent is not None
    assert one_row(engine, tables.charges)["status"] == "frozen"
    return answer.payment_intent


def test_a_payment_whose_collector_died_is_booked_by_the_webhook(
    unrecorded: str,
    owed: ChargeKey,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
    sandbox: RunningSandbox,
) -> None:
    (event,) = store(engine, clock, about_intent(unrecorded))

    result = apply_stripe_event(event, engine, stripe, clock)

    assert result == f"succeeded: {owed.charge_id}"
    charge = one_row(engine, tables.charges)
    assert (charge["status"], charge["payment_intent"]) == ("paid", unrecorded)
    assert one_row(engine, tables.transfers, kind="pay")["amount"] == 2900
    assert one_row(engine, tables.attempts)["answer"] == "succeeded"
    row = one_row(engine, tables.stripe_events)
    assert (row["due_at"], row["leased_until"], row["result"]) == (None, None, result)
    assert collect(owed, engine, stripe, clock) is None
    assert len(sandbox.payments(payment_intent=unrecorded)) == 1


@pytest.mark.parametrize("order", list(permutations(["succeeded", "charge", "collect"])))
def test_in_whatever_order_webhooks_and_collector_learn_of_it_a_payment_is_booked_once(
    order: tuple[str, ...],
    unrecorded: str,
    owed: ChargeKey,
    engine: Engine,
    stripe: StripeGateway,
    clock: Clock,
) -> None:
    store(engine, clock, about_intent(unrecorded), about_charge(unrecorded))

    for step in order * 2:
        if step == "collect":
            collect(owed, engine, stripe, clock)
        else:
            apply_stripe_event(f"evt_{step}", engine, stripe, clock)

    assert one_row(engine, tables.charges)["status"] == "paid"
    assert len(rows_of(engine, tables.transfers, kind="pay")) == 1
    assert one_row(engine, tables.books)["receivable"] == 0
    assert {row["due_at"] for row in rows_of(engine, tables.stripe_events)} == {None}


def test_a_webhook_before_the_collector_has_saved_the_intent_is_understood_by_its_metadata(
    owed: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    attempt = freeze(owed, engine, stripe, clock)
    assert attempt is not None
    intent = stripe.create_intent(attempt.parameters, attempt.attempt_id).payment_intent
    assert intent is not None
    stripe.confirm_intent(intent, attempt.parameters["payment_method"], "lost")
    assert one_row(engine, tables.charges)["payment_intent"] is None
    (event,) = store(engine, clock, about_intent(intent))

    apply_stripe_event(event, engine, stripe, clock)

    charge = one_row(engine, tables.charges)
    assert (charge["status"], charge["payment_intent"]) == ("paid", intent)
    assert collect(owed, engine, stripe, clock) is None


def test_a_webhook_that_lies_books_what_stripe_says(
    owed: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    attempt = freeze(owed, engine, stripe, clock)
    assert attempt is not None
    intent = create(attempt, engine, stripe).payment_intent
    assert intent is not None
    (event,) = store(engine, clock, about_intent(intent, "succeeded"))

    result = apply_stripe_event(event, engine, stripe, clock)

    assert result == f"ready: {owed.charge_id}"
    assert one_row(engine, tables.charges)["status"] == "frozen"
    assert rows_of(engine, tables.transfers, kind="pay") == []


def test_a_decline_is_left_to_the_collector(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    add_customer_with_card(engine, sandbox, card="pm_card_chargeCustomerFail")
    key = owe(engine)
    collect(key, engine, stripe, clock)
    before = one_row(engine, tables.charges)
    assert before["status"] == "declined"
    (event,) = store(engine, clock, about_intent(before["payment_intent"], "payment_failed"))

    apply_stripe_event(event, engine, stripe, clock)

    assert one_row(engine, tables.charges) == before
    assert len(rows_of(engine, tables.attempts)) == 1


def test_a_payment_that_is_not_ours_is_left_alone(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    customer = add_customer_with_card(engine, sandbox)
    client = sandbox.client()
    foreign = client.v1.payment_intents.create(
        {"amount": 2900, "currency": "usd", "customer": customer}
    ).id
    (event,) = store(engine, clock, about_intent(foreign))

    result = apply_stripe_event(event, engine, stripe, clock)

    assert result == "no charge of ours"
    assert rows_of(engine, tables.transfers) == []
    assert one_row(engine, tables.stripe_events)["due_at"] is None


def test_an_intent_that_stripe_does_not_know_is_left_alone(
    owed: ChargeKey, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    (event,) = store(engine, clock, about_intent("pi_never_made"))

    result = apply_stripe_event(event, engine, stripe, clock)

    assert result == "no charge of ours"
    assert one_row(engine, tables.charges)["status"] == "open"


def test_what_is_not_about_a_payment_is_done_without_asking_stripe(
    engine: Engine, sandbox: RunningSandbox, clock: Clock
) -> None:
    events = store(
        engine,
        clock,
        webhook("evt_customer", "customer.updated", {"id": "cus_1", "object": "customer"}),
        webhook("evt_null", "charge.updated", {"id": "ch_1", "payment_intent": None}),
        webhook("evt_number", "charge.updated", {"id": "ch_1", "payment_intent": 7}),
        webhook("evt_no_id", "payment_intent.created", {"object": "payment_intent"}),
        webhook("evt_no_object", "balance.available", None),
        webhook("evt_list", "balance.available", []),
        webhook("evt_no_data", "balance.available", ...),
    )
    away = StripeGateway(sandbox.api_key, "http://127.0.0.1:1")

    results = {apply_stripe_event(each, engine, away, clock) for each in events}

    rows = rows_of(engine, tables.stripe_events)
    assert results == {"not about a payment"}
    assert {(row["due_at"], row["result"]) for row in rows} == {(None, "not about a payment")}


@pytest.mark.parametrize("fault", ["http_500_before", "html_502", "http_429"])
def test_while_stripe_gives_no_clear_answer_the_event_is_asked_about_again_later(
    fault: str,
    unrecorded: str,
    engine: Engine,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    clock: Clock,
) -> None:
    (event,) = store(engine, clock, about_intent(unrecorded))
    sandbox.fault(fault, "GET", f"/v1/payment_intents/{unrecorded}")
    wall = clock.wall()

    first = apply_stripe_event(event, engine, HastyGateway(sandbox), clock)

    row = one_row(engine, tables.stripe_events)
    assert first == "asked again later"
    assert row["result"] is None
    assert wall + TRY_AGAIN <= row["due_at"] <= clock.wall() + TRY_AGAIN
    assert rows_of(engine, tables.transfers, kind="pay") == []
    with engine.begin() as tx:
        assert claim_due_events(tx, wall + TRY_AGAIN - timedelta(seconds=1), 10) == []
        assert claim_due_events(tx, clock.wall() + TRY_AGAIN, 10) == [event]
    apply_stripe_event(event, engine, stripe, clock)
    assert one_row(engine, tables.charges)["status"] == "paid"


def test_a_worker_that_dies_over_an_event_leaves_it_to_the_next_one(
    unrecorded: str, engine: Engine, stripe: StripeGateway, clock: Clock
) -> None:
    (event,) = store(engine, clock, about_intent(unrecorded))
    with engine.begin() as tx:
        assert claim_due_events(tx, clock.wall(), 10) == [event]

    with engine.begin() as tx:
        leased = claim_due_events(tx, clock.wall(), 10)
        after_the_lease = claim_due_events(tx, clock.wall() + MORE_THAN_A_LEASE, 10)

    assert (leased, after_the_lease) == ([], [event])
    assert one_row(engine, tables.stripe_events)["tries"] == 2
    apply_stripe_event(event, engine, stripe, clock)
    assert one_row(engine, tables.charges)["status"] == "paid"


def test_a_payment_of_another_amount_is_not_booked_and_waits_for_an_operator(
    owed: ChargeKey, engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    attempt = freeze(owed, engine, stripe, clock)
    assert attempt is not None
    intent = stripe.create_intent(attempt.parameters | {"amount": 100}, "other").payment_intent
    assert intent is not None
    stripe.confirm_intent(intent, attempt.parameters["payment_method"], "other-1")
    (event,) = store(engine, clock, about_intent(intent))

    apply_stripe_event(event, engine, stripe, clock)

    assert one_row(engine, tables.charges)["status"] == "parked"
    assert rows_of(engine, tables.transfers, kind="pay") == []


def test_a_payment_ends_the_arrears_and_new_fixes_are_charged_again(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> None:
    add_customer_with_card(engine, sandbox, card="pm_card_authenticationRequired")
    key = owe(engine)
    collect(key, engine, stripe, clock)
    charge = one_row(engine, tables.charges)
    assert charge["status"] == "action_required"
    assert one_row(engine, tables.books)["past_due"]
    pay_on_session(sandbox, charge["payment_intent"])
    (event,) = store(engine, clock, about_intent(charge["payment_intent"]))

    apply_stripe_event(event, engine, stripe, clock)
    settle_events(engine, deployed("fix-2"), now=NOW)

    assert one_row(engine, tables.charges, charge_id=key.charge_id)["status"] == "paid"
    assert not one_row(engine, tables.books)["past_due"]
    assert one_row(engine, tables.fixes, fix_id="fix-2")["outcome"] == "charged"


def pay_on_session(sandbox: RunningSandbox, intent: str) -> None:
    """The customer comes back with a card that needs no further word."""
    client = sandbox.client()
    customer = client.v1.payment_intents.retrieve(intent).customer
    assert isinstance(customer, str)
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    client.v1.payment_intents.confirm(intent, {"payment_method": card})
