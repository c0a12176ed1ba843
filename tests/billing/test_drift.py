"""Our books beside Stripe's lists: which difference is of which kind, and which is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.money import Money
from tests.at_stripe import disputed, invoiced, payment, returned, subscribed
from tests.builders import usd
from worker.billing.disputes import Funds
from worker.billing.drift import SAFE, Booked, Books, Drift, DriftKind, Standing, Truth, compare
from worker.billing.refunds import RefundStatus

K = DriftKind
R = RefundStatus


def booked(dollars: int = 29, *, recent: bool = True) -> dict[str, Booked]:
    return {"pi_1": Booked("acme", usd(dollars), recent)}


def books(**more: Any) -> Books:
    """cus_1 is our acme, whose ledger is in dollars."""
    values: dict[str, Any] = {"payments": {}, "refunds": {}, "disputes": {}, "invoices": {}}
    return Books(**{"owners": {"cus_1": ("acme", "usd")}} | values | more)


STRANGERS = payment(customer="cus_2")
EUROS = payment()._replace(money=Money(2900, "eur"))
PAID = Truth([payment()])

EQUAL: dict[str, tuple[Books, Truth]] = {
    "nothing anywhere": (books(), Truth()),
    "a payment": (books(payments=booked()), PAID),
    "a payment of somebody else": (books(), Truth([STRANGERS])),
    "a payment of nobody": (books(), Truth([payment(customer=None)])),
    "a payment older than the window": (books(payments=booked(recent=False)), Truth()),
    "a payment of somebody who was ours": (books(owners={}, payments=booked()), PAID),
    "a refund": (
        books(payments=booked(), refunds={"re_1": R.SUCCEEDED}),
        replace(PAID, refunds=[returned()]),
    ),
    "a pending refund": (
        books(payments=booked(), refunds={"re_1": R.PENDING}),
        replace(PAID, refunds=[returned("pending")]),
    ),
    "a refund that waits for the customer": (
        books(payments=booked(), refunds={"re_1": R.PENDING}),
        replace(PAID, refunds=[returned("requires_action")]),
    ),
    "a refund with a word we do not know": (
        books(payments=booked(), refunds={"re_1": R.PENDING}),
        replace(PAID, refunds=[returned("under_the_weather")]),
    ),
    "a failed refund": (
        books(payments=booked(), refunds={"re_1": R.FAILED}),
        replace(PAID, refunds=[returned("canceled")]),
    ),
    "a failed refund, of which the list is behind": (
        books(payments=booked(), refunds={"re_1": R.FAILED}),
        replace(PAID, refunds=[returned()]),
    ),
    "a refund of somebody else's payment": (books(), Truth([STRANGERS], [returned()])),
    "a refund of a payment that neither knows": (books(), Truth(refunds=[returned()])),
    "a dispute": (
        books(payments=booked(), disputes={"du_1": Funds.WITHDRAWN}),
        replace(PAID, disputes=[disputed("under_review")]),
    ),
    "a lost dispute": (
        books(payments=booked(), disputes={"du_1": Funds.LOST}),
        replace(PAID, disputes=[disputed("lost")]),
    ),
    "a decided dispute, of which the list is behind": (
        books(payments=booked(), disputes={"du_1": Funds.WON}),
        replace(PAID, disputes=[disputed("needs_response")]),
    ),
    "an inquiry": (
        books(payments=booked(), disputes={"du_1": Funds.OURS}),
        replace(PAID, disputes=[disputed("warning_needs_response")]),
    ),
    "a dispute with a word we do not know": (
        books(payments=booked(), disputes={"du_1": Funds.WITHDRAWN}),
        replace(PAID, disputes=[disputed("in_the_post")]),
    ),
    "a dispute of somebody else's payment": (
        books(),
        Truth([STRANGERS], disputes=[disputed("lost")]),
    ),
    "an invoice": (books(invoices={"in_1": "paid"}), Truth(invoices=[invoiced()])),
    "an invoice of somebody else": (
        books(),
        Truth(invoices=[invoiced(stripe_customer="cus_2")]),
    ),
    "a subscription": (
        books(subscriptions={"sub_1": Standing("active", ends_with_period=False)}),
        Truth(subscriptions=[subscribed()]),
    ),
    "a subscription of somebody else": (
        books(),
        Truth(subscriptions=[subscribed(stripe_customer="cus_2")]),
    ),
    "a subscription that Stripe was not asked about": (
        books(subscriptions={"sub_1": Standing("canceled", ends_with_period=False)}),
        Truth(),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), EQUAL.values(), ids=EQUAL)
def test_what_both_know_is_no_difference(ours: Books, theirs: Truth) -> None:
    found = list(compare(ours, theirs))

    assert found == []


OURS_ONLY = payment()._replace(charge_id="ch_1")
REFUND_EVIDENCE = {"stripe": "$9.00 succeeded", "books": None}
DIFFERENT: dict[str, tuple[Books, Truth, Drift]] = {
    "a refund that Stripe does not list": (
        books(payments=booked(), refunds={"re_1": R.SUCCEEDED}, recent_refunds={"re_1": "acme"}),
        PAID,
        Drift(K.REFUND_NOT_AT_STRIPE, "re_1", "acme", {"books": R.SUCCEEDED, "stripe": None}),
    ),
    "a refund of another amount": (
        books(payments=booked(), refunds={"re_1": R.SUCCEEDED}, amounts={"re_1": usd(8)}),
        replace(PAID, refunds=[returned()]),
        Drift(K.AMOUNT_DIFFERS, "re_1", None, {"stripe": "$9.00", "books": "$8.00"}),
    ),
    "a dispute over another amount": (
        books(payments=booked(), disputes={"du_1": Funds.LOST}, amounts={"du_1": usd(8)}),
        replace(PAID, disputes=[disputed("lost")]),
        Drift(
            K.AMOUNT_DIFFERS,
            "du_1",
            None,
            {"stripe": str(disputed("lost").money), "books": "$8.00"},
        ),
    ),
    "a payment we missed": (
        books(),
        Truth([OURS_ONLY]),
        Drift(K.MISSED_PAYMENT, "pi_1", "acme", {"stripe": "$29.00", "charge": "ch_1"}),
    ),
    "a payment that no charge explains": (
        books(),
        PAID,
        Drift(K.MISSED_PAYMENT, "pi_1", "acme", {"stripe": "$29.00", "charge": None}),
    ),
    "a payment of another amount": (
        books(payments=booked(28)),
        PAID,
        Drift(
            K.AMOUNT_DIFFERS,
            "pi_1",
            "acme",
            {"stripe": "$29.00", "charge": None, "books": "$28.00"},
        ),
    ),
    "a payment booked in another currency": (
        books(payments=booked()),
        Truth([EUROS]),
        Drift(
            K.AMOUNT_DIFFERS,
            "pi_1",
            "acme",
            {"stripe": "€29.00", "charge": None, "books": "$29.00"},
        ),
    ),
    "a payment in another currency": (
        books(),
        Truth([EUROS]),
        Drift(
            K.OTHER_CURRENCY,
            "pi_1",
            "acme",
            {"stripe": "€29.00", "charge": None, "ledger": "usd"},
        ),
    ),
    "a payment for our charge by a stranger": (
        books(),
        Truth([STRANGERS._replace(charge_id="ch_1")]),
        Drift(
            K.STRANGER,
            "pi_1",
            None,
            {"stripe": "$29.00", "charge": "ch_1", "stripe_customer": "cus_2"},
        ),
    ),
    "a payment for our charge by nobody": (
        books(),
        Truth([payment(customer=None)._replace(charge_id="ch_1")]),
        Drift(
            K.STRANGER,
            "pi_1",
            None,
            {"stripe": "$29.00", "charge": "ch_1", "stripe_customer": None},
        ),
    ),
    "a payment that only we know": (
        books(payments=booked()),
        Truth(),
        Drift(K.PAYMENT_NOT_AT_STRIPE, "pi_1", "acme", {"books": "$29.00", "stripe": None}),
    ),
    "a refund we missed": (
        books(payments=booked()),
        replace(PAID, refunds=[returned()]),
        Drift(K.MISSED_REFUND, "re_1", None, REFUND_EVIDENCE),
    ),
    "a refund of a payment older than the window": (
        books(payments=booked(recent=False)),
        Truth(refunds=[returned()]),
        Drift(K.MISSED_REFUND, "re_1", None, REFUND_EVIDENCE),
    ),
    "a refund that has failed since": (
        books(payments=booked(), refunds={"re_1": R.SUCCEEDED}),
        replace(PAID, refunds=[returned("failed")]),
        Drift(K.MISSED_REFUND, "re_1", None, {"stripe": "$9.00 failed", "books": "succeeded"}),
    ),
    "a refund that has succeeded since": (
        books(payments=booked(), refunds={"re_1": R.PENDING}),
        replace(PAID, refunds=[returned()]),
        Drift(K.MISSED_REFUND, "re_1", None, REFUND_EVIDENCE | {"books": "pending"}),
    ),
    "a dispute we missed": (
        books(payments=booked()),
        replace(PAID, disputes=[disputed("needs_response")]),
        Drift(K.MISSED_DISPUTE, "du_1", None, {"stripe": "$29.00 needs_response", "books": None}),
    ),
    "an inquiry we missed": (
        books(payments=booked()),
        replace(PAID, disputes=[disputed("warning_needs_response")]),
        Drift(
            K.MISSED_DISPUTE,
            "du_1",
            None,
            {"stripe": "$29.00 warning_needs_response", "books": None},
        ),
    ),
    "a dispute that was decided since": (
        books(payments=booked(), disputes={"du_1": Funds.WITHDRAWN}),
        replace(PAID, disputes=[disputed("won")]),
        Drift(K.MISSED_DISPUTE, "du_1", None, {"stripe": "$29.00 won", "books": "withdrawn"}),
    ),
    "an invoice we missed": (
        books(),
        Truth(invoices=[invoiced()]),
        Drift(K.MISSED_INVOICE, "in_1", "acme", {"stripe": "$599.00 paid", "books": None}),
    ),
    "an invoice that was paid since": (
        books(invoices={"in_1": "open"}),
        Truth(invoices=[invoiced()]),
        Drift(K.MISSED_INVOICE, "in_1", "acme", {"stripe": "$599.00 paid", "books": "open"}),
    ),
    "a subscription we missed": (
        books(),
        Truth(subscriptions=[subscribed()]),
        Drift(K.MISSED_SUBSCRIPTION, "sub_1", "acme", {"stripe": "active", "books": None}),
    ),
    "a subscription that has ended since": (
        books(subscriptions={"sub_1": Standing("active", ends_with_period=True)}),
        Truth(subscriptions=[subscribed("canceled")]),
        Drift(K.MISSED_SUBSCRIPTION, "sub_1", "acme", {"stripe": "canceled", "books": "active"}),
    ),
    "a subscription that is to end with its period": (
        books(subscriptions={"sub_1": Standing("active", ends_with_period=False)}),
        Truth(subscriptions=[subscribed(cancel_at_period_end=True)]),
        Drift(K.MISSED_SUBSCRIPTION, "sub_1", "acme", {"stripe": "active", "books": "active"}),
    ),
}


@pytest.mark.parametrize(("ours", "theirs", "drift"), DIFFERENT.values(), ids=DIFFERENT)
def test_each_difference_is_told_once_with_what_both_say(
    ours: Books, theirs: Truth, drift: Drift
) -> None:
    found = list(compare(ours, theirs))

    assert found == [drift]


def test_a_payment_comes_before_what_became_of_it() -> None:
    theirs = Truth([payment()], [returned()], [disputed("lost")], [invoiced()], [subscribed()])

    found = [drift.kind for drift in compare(books(), theirs)]

    assert found == [
        K.MISSED_PAYMENT,
        K.MISSED_INVOICE,
        K.MISSED_SUBSCRIPTION,
        K.MISSED_REFUND,
        K.MISSED_DISPUTE,
    ]


def test_all_that_was_looked_at_is_named() -> None:
    theirs = Truth([payment()], [returned()], [disputed("lost")], [invoiced()], [subscribed()])

    named = theirs.subjects()

    assert named == {"pi_1", "re_1", "du_1", "in_1", "sub_1"}


@pytest.mark.parametrize("kind", K)
def test_only_what_stripe_can_be_asked_about_is_repaired(kind: DriftKind) -> None:
    safe = Drift(kind, "an id", None, {}).safe

    assert safe is kind.startswith("missed_")
    assert safe is (kind in SAFE)


def test_every_kind_of_object_that_differs_is_shown_above() -> None:
    # A missed event is found in Stripe's list of events.
    shown = {drift.kind for *_, drift in DIFFERENT.values()}

    assert {*K} - shown == {K.MISSED_EVENT}
