"""A subscription's invoices are booked once, however we hear of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest
import stripe as sdk
from sqlalchemy import Engine

from tests.builders import HOUR, MINUTE, add_customer_with_card, one_row, owe, rows_of
from tests.collecting import store
from tests.sandbox.sandbox_process import RunningSandbox, running_sandbox
from tests.sandbox.subscribers import (
    DECLINES,
    advance_to,
    events_since,
    invoices,
    period,
    subscribe,
    use_card,
)
from worker.billing.drift import Window
from worker.billing.stripe_objects import StripeInvoice
from worker.clock import Clock
from worker.collect import collect
from worker.learn import learn_payment
from worker.reconcile import Reconciled, reconcile
from worker.storage import tables
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.subscription import follow_invoice
from worker.usage.verify import verify

NOWHERE = "http://127.0.0.1:1"
MONTHLY = 59900
BOOKED = [("invoice", MONTHLY), ("pay", MONTHLY)]


@pytest.fixture(scope="module")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """One with a clock of its own, which runs months ahead."""
    with running_sandbox(tmp_path_factory.mktemp("subscriptions")) as one:
        yield one


@pytest.fixture
def clock(sandbox: RunningSandbox) -> Clock:
    """In step with Stripe's, an hour after whatever other tests did there."""
    sandbox.advance(int(HOUR.total_seconds()))
    now = datetime.fromtimestamp(sandbox.ask("GET", "clock")["now"], UTC)
    return Clock(now - datetime.now(UTC))


@dataclass
class Subscriber:
    """acme, who pays 599 dollars a month at Stripe, of which our books know nothing yet."""

    made: sdk.Subscription
    customer: sdk.Customer
    engine: Engine
    sandbox: RunningSandbox
    gateway: StripeGateway
    clock: Clock

    @property
    def client(self) -> sdk.StripeClient:
        return self.sandbox.client()

    @property
    def invoice(self) -> str:
        """The last one."""
        return invoices(self.client, self.made)[-1].id

    @property
    def intent(self) -> str:
        """What pays the last invoice."""
        intent = self.gateway.invoice(self.invoice).payment_intent
        assert intent is not None
        return intent

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What Stripe tells of this customer, oldest first; of these kinds, or all."""
        told = self.sandbox.events_about(self.customer.id)
        return [each for each in told if not kinds or each["type"] in kinds]

    def hear(self, *events: dict[str, Any]) -> list[str]:
        store(self.engine, self.clock, *events)
        return [
            apply_stripe_event(each["id"], self.engine, self.gateway, self.clock) for each in events
        ]

    def reconcile(self) -> Reconciled:
        """What was made at Stripe in this test, beside the books."""
        now = self.clock.now()
        window = Window(now - 30 * MINUTE, now + MINUTE)
        return reconcile(window, self.engine, self.gateway, self.clock)

    def moved(self) -> list[tuple[str, int]]:
        rows = rows_of(self.engine, tables.transfers)
        return [(row["kind"], row["amount"]) for row in rows]

    @property
    def book(self) -> dict[str, Any]:
        return one_row(self.engine, tables.books)

    def kept(self) -> list[tuple[str, int]]:
        """The invoices we know: status, and what was paid."""
        rows = rows_of(self.engine, tables.invoices)
        found = sorted(rows, key=lambda row: bool(row["reason"] == "subscription_cycle"))
        return [(row["status"], row["amount"]) for row in found]

    def broken(self) -> list[str]:
        checks = verify(self.engine, self.gateway)
        return [each for check in checks for each in check.offenders]


def plain(event: sdk.Event) -> dict[str, Any]:
    """As it came over the wire; the SDK reads some amounts as Decimal."""
    body: dict[str, Any] = json.loads(json.dumps(event.to_dict(), default=str))
    return body


@pytest.fixture
def acme(
    engine: Engine, sandbox: RunningSandbox, stripe: StripeGateway, clock: Clock
) -> Subscriber:
    stripe_customer = add_customer_with_card(engine, sandbox)
    client = sandbox.client()
    customer = client.v1.customers.retrieve(stripe_customer)
    use_card(client, customer, "pm_card_visa")
    return Subscriber(subscribe(client, customer), customer, engine, sandbox, stripe, clock)


def assert_booked_once(acme: Subscriber) -> None:
    assert acme.moved() == BOOKED
    assert (acme.book["cash"], acme.book["revenue"]) == (MONTHLY, -MONTHLY)
    assert (acme.book["receivable"], acme.book["unapplied"]) == (0, 0)
    assert acme.kept() == [("paid", MONTHLY)]
    assert [each["amount"] for each in acme.sandbox.payments(customer=acme.customer.id)] == [
        MONTHLY
    ]
    assert acme.broken() == []


TELLING = ("payment_intent.succeeded", "invoice.paid", "customer.subscription.created")


@pytest.mark.parametrize("order", list(permutations(TELLING)), ids=" then ".join)
def test_in_whatever_order_webhooks_come_the_invoice_is_booked_once(
    acme: Subscriber, order: tuple[str, ...]
) -> None:
    (events,) = zip(*(acme.events(kind) for kind in order), strict=True)

    acme.hear(*events)

    assert_booked_once(acme)
    assert one_row(acme.engine, tables.subscriptions)["status"] == "active"


@pytest.mark.parametrize("seed", range(3))
def test_all_that_stripe_tells_of_a_subscription_shuffled_and_twice_books_it_once(
    acme: Subscriber, seed: int
) -> None:
    events = acme.events()
    random.Random(seed).shuffle(events)

    acme.hear(*events)
    acme.hear(*events[::-1])

    assert {each["type"] for each in events} >= {*TELLING, "charge.succeeded", "invoice.created"}
    assert_booked_once(acme)


def test_what_was_booked_says_which_invoice_it_was_and_which_payment(acme: Subscriber) -> None:
    acme.hear(*acme.events("invoice.paid"))

    earned, paid = rows_of(acme.engine, tables.transfers)
    assert (earned["source_key"], paid["source_key"]) == (acme.invoice, acme.intent)
    kept, (start, end) = one_row(acme.engine, tables.invoices), period(acme.made)
    assert (kept["subscription_id"], kept["reason"]) == (acme.made.id, "subscription_create")
    assert (kept["period_start"].timestamp(), kept["period_end"].timestamp()) == (start, end)


class Behind(StripeGateway):
    """Stripe's list of invoice payments does not have the newest yet."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        super().__init__(sandbox.api_key, sandbox.url)

    def invoice_of(self, payment_intent: str) -> str | None:  # noqa: ARG002
        return None


def test_a_payment_that_was_learnt_before_its_invoice_pays_it(acme: Subscriber) -> None:
    learn_payment(acme.intent, acme.engine, Behind(acme.sandbox), acme.clock)
    before = acme.book["unapplied"]

    acme.hear(*acme.events("invoice.paid", "payment_intent.succeeded"))

    assert before == -MONTHLY
    assert acme.moved() == [
        ("unapplied_in", MONTHLY),
        ("invoice", MONTHLY),
        ("apply", MONTHLY),
    ]
    assert (acme.book["cash"], acme.book["unapplied"], acme.book["receivable"]) == (MONTHLY, 0, 0)
    assert acme.broken() == []


class Remembering(StripeGateway):
    """Its reply was on the way while others heard of the payment."""

    def __init__(self, sandbox: RunningSandbox, seen: StripeInvoice) -> None:
        super().__init__(sandbox.api_key, sandbox.url)
        self.seen = seen

    def invoice(self, invoice_id: str) -> StripeInvoice:  # noqa: ARG002
        return self.seen


def test_a_reply_that_is_older_than_what_is_known_undoes_nothing(acme: Subscriber) -> None:
    paid = acme.gateway.invoice(acme.invoice)
    older = paid._replace(status="open", money=paid.money * 0)
    follow_invoice(acme.invoice, acme.engine, acme.gateway, acme.clock)

    follow_invoice(acme.invoice, acme.engine, Remembering(acme.sandbox, older), acme.clock)
    follow_invoice(acme.invoice, acme.engine, acme.gateway, acme.clock)

    assert_booked_once(acme)


def test_an_invoice_of_somebody_elses_customer_is_left_alone(
    acme: Subscriber, sandbox: RunningSandbox
) -> None:
    client = sandbox.client()
    stranger = client.v1.customers.create({})
    use_card(client, stranger, "pm_card_visa")
    other = invoices(client, subscribe(client, stranger))[0].id

    result = follow_invoice(other, acme.engine, acme.gateway, acme.clock)

    assert result == "no customer of ours"
    assert acme.moved() == []


# Without webhooks.


def test_reconcile_finds_an_invoice_that_nobody_told_us_of(acme: Subscriber) -> None:
    first, again = acme.reconcile(), acme.reconcile()

    assert {(each.kind, each.subject) for each in first.repaired} == {
        ("missed_payment", acme.intent),
        ("missed_invoice", acme.invoice),
        ("missed_subscription", acme.made.id),
    }
    assert (first.parked, again.repaired, again.parked) == ([], [], [])
    assert_booked_once(acme)


def test_a_webhook_of_an_invoice_that_never_arrived_is_followed_as_if_it_had(
    acme: Subscriber,
) -> None:
    endpoints: Any = acme.client.v1.webhook_endpoints
    lost = endpoints.create({"url": f"{NOWHERE}/webhooks", "enabled_events": ["invoice.paid"]})
    acme.sandbox.fault("webhook_drop", times=100)
    subscribe(acme.client, acme.customer)

    found = acme.reconcile()

    endpoints.delete(lost.id)
    missed = [each.evidence["type"] for each in found.repaired if each.kind == "missed_event"]
    assert missed == ["invoice.paid"]
    assert sorted(acme.moved()) == sorted(BOOKED * 2)
    assert acme.broken() == []


def test_reconcile_finds_the_invoice_of_a_payment_that_we_know(acme: Subscriber) -> None:
    learn_payment(acme.intent, acme.engine, Behind(acme.sandbox), acme.clock)

    found = acme.reconcile()

    assert [(each.kind, each.subject) for each in found.repaired] == [
        ("missed_invoice", acme.invoice),
        ("missed_subscription", acme.made.id),
    ]
    assert (acme.book["cash"], acme.book["unapplied"]) == (MONTHLY, 0)
    assert acme.broken() == []


def test_verify_tells_of_an_invoice_that_is_not_booked(acme: Subscriber) -> None:
    before = acme.broken()
    acme.hear(*acme.events("invoice.paid"))

    assert before == [f"{acme.intent}: Stripe has {MONTHLY}, the books 0"]
    assert acme.broken() == []


# What comes after.


@pytest.mark.parametrize("known", [True, False], ids=["booked before", "not heard of"])
def test_money_of_an_invoice_that_goes_back_is_booked(acme: Subscriber, known: bool) -> None:
    if known:
        acme.hear(*acme.events("invoice.paid"))
    refund = acme.client.v1.refunds.create({"payment_intent": acme.intent, "amount": 9900})
    told = events_since(acme.client, acme.made.created)
    made = [plain(each) for each in told if each.data.object["id"] == refund.id]

    acme.hear(*made)

    assert acme.moved() == [*BOOKED, ("refund", 9900)]
    assert (acme.book["cash"], acme.book["refunded"]) == (MONTHLY - 9900, 9900)
    kept = one_row(acme.engine, tables.refunds)
    assert (kept["charge_id"], kept["payment_intent"]) == (None, acme.intent)
    assert acme.broken() == []


def renew(acme: Subscriber, card: str) -> None:
    """A month later, with this card."""
    use_card(acme.client, acme.customer, card)
    advance_to(acme.sandbox, period(acme.made)[1] + int(HOUR.total_seconds()))


def test_every_renewal_is_booked(acme: Subscriber) -> None:
    renew(acme, "pm_card_visa")

    acme.hear(*acme.events())

    assert sorted(acme.moved()) == sorted(BOOKED * 2)
    assert acme.kept() == [("paid", MONTHLY)] * 2
    assert acme.broken() == []


def test_a_renewal_that_fails_books_nothing_until_it_is_paid(acme: Subscriber) -> None:
    acme.hear(*acme.events("invoice.paid"))
    renew(acme, DECLINES)
    acme.hear(*acme.events("invoice.payment_failed", "customer.subscription.updated"))
    failed = acme.moved(), acme.kept(), acme.broken()
    status = one_row(acme.engine, tables.subscriptions)["status"]

    use_card(acme.client, acme.customer, "pm_card_visa")
    acme.client.v1.invoices.pay(acme.invoice)
    acme.hear(*acme.events("invoice.paid"))

    assert failed == (BOOKED, [("paid", MONTHLY), ("open", 0)], [])
    assert status == "past_due"
    assert acme.moved() == BOOKED * 2
    assert acme.kept() == [("paid", MONTHLY)] * 2
    assert acme.broken() == []


def test_a_subscription_and_fixes_are_paid_side_by_side(acme: Subscriber) -> None:
    acme.hear(*acme.events("payment_intent.succeeded"))

    status = collect(owe(acme.engine), acme.engine, acme.gateway, acme.clock)

    assert status == "paid"
    assert acme.book["cash"] == MONTHLY + 2900
    assert (acme.book["receivable"], acme.book["unapplied"]) == (0, 0)
    assert acme.broken() == []


def test_an_invoice_whose_payment_was_spent_before_it_was_known_waits_for_a_person(
    acme: Subscriber,
) -> None:
    key = owe(acme.engine)
    learn_payment(acme.intent, acme.engine, Behind(acme.sandbox), acme.clock)
    collect(key, acme.engine, acme.gateway, acme.clock)

    acme.hear(*acme.events("invoice.paid"))

    assert rows_of(acme.engine, tables.invoices) == []
    assert acme.broken() == []
