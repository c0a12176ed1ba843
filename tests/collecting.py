"""One customer who owes, everything to collect it with, and what Stripe says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Engine

from tests.builders import add_customer_with_card, deployed, one_row, owe, rows_of, settle_events
from tests.sandbox.sandbox_process import RunningSandbox
from tests.stack import HastyGateway
from worker.billing.answers import Answer
from worker.billing.charges import ChargeStatus
from worker.billing.drift import Window
from worker.billing.refunds import RefundStatus
from worker.billing.stripe_objects import StripeRefund
from worker.clock import Clock
from worker.collect import collect
from worker.refund import refund
from worker.storage import tables
from worker.storage.charges import ChargeKey, claim_due_charges
from worker.storage.refunds import RefundKey
from worker.storage.stripe_events import store_event
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.stripe_webhooks import parse_webhook
from worker.usage.verify import verify
from worker.withdraw import withdraw

PRICE = 2900
CREATE = "/v1/payment_intents"
CONFIRM = "/v1/payment_intents/*/confirm"
CANCEL = "/v1/payment_intents/*/cancel"
RETRIEVE = "/v1/payment_intents/*"
REFUND = "/v1/refunds"

# What can go wrong with a call, by whether its effect has happened then.
AFTER = ["http_500_after", "timeout_after", "cut_after", "half_json", "html_502_after"]
BEFORE = ["http_500_before", "timeout_before", "cut_before", "html_502", "http_409_in_use"]
LATER = ["http_429", "lock_timeout"]

NO_TIME = timedelta(0)
Reply = TypeVar("Reply")


@dataclass(frozen=True)
class Case:
    """One customer who owes the price of some fixes on one charge."""

    key: ChargeKey
    stripe_customer: str
    engine: Engine
    sandbox: RunningSandbox
    gateway: StripeGateway
    clock: Clock

    # The lives.

    def later(self, after: timedelta) -> Clock:
        return Clock(self.clock.ahead + after)

    def collect(
        self, gateway: StripeGateway | None = None, after: timedelta = NO_TIME
    ) -> ChargeStatus | None:
        return collect(self.key, self.engine, gateway or self.gateway, self.later(after))

    def withdraw(self, gateway: StripeGateway | None = None) -> ChargeStatus | None:
        return withdraw(self.key, self.engine, gateway or self.gateway, self.clock)

    def refund(self, key: RefundKey, gateway: StripeGateway | None = None) -> RefundStatus:
        return refund(key, self.engine, gateway or self.gateway, self.clock)

    def is_due(self, after: timedelta) -> bool:
        """Whether a sweep so much later takes it up; the lease it leaves is ended at once."""
        clock = self.later(after)
        with self.engine.connect() as tx, tx.begin() as transaction:
            claimed = claim_due_charges(tx, clock.now(), clock.wall(), 10)
            transaction.rollback()
        return self.key in claimed

    def hear(self, *events: Mapping[str, Any]) -> list[str]:
        """Webhooks of these events arrive and are followed."""
        store(self.engine, self.clock, *events)
        return [
            apply_stripe_event(each["id"], self.engine, self.gateway, self.clock) for each in events
        ]

    # What the books say.

    @property
    def charge(self) -> dict[str, Any]:
        return one_row(self.engine, tables.charges, charge_id=self.key.charge_id)

    @property
    def intent(self) -> str:
        return str(self.charge["payment_intent"])

    @property
    def book(self) -> dict[str, Any]:
        return one_row(self.engine, tables.books, customer_id=self.key.customer_id)

    @property
    def standing(self) -> dict[str, int]:
        """The balances that are not 0."""
        names = ("receivable", "cash", "unapplied", "refunded", "disputed", "lost", "written_off")
        return {name: self.book[name] for name in names if self.book[name]}

    def attempts(self) -> list[dict[str, Any]]:
        rows = rows_of(self.engine, tables.attempts, charge_id=self.key.charge_id)
        return sorted(rows, key=lambda row: int(row["number"]))

    def answers(self) -> list[str | None]:
        return [row["answer"] for row in self.attempts()]

    def moved(self, *kinds: str) -> list[tuple[str, int]]:
        """The transfers of these kinds, oldest first."""
        rows = rows_of(self.engine, tables.transfers, customer_id=self.key.customer_id)
        return [(row["kind"], row["amount"]) for row in rows if row["kind"] in kinds]

    def replacement(self) -> Case:
        """The same customer with their open charge."""
        open_now = one_row(
            self.engine, tables.charges, customer_id=self.key.customer_id, status="open"
        )
        return replace(self, key=ChargeKey(self.key.customer_id, open_now["charge_id"]))

    # What Stripe says.

    def paid_at_stripe(self) -> list[int]:
        """The sandbox's truth: the money that was taken from this customer."""
        taken = self.sandbox.payments(customer=self.stripe_customer, status="succeeded")
        return [each["amount"] for each in taken]

    def asked_of_the_bank(self) -> int:
        return len(self.sandbox.payments(customer=self.stripe_customer))

    def returned_at_stripe(self) -> list[int]:
        """The money that went back to the card, and stayed there."""
        return [each["amount"] for each in self.truth("refunds") if each["status"] != "failed"]

    def disputed_at_stripe(self) -> list[int]:
        """The money that banks took back and hold, or gave to the cardholder."""
        return [each["withdrawn"] for each in self.truth("disputes") if each["withdrawn"]]

    def truth(self, control: str) -> list[dict[str, Any]]:
        """The sandbox's rows about what this customer paid."""
        intents = self.charged_intents()
        return [each for each in self.sandbox.truth(control) if each["payment_intent"] in intents]

    def charged_intents(self) -> set[str]:
        payments = self.sandbox.payments(customer=self.stripe_customer)
        return {each["payment_intent"] for each in payments}

    def intents(self) -> int:
        client = self.sandbox.client()
        return len(client.v1.payment_intents.list({"customer": self.stripe_customer}).data)

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """What Stripe tells of this customer's payments, oldest first; of these kinds, or all."""
        found = self.sandbox.client().v1.events.list({"limit": 100}).data[::-1]
        bodies = [each.to_dict() for each in found]
        intents = self.charged_intents()
        return [
            each
            for each in bodies
            if intents & {each["data"]["object"].get(name) for name in ("id", "payment_intent")}
            and (not kinds or each["type"] in kinds)
        ]

    def pay_in_dashboard(self, amount: int, **more: Any) -> str:
        """Somebody charges the customer's newest card at Stripe itself; the intent's id."""
        client = self.sandbox.client()
        cards = client.v1.payment_methods.list({"customer": self.stripe_customer}).data
        wanted: Any = {
            "amount": amount,
            "currency": "usd",
            "customer": self.stripe_customer,
            "payment_method": cards[0].id,
            "confirm": True,
            "off_session": True,
        }
        return client.v1.payment_intents.create(wanted | more).id

    def refund_in_dashboard(self, amount: int | None = None) -> str:
        """Somebody returns money at Stripe itself; the refund's id."""
        parameters: Any = {"payment_intent": self.intent}
        parameters |= {} if amount is None else {"amount": amount}
        return self.sandbox.client().v1.refunds.create(parameters).id

    def dispute_at_stripe(self, **more: Any) -> str:
        """The cardholder asks their bank for the money; the dispute's id."""
        wish = {"payment_intent": self.intent, **more}
        return str(self.sandbox.ask("POST", "disputes", wish)["id"])

    def decide_dispute(self, dispute: str, evidence: str) -> None:
        """We answer with one of the words on which the bank decides, and it does."""
        parameters: Any = {"evidence": {"uncategorized_text": evidence}}
        self.sandbox.client().v1.disputes.update(dispute, parameters)
        self.sandbox.advance(60)


def owing_case(
    engine: Engine,
    sandbox: RunningSandbox,
    stripe: StripeGateway,
    clock: Clock,
    card: str = "pm_card_visa",
    *,
    fixes: int = 1,
    customer_id: str = "acme",
) -> Case:
    stripe_customer = add_customer_with_card(engine, sandbox, customer_id, card=card)
    settle_events(engine, *(deployed(f"fix-{n}", customer_id) for n in range(2, fixes + 1)))
    key = owe(engine, customer_id)
    return Case(key, stripe_customer, engine, sandbox, stripe, clock)


def store(engine: Engine, clock: Clock, *events: Mapping[str, Any]) -> list[str]:
    """As the API does once it has looked at the signature; the ids of the events."""
    with engine.begin() as tx:
        for each in events:
            store_event(tx, parse_webhook(json.dumps(each).encode()), clock.wall())
    return [str(each["id"]) for each in events]


def assert_books_equal_stripe(case: Case) -> None:
    """Every invariant holds, and our cash is what Stripe took and did not give, lose or keep."""
    assert [each for each in verify(case.engine, case.gateway) if not each.ok] == []
    back = sum(case.returned_at_stripe()) + sum(case.disputed_at_stripe())
    assert case.book["cash"] == sum(case.paid_at_stripe()) - back - case.book["fees"]


def assert_paid_once(case: Case, amount: int = PRICE) -> None:
    """Stripe has one payment, we have booked it once, and every invariant holds."""
    assert case.paid_at_stripe() == [amount]
    assert case.charge["status"] == "paid"
    assert (case.book["receivable"], case.book["cash"]) == (0, amount)
    assert case.moved("pay") == [("pay", amount)]
    assert_books_equal_stripe(case)


def paid_in_the_end(case: Case) -> None:
    """Each repetition is a sweep; what is unknown is asked about, not tried blind."""
    for _ in range(3):
        if case.charge["status"] == "paid":
            break
        case.collect()
    assert_paid_once(case)


def sandbox_window(case: Case) -> Window:
    """The last week at Stripe: its clock may have been moved on."""
    now = datetime.fromtimestamp(case.sandbox.ask("GET", "clock")["now"], UTC)
    return Window(now - timedelta(days=7), now + timedelta(minutes=1))


def hasty_gateway(case: Case, fault: str) -> HastyGateway:
    """Meets a fault at once; where it is silence, waits only as long as a busy machine may take."""
    return HastyGateway(case.sandbox, 1.0 if fault.startswith("timeout") else 5.0)


class Died(BaseException):
    """The process is gone: nothing of ours catches this."""


class DyingGateway(HastyGateway):
    """The process dies at one call: before Stripe hears of it, or before the answer is read."""

    def __init__(self, sandbox: RunningSandbox, call: str, *, heard: bool) -> None:
        super().__init__(sandbox)
        self.deadly, self.heard = call, heard

    def until(self, call: str, request: Callable[[], Reply]) -> Reply:
        if call != self.deadly:
            return request()
        if self.heard:
            request()
        raise Died

    def create_intent(self, parameters: Mapping[str, Any], key: str) -> Answer:
        create = super().create_intent
        return self.until("create", lambda: create(parameters, key))

    def confirm_intent(self, intent: str, payment_method: str, key: str) -> Answer:
        confirm = super().confirm_intent
        return self.until("confirm", lambda: confirm(intent, payment_method, key))

    def cancel_intent(self, intent: str) -> Answer:
        cancel = super().cancel_intent
        return self.until("cancel", lambda: cancel(intent))

    def retrieve_intent(self, intent: str) -> Answer:
        retrieve = super().retrieve_intent
        return self.until("retrieve", lambda: retrieve(intent))

    def create_refund(self, parameters: Mapping[str, Any], key: str) -> StripeRefund | Answer:
        create = super().create_refund
        return self.until("refund", lambda: create(parameters, key))


def dies(live: Callable[[StripeGateway], object], case: Case, call: str, *, heard: bool) -> None:
    """At this call, if it comes to it; somebody else goes on."""
    with suppress(Died):
        live(DyingGateway(case.sandbox, call, heard=heard))
