"""A webhook is a hint: whatever it says, Stripe is asked, and what Stripe says is booked once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from tests.builders import deployed, one_row, outcomes, rows_of, settle_events
from tests.collecting import (
    PRICE,
    Case,
    assert_books_equal_stripe,
    assert_paid_once,
    dies,
    store,
)
from tests.stack import HastyGateway
from worker.billing.charges import ChargeStatus
from worker.storage import tables
from worker.storage.stripe_events import TRY_AGAIN, claim_due_events
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway

S = ChargeStatus
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


@pytest.fixture
def unrecorded(case: Case) -> Case:
    """The card was charged; the collector died before that could be recorded."""
    dies(case.collect, case, "confirm", heard=True)
    assert case.charge["status"] == "frozen"
    return case


def hear(case: Case, event: dict[str, Any], gateway: StripeGateway | None = None) -> str:
    (stored,) = store(case.engine, case.clock, event)
    return apply_stripe_event(stored, case.engine, gateway or case.gateway, case.clock)


def test_a_payment_whose_collector_died_is_booked_by_the_webhook(unrecorded: Case) -> None:
    case = unrecorded

    result = hear(case, about_intent(case.intent))

    assert result == f"succeeded: {case.key.charge_id}"
    row = one_row(case.engine, tables.stripe_events)
    assert (row["due_at"], row["leased_until"], row["result"]) == (None, None, result)
    assert case.answers() == ["succeeded"]
    assert case.collect() is None
    assert_paid_once(case)


@pytest.mark.parametrize("order", list(permutations(["succeeded", "charge", "collect"])))
def test_in_whatever_order_webhooks_and_collector_learn_of_it_a_payment_is_booked_once(
    order: tuple[str, ...], unrecorded: Case
) -> None:
    case = unrecorded
    store(case.engine, case.clock, about_intent(case.intent), about_charge(case.intent))

    for step in order * 2:
        if step == "collect":
            case.collect()
        else:
            apply_stripe_event(f"evt_{step}", case.engine, case.gateway, case.clock)

    assert {row["due_at"] for row in rows_of(case.engine, tables.stripe_events)} == {None}
    assert_paid_once(case)


def test_a_webhook_before_the_collector_has_saved_the_intent_is_understood_by_its_metadata(
    case: Case,
) -> None:
    dies(case.collect, case, "create", heard=True)
    intents = case.sandbox.client().v1.payment_intents
    (intent,) = intents.list({"customer": case.stripe_customer}).data
    intents.confirm(intent.id, {"off_session": True})
    assert case.charge["payment_intent"] is None

    hear(case, about_intent(intent.id))

    assert case.intent == intent.id
    assert case.collect() is None
    assert_paid_once(case)


def test_a_webhook_that_lies_books_what_stripe_says(case: Case) -> None:
    dies(case.collect, case, "confirm", heard=False)

    result = hear(case, about_intent(case.intent, "succeeded"))

    assert result == f"ready: {case.key.charge_id}"
    assert (case.charge["status"], case.moved("pay")) == ("frozen", [])
    assert_books_equal_stripe(case)


def test_a_decline_is_left_to_the_collector(owing: Callable[..., Case]) -> None:
    case = owing("pm_card_chargeCustomerFail")
    case.collect()
    before = case.charge

    hear(case, about_intent(case.intent, "payment_failed"))

    assert case.charge == before
    assert case.answers() == ["declined"]


def test_an_intent_that_is_not_ours_or_not_paid_is_left_alone(case: Case) -> None:
    foreign = case.sandbox.client().v1.payment_intents.create(
        {"amount": PRICE, "currency": "usd", "customer": case.stripe_customer}
    )

    result = hear(case, about_intent(foreign.id))

    assert result == "no charge of ours"
    assert case.standing == {"receivable": PRICE}
    assert one_row(case.engine, tables.stripe_events)["due_at"] is None


def test_an_intent_that_stripe_does_not_know_is_left_alone(case: Case) -> None:
    result = hear(case, about_intent("pi_never_made"))

    assert result == "Stripe refused: No such payment_intent: 'pi_never_made'"
    assert one_row(case.engine, tables.stripe_events)["due_at"] is None
    assert case.charge["status"] == "open"


def test_what_names_nothing_of_ours_is_done_without_asking_stripe(case: Case) -> None:
    away = StripeGateway(case.sandbox.api_key, "http://127.0.0.1:1")
    events = [
        webhook("evt_null", "charge.updated", {"id": "ch_1", "payment_intent": None}),
        webhook("evt_number", "charge.updated", {"id": "ch_1", "payment_intent": 7}),
        webhook("evt_no_id", "payment_intent.created", {"object": "payment_intent"}),
        webhook("evt_no_object", "balance.available", None),
        webhook("evt_list", "balance.available", []),
        webhook("evt_no_data", "balance.available", ...),
    ]

    results = {hear(case, each, away) for each in events}

    rows = rows_of(case.engine, tables.stripe_events)
    assert results == {"nothing of ours"}
    assert {(row["due_at"], row["result"]) for row in rows} == {(None, "nothing of ours")}


@pytest.mark.parametrize("fault", ["http_500_before", "html_502", "http_429"])
def test_while_stripe_gives_no_clear_answer_the_event_is_asked_about_again_later(
    fault: str, unrecorded: Case
) -> None:
    case = unrecorded
    case.sandbox.fault(fault, "GET", f"/v1/payment_intents/{case.intent}")
    event, wall = about_intent(case.intent), case.clock.wall()

    first = hear(case, event, HastyGateway(case.sandbox))

    row = one_row(case.engine, tables.stripe_events)
    assert (first, row["result"]) == ("asked again later", None)
    assert wall + TRY_AGAIN <= row["due_at"] <= case.clock.wall() + TRY_AGAIN
    assert case.moved("pay") == []
    with case.engine.begin() as tx:
        assert claim_due_events(tx, wall + TRY_AGAIN - timedelta(seconds=1), 10) == []
        assert claim_due_events(tx, case.clock.wall() + TRY_AGAIN, 10) == [event["id"]]
    hear(case, event)
    assert_paid_once(case)


def test_a_worker_that_dies_over_an_event_leaves_it_to_the_next_one(unrecorded: Case) -> None:
    case = unrecorded
    (event,) = store(case.engine, case.clock, about_intent(case.intent))
    with case.engine.begin() as tx:
        assert claim_due_events(tx, case.clock.wall(), 10) == [event]

    with case.engine.begin() as tx:
        leased = claim_due_events(tx, case.clock.wall(), 10)
        after_the_lease = claim_due_events(tx, case.clock.wall() + MORE_THAN_A_LEASE, 10)

    assert (leased, after_the_lease) == ([], [event])
    assert one_row(case.engine, tables.stripe_events)["tries"] == 2
    apply_stripe_event(event, case.engine, case.gateway, case.clock)
    assert_paid_once(case)


def test_a_payment_of_another_amount_is_not_booked_on_the_charge(case: Case) -> None:
    dies(case.collect, case, "create", heard=False)
    (attempt,) = case.attempts()
    wrong = attempt["parameters"] | {"amount": 100, "confirm": True, "off_session": True}
    intent = case.sandbox.client().v1.payment_intents.create(wrong)

    hear(case, about_intent(intent.id))

    assert (case.charge["status"], case.moved("pay")) == ("parked", [])


def test_a_payment_ends_the_arrears_and_new_fixes_are_charged_again(
    owing: Callable[..., Case],
) -> None:
    case = owing("pm_card_authenticationRequired")
    assert case.collect() is S.ACTION_REQUIRED
    assert case.book["past_due"]
    pay_on_session(case)

    hear(case, about_intent(case.intent))
    settle_events(case.engine, deployed("fix-2"))

    assert case.charge["status"] == "paid"
    assert not case.book["past_due"]
    assert outcomes(case.engine)["fix-2"] == "charged"
    assert_books_equal_stripe(case)


def pay_on_session(case: Case) -> None:
    """The customer comes back with a card that needs no further word."""
    client = case.sandbox.client()
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": case.stripe_customer})
    client.v1.payment_intents.confirm(case.intent, {"payment_method": card.id})
