from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.at_stripe import invoiced, subscribed
from tests.builders import DAY, NOW, add_customer, one_row, rows_of
from worker.billing.stripe_objects import StripeInvoice
from worker.billing.subscriptions import ENDED
from worker.storage import tables
from worker.storage.subscriptions import save_invoice, save_subscription, status_of_invoice


def keep(engine: Engine, seen: StripeInvoice, customer_id: str = "acme") -> None:
    with engine.begin() as tx:
        save_invoice(tx, customer_id, seen, NOW)


def test_an_invoice_is_kept_as_stripe_tells_of_it(engine: Engine) -> None:
    add_customer(engine)

    keep(engine, invoiced())

    assert one_row(engine, tables.invoices) == {
        "customer_id": "acme",
        "invoice_id": "in_1",
        "subscription_id": "sub_1",
        "status": "paid",
        "reason": "subscription_create",
        "amount": 59900,
        "currency": "usd",
        "payment_intent": "pi_1",
        "period_start": NOW,
        "period_end": NOW + 31 * DAY,
        "recorded_at": NOW,
    }


def test_what_is_told_of_an_invoice_later_takes_the_place_of_what_was_known(
    engine: Engine,
) -> None:
    add_customer(engine)
    first = invoiced("open", 0, subscription_id=None, reason=None, payment_intent=None)

    keep(engine, first)
    keep(engine, invoiced())

    kept = one_row(engine, tables.invoices)
    assert (kept["status"], kept["amount"], kept["payment_intent"]) == ("paid", 59900, "pi_1")


def test_the_status_of_an_invoice_is_that_of_this_customer(engine: Engine) -> None:
    add_customer(engine, "acme")
    add_customer(engine, "globex")
    keep(engine, invoiced("open"))
    keep(engine, invoiced("void"), "globex")

    with engine.begin() as tx:
        known = [status_of_invoice(tx, each, "in_1") for each in ("acme", "globex", "nobody")]
        new = status_of_invoice(tx, "acme", "in_2")

    assert (known, new) == (["open", "void", None], None)


def test_a_subscription_is_kept_as_stripe_told_of_it_last(engine: Engine) -> None:
    add_customer(engine)

    with engine.begin() as tx:
        save_subscription(tx, "acme", subscribed(), NOW - DAY)
        save_subscription(tx, "acme", subscribed("past_due", cancel_at_period_end=True), NOW)
        save_subscription(tx, "acme", subscribed(subscription_id="sub_2"), NOW)

    first, second = rows_of(engine, tables.subscriptions)
    assert first == {
        "customer_id": "acme",
        "subscription_id": "sub_1",
        "status": "past_due",
        "period_start": NOW,
        "period_end": NOW + 31 * DAY,
        "cancel_at_period_end": True,
        "anchor": NOW,
        "ended_at": None,
        "order_id": None,
        "invoice_id": "in_1",
        "recorded_at": NOW,
    }
    assert (second["subscription_id"], second["status"]) == ("sub_2", "active")


@pytest.mark.parametrize("ended", ENDED)
def test_a_subscription_that_has_ended_stays_so_whatever_is_read_late(
    engine: Engine, ended: str
) -> None:
    add_customer(engine)

    with engine.begin() as tx:
        save_subscription(tx, "acme", subscribed(ended, ended_at=NOW), NOW)
        save_subscription(tx, "acme", subscribed("active"), NOW + DAY)

    kept = one_row(engine, tables.subscriptions)
    assert (kept["status"], kept["ended_at"]) == (ended, NOW)
