"""What Postgres refuses of charges, refunds and disputes, whatever the code above it does."""

from __future__ import annotations

import pytest

from tests.storage.conftest import Ledger
from tests.storage.refusals import CHECK, FOREIGN, NULL, UNIQUE, inserted, refusal


def charge(**changed: str) -> str:
    """A good charge that is paid, of acme, but for what is changed."""
    values = {
        "customer_id": "'acme'",
        "charge_id": "'ch_new'",
        "status": "'paid'",
        "amount": "100",
        "asked_amount": "100",
        "currency": "'usd'",
        "opened_at": "now()",
        "frozen_at": "now()",
        "paid_at": "now()",
        "payment_intent": "'pi_new'",
    }
    return inserted("charges", values | changed)


def refund(**changed: str) -> str:
    values = {
        "customer_id": "'acme'",
        "refund_id": "'ref_new'",
        "charge_id": "'ch_paid_acme'",
        "payment_intent": "'pi_ch_paid_acme'",
        "amount": "1",
        "currency": "'usd'",
        "status": "'requested'",
        "requested_at": "now()",
        "started_at": "now()",
    }
    return inserted("refunds", values | changed)


def dispute(**changed: str) -> str:
    values = {
        "customer_id": "'acme'",
        "dispute_id": "'du_new'",
        "payment_intent": "'pi_ch_paid_acme'",
        "amount": "1",
        "currency": "'usd'",
        "status": "'needs_response'",
        "funds": "'withdrawn'",
        "opened_at": "now()",
        "recorded_at": "now()",
    }
    return inserted("disputes", values | changed)


def drift(**changed: str) -> str:
    values = {"kind": "'refund'", "subject": "'re_1'", "evidence": "'{}'", "found_at": "now()"}
    return inserted("drifts", values | changed)


def switch(**changed: str) -> str:
    return inserted("collecting", {"one": "true"} | changed)


VOID = {"status": "'void'", "paid_at": "NULL", "payment_intent": "NULL"}
WITHOUT_A_CARD = {"payment_intent": "NULL", "asked_amount": "0"}
BOOKED = {"status": "'pending'", "stripe_refund": "'re_new'"}
OF_A_FIX = {"fix_id": "'charged'"}
SECOND = {"refund_id": "'ref_second'"}

ALLOWED: dict[str, tuple[str, ...]] = {
    "a paid charge": (charge(),),
    "a charge paid without a card": (charge(applied="100", **WITHOUT_A_CARD),),
    "a charge paid in part without a card": (charge(applied="40", asked_amount="60"),),
    "a charge paid for more than was left": (
        charge(applied="40", asked_amount="60", dropped="80"),
    ),
    "a charge that went back whole": (charge(returned="100"),),
    "a void charge that all has left": (charge(dropped="100", **VOID),),
    "a written-off charge": (charge(**VOID),),
    "a refund": (refund(),),
    "a refund at Stripe": (refund(**BOOKED),),
    "a refund of no charge": (refund(charge_id="NULL"),),
    "a fix refunded after a refusal": (
        refund(status="'refused'", **OF_A_FIX),
        refund(**SECOND, **OF_A_FIX),
    ),
    "a fix refunded after a failure": (
        refund(status="'failed'", stripe_refund="'re_failed'", **OF_A_FIX),
        refund(**SECOND, **OF_A_FIX),
    ),
    "two refunds of a charge": (refund(), refund(**SECOND)),
    "the same fix of another customer": (
        refund(**OF_A_FIX),
        refund(customer_id="'globex'", charge_id="'ch_paid_globex'", **OF_A_FIX),
    ),
    "a dispute": (dispute(),),
    "a dispute of no charge": (dispute(charge_id="NULL"),),
    "a drift": (drift(),),
    "a drift of nobody": (drift(customer_id="NULL"),),
    "another drift of the same thing": (drift(), drift(kind="'payment'")),
    "collecting stopped": (switch(stopped_at="now()", stopped_why="'why'"),),
    "collecting started": (switch(started_at="now()"),),
}

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "more applied than is owed": ((charge(applied="101"),), CHECK),
    "less applied than nothing": ((charge(applied="-1"),), CHECK),
    "more dropped than was there": ((charge(dropped="101"),), CHECK),
    "less dropped than nothing": ((charge(dropped="-1"),), CHECK),
    "more parts than a charge in flight has": (
        ("UPDATE charges SET applied = 600, dropped = 500 WHERE charge_id = 'ch_frozen_acme'",),
        CHECK,
    ),
    "more parts than an open charge has": (
        ("UPDATE charges SET applied = 1, dropped = amount WHERE status = 'open'",),
        CHECK,
    ),
    "more returned than was paid": ((charge(returned="101"),), CHECK),
    "more returned than the card paid": (
        (charge(applied="40", asked_amount="60", returned="61"),),
        CHECK,
    ),
    "less returned than nothing": ((charge(returned="-1"),), CHECK),
    "something returned of what is not paid": ((charge(returned="1", **VOID),), CHECK),
    "a card that was not asked": ((charge(applied="99", **WITHOUT_A_CARD),), CHECK),
    "more asked for than is owed": ((charge(asked_amount="101"),), CHECK),
    "less asked for than nothing": ((charge(asked_amount="-1"),), CHECK),
    "a card asked for nothing": ((charge(asked_amount="0"),), CHECK),
    "a negative try": ((charge(tries="-1"),), CHECK),
    "a negative wait": ((charge(waits="-1"),), CHECK),
    "an attempt due for no known reason": ((charge(due_why="'boredom'"),), CHECK),
    "a charge that says nothing of a write-off": ((charge(write_off="NULL"),), NULL),
    "a refund of nothing": ((refund(amount="0"),), CHECK),
    "a negative refund": ((refund(amount="-1"),), CHECK),
    "a refund in an unheard-of state": ((refund(status="'lost'"),), CHECK),
    "a refund on its way that Stripe knows nothing of": ((refund(status="'pending'"),), CHECK),
    "a refund that is there and Stripe knows nothing of": (
        (refund(status="'succeeded'"),),
        CHECK,
    ),
    "a refund of nobody's": ((refund(customer_id="'nobody'", charge_id="NULL"),), FOREIGN),
    "a refund of no charge of ours": ((refund(charge_id="'ch_no'"),), FOREIGN),
    "a refund of another customer's charge": ((refund(charge_id="'ch_paid_globex'"),), FOREIGN),
    "a refund of no payment": ((refund(payment_intent="NULL"),), NULL),
    "a refund kept twice": ((refund(), refund()), UNIQUE),
    "one refund of Stripe's kept twice": ((refund(**BOOKED), refund(**SECOND, **BOOKED)), UNIQUE),
    "a fix refunded twice": ((refund(**OF_A_FIX), refund(**SECOND, **OF_A_FIX)), UNIQUE),
    "a dispute of nothing": ((dispute(amount="0"),), CHECK),
    "a dispute whose money is nowhere": ((dispute(funds="'gone'"),), CHECK),
    "a dispute of nobody's": ((dispute(customer_id="'nobody'"),), FOREIGN),
    "a dispute kept twice": ((dispute(), dispute()), UNIQUE),
    "a drift without evidence": ((drift(evidence="NULL"),), NULL),
    "a drift kept twice": ((drift(), drift()), UNIQUE),
    "collecting stopped for no reason": ((switch(stopped_at="now()"),), CHECK),
    "a reason without a stop": ((switch(stopped_why="'why'"),), CHECK),
    "a second switch": ((switch(), switch()), UNIQUE),
    "a switch beside the one": ((switch(one="false"),), CHECK),
}


@pytest.mark.parametrize("statements", ALLOWED.values(), ids=ALLOWED)
def test_the_worker_may_write_what_is_right(ledger: Ledger, statements: tuple[str, ...]) -> None:
    worker = ledger.worker

    outcome = refusal(worker, *statements)

    assert outcome == "allowed"


@pytest.mark.parametrize(("statements", "sqlstate"), REFUSED.values(), ids=REFUSED)
def test_what_would_break_the_books_is_refused(
    ledger: Ledger, statements: tuple[str, ...], sqlstate: str
) -> None:
    roles = [ledger.worker, ledger.owner]

    outcomes = [refusal(role, *statements) for role in roles]

    assert outcomes == [sqlstate, sqlstate]
