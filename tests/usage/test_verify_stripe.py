"""The books against Stripe: whatever moved on one side only, or unequally, is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.at_stripe import disputed, payment, returned
from tests.builders import NOW, add_customer_with_card, one_row, owe, usd
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import Database, Databases
from worker.billing.stripe_objects import Payment, StripeDispute, StripeRefund
from worker.clock import Clock
from worker.collect import collect, freeze
from worker.dispute import record_dispute
from worker.learn import learn_payment
from worker.refund import record_refund, refund, request_refund
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.refunds import Payer
from worker.stripe_gateway import StripeGateway
from worker.usage.at_stripe import Collected, Truth, differences
from worker.usage.verify import verify

# The rule, without a Stripe.


def truth(*seen: Payment | StripeRefund | StripeDispute) -> Truth:
    return Truth(
        [each for each in seen if isinstance(each, Payment)],
        [each for each in seen if isinstance(each, StripeRefund)],
        [each for each in seen if isinstance(each, StripeDispute)],
    )


PAID = {"pi_1": 2900}
CASES: dict[str, tuple[dict[str, int], Truth, list[str]]] = {
    "nothing anywhere": ({}, truth(), []),
    "a payment in both": (PAID, truth(payment()), []),
    "a payment in the books": (PAID, truth(), ["pi_1: Stripe has 0, the books 2900"]),
    "a payment at Stripe": ({}, truth(payment()), ["pi_1: Stripe has 2900, the books 0"]),
    "a payment of somebody else": ({}, truth(payment(customer="cus_2")), []),
    "another amount": (PAID, truth(payment(2901)), ["pi_1: Stripe has 2901, the books 2900"]),
    "paid twice": (PAID, truth(payment(), payment()), ["pi_1 was paid 2 times"]),
    "a refund in both": (PAID | {"re_1": 900}, truth(payment(), returned()), []),
    "a pending refund in both": (PAID | {"re_1": 900}, truth(payment(), returned("pending")), []),
    "a failed refund in both": (PAID | {"re_1": 0}, truth(payment(), returned("failed")), []),
    "a failed refund at Stripe": (PAID, truth(payment(), returned("failed")), []),
    "a cancelled refund in both": (PAID | {"re_1": 0}, truth(payment(), returned("canceled")), []),
    "a refund at Stripe": (
        PAID,
        truth(payment(), returned()),
        ["re_1: Stripe has 900, the books 0"],
    ),
    "a refund in the books": (
        PAID | {"re_1": 900},
        truth(payment()),
        ["re_1: Stripe has 0, the books 900"],
    ),
    "a refund of somebody else's payment": (PAID, truth(payment(), returned(intent="pi_2")), []),
    "a dispute in both": (PAID | {"du_1": 2900}, truth(payment(), disputed("under_review")), []),
    "a lost dispute in both": (PAID | {"du_1": 2900}, truth(payment(), disputed("lost")), []),
    "a won dispute in both": (PAID | {"du_1": 0}, truth(payment(), disputed("won")), []),
    "an inquiry": (PAID, truth(payment(), disputed("warning_needs_response")), []),
    "a dispute at Stripe": (
        PAID,
        truth(payment(), disputed("needs_response")),
        ["du_1: Stripe has 2900, the books 0"],
    ),
    "a dispute of somebody else's payment": (
        PAID,
        truth(payment(), disputed("lost", intent="pi_2")),
        [],
    ),
    "what needed no card": (PAID | {"ch_1": 50}, truth(payment()), []),
}


@pytest.mark.parametrize(("booked", "seen", "found"), CASES.values(), ids=CASES)
def test_whatever_moved_on_one_side_only_is_told(
    booked: dict[str, int], seen: Truth, found: list[str]
) -> None:
    ours = Collected(booked, set(), {"cus_1"})

    told = list(differences(ours, seen, ours))

    assert told == found


MEANWHILE: dict[str, tuple[dict[str, int], Truth, dict[str, int], set[str]]] = {
    "booked meanwhile": ({}, truth(payment()), PAID, set()),
    "under way": ({}, truth(payment()), {}, {"pi_1"}),
    "booked after Stripe was asked": ({}, truth(), PAID, set()),
    "a refund under way": (PAID, truth(payment(), returned()), PAID, {"pi_1"}),
    "a refund of which an event waits": (PAID, truth(payment(), returned()), PAID, {"re_1"}),
    "a refund that fails": (
        PAID | {"re_1": 900},
        truth(payment(), returned("failed")),
        PAID | {"re_1": 0},
        set(),
    ),
    "a refund that fails in a moment": (
        PAID | {"re_1": 900},
        truth(payment(), returned()),
        PAID | {"re_1": 0},
        set(),
    ),
    "a dispute that is won": (
        PAID | {"du_1": 2900},
        truth(payment(), disputed("won")),
        PAID | {"du_1": 0},
        set(),
    ),
    "a dispute of which an event waits": (
        PAID,
        truth(payment(), disputed("needs_response")),
        PAID,
        {"du_1"},
    ),
}


@pytest.mark.parametrize(("first", "seen", "then", "under_way"), MEANWHILE.values(), ids=MEANWHILE)
def test_what_moves_while_we_look_is_no_difference(
    first: dict[str, int], seen: Truth, then: dict[str, int], under_way: set[str]
) -> None:
    before, after = (Collected(each, under_way, {"cus_1"}) for each in (first, then))

    told = list(differences(before, seen, after))

    assert told == []


# With one.


@pytest.fixture
def database(databases: Databases) -> Iterator[Database]:
    """In place of the busy one: here only what Stripe knows of has happened."""
    with databases.fresh() as one:
        yield one


@pytest.fixture
def stripe_customer(engine: Engine, sandbox: RunningSandbox) -> str:
    return add_customer_with_card(engine, sandbox, "initech")


@pytest.fixture
def paid(engine: Engine, stripe: StripeGateway, clock: Clock, stripe_customer: str) -> ChargeKey:
    """initech has paid one charge, at Stripe and in the books."""
    key = owe(engine, "initech")
    collect(key, engine, stripe, clock)
    return key


def differing(engine: Engine, stripe: StripeGateway) -> list[str]:
    checks = verify(engine, stripe)
    assert [each for each in checks[:-1] if not each.ok] == []
    return checks[-1].offenders


def stray_payment(sandbox: RunningSandbox, stripe_customer: str) -> str:
    """Made by hand at Stripe."""
    wanted: Any = {
        "amount": 700,
        "currency": "usd",
        "customer": stripe_customer,
        "payment_method": "pm_card_visa",
        "confirm": True,
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    return sandbox.client().v1.payment_intents.create(wanted).id


def test_a_payment_that_both_know_is_none_to_worry_about(
    engine: Engine, stripe: StripeGateway, paid: ChargeKey
) -> None:
    offenders = differing(engine, stripe)

    assert offenders == []


def test_a_payment_without_a_charge_is_found_until_it_is_learnt(
    engine: Engine,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    clock: Clock,
    stripe_customer: str,
) -> None:
    intent = stray_payment(sandbox, stripe_customer)

    before = differing(engine, stripe)
    learn_payment(intent, engine, stripe, clock)
    after = differing(engine, stripe)

    assert (before, after) == ([f"{intent}: Stripe has 700, the books 0"], [])


def test_a_refund_is_in_both(
    engine: Engine, stripe: StripeGateway, clock: Clock, paid: ChargeKey
) -> None:
    refund(request_refund(paid, engine, clock, amount=900), engine, stripe, clock)

    offenders = differing(engine, stripe)

    assert offenders == []


def test_a_refund_that_only_one_side_knows_is_found(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock, paid: ChargeKey
) -> None:
    intent = one_row(engine, tables.charges)["payment_intent"]
    by_hand = sandbox.client().v1.refunds.create({"payment_intent": intent, "amount": 100})
    never = StripeRefund("re_never", intent, usd(2), "succeeded", None, None, NOW)
    record_refund(Payer("initech", paid.charge_id), None, never, engine, clock)

    offenders = differing(engine, stripe)

    assert sorted(offenders) == sorted(
        [
            f"{by_hand.id}: Stripe has 100, the books 0",
            "re_never: Stripe has 0, the books 200",
        ]
    )


@pytest.mark.parametrize("verdict", ["winning_evidence", "losing_evidence"])
def test_a_dispute_is_in_both_however_it_ends(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock, verdict: str
) -> None:
    add_customer_with_card(engine, sandbox, "initech", card="pm_card_createDispute")
    key = owe(engine, "initech")
    collect(key, engine, stripe, clock)
    client, intent = sandbox.client(), one_row(engine, tables.charges)["payment_intent"]
    (dispute,) = client.v1.disputes.list({"payment_intent": intent}).data
    told = [differing(engine, stripe)]

    def follow() -> None:
        payer = Payer("initech", key.charge_id)
        record_dispute(payer, stripe.dispute(dispute.id), engine, clock)
        told.append(differing(engine, stripe))

    follow()
    client.v1.disputes.update(
        dispute.id, {"evidence": {"uncategorized_text": verdict}, "submit": True}
    )
    sandbox.advance(5)
    follow()

    assert told == [[f"{dispute.id}: Stripe has 2900, the books 0"], [], []]


def test_a_payment_of_another_amount_is_found(
    engine: Engine, owner: Engine, stripe: StripeGateway, paid: ChargeKey
) -> None:
    with owner.begin() as tx:
        tx.exec_driver_sql("SET LOCAL session_replication_role = replica")
        tx.exec_driver_sql("UPDATE transfers SET amount = 2901 WHERE kind = 'pay'")

    (check,) = (each for each in verify(engine, stripe) if each.name == "money_equals_stripe")

    assert {each.split(": ")[1] for each in check.offenders} == {"Stripe has 2900, the books 2901"}


def test_a_charge_that_was_frozen_and_not_asked_for_is_no_difference(
    engine: Engine, stripe: StripeGateway, clock: Clock, paid: ChargeKey
) -> None:
    freeze(owe(engine, "initech", "fix-2"), engine, stripe, clock)

    offenders = differing(engine, stripe)

    assert offenders == []
