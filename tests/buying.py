"""One customer who buys credits, everything it takes, and what Stripe says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine

from tests.builders import NOW, add_customer_with_card, one_row, rows_of
from tests.collecting import CANCEL, CONFIRM, CREATE, RETRIEVE, DyingGateway, store
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.answers import Answer
from worker.billing.top_ups import TopUp, TopUpStatus
from worker.clock import Clock
from worker.storage import tables
from worker.storage.top_ups import LEASE, claim_due_top_ups
from worker.stripe_events import apply_stripe_event
from worker.stripe_gateway import StripeGateway
from worker.top_up import buy_credits, collect_top_up
from worker.usage.verify import verify

PRICE = 2900
DECLINES, AUTHENTICATES = "pm_card_chargeCustomerFail", "pm_card_authenticationRequired"

# Every call of a top-up, as a fault names it; the list and one intent are asked for afterwards.
STEPS = {"create": ("POST", CREATE), "confirm": ("POST", CONFIRM), "cancel": ("POST", CANCEL)}
ASKS = {"list": ("GET", CREATE), "retrieve": ("GET", RETRIEVE)}


@dataclass(frozen=True)
class Buyer:
    """A customer who pays as they go."""

    customer_id: str
    stripe_customer: str
    engine: Engine
    sandbox: RunningSandbox
    gateway: StripeGateway
    clock: Clock

    # The lives.

    def buy(
        self, number: int = 3, key: str = "key-1", gateway: StripeGateway | None = None
    ) -> TopUp:
        stripe = gateway or self.gateway
        return buy_credits(self.customer_id, number, key, self.engine, stripe, self.clock)

    def sweep(self, gateway: StripeGateway | None = None) -> list[TopUpStatus]:
        """As the sweep does once the leases and the pauses are over."""
        with self.engine.begin() as tx:
            keys = claim_due_top_ups(tx, self.clock.wall() + LEASE + timedelta(hours=2), 10)
        stripe = gateway or self.gateway
        return [collect_top_up(key, self.engine, stripe, self.clock).status for key in keys]

    def sweep_until_quiet(self) -> None:
        """What is unclear is asked about as often as it takes."""
        for _ in range(4):
            if not self.sweep():
                return
        assert self.top_up["status"] != "requested"

    def hear(self, *events: Mapping[str, Any]) -> list[str]:
        """Webhooks of these events arrive and are followed."""
        store(self.engine, self.clock, *events)
        return [
            apply_stripe_event(each["id"], self.engine, self.gateway, self.clock) for each in events
        ]

    # What the books say.

    @property
    def top_up(self) -> dict[str, Any]:
        return one_row(self.engine, tables.top_ups, customer_id=self.customer_id)

    @property
    def book(self) -> dict[str, Any]:
        return one_row(self.engine, tables.books, customer_id=self.customer_id)

    @property
    def standing(self) -> dict[str, int]:
        """The balances of money that are not 0, and the credits."""
        names = ("receivable", "cash", "unapplied", "refunded", "disputed", "lost", "credits")
        return {name: self.book[name] for name in names if self.book[name]}

    def moved(self, *kinds: str) -> list[tuple[str, int]]:
        """The transfers, or those of these kinds, oldest first."""
        found = rows_of(self.engine, tables.transfers, customer_id=self.customer_id)
        return [(row["kind"], row["amount"]) for row in found if not kinds or row["kind"] in kinds]

    def broken(self) -> list[str]:
        checks = verify(self.engine, self.gateway)
        return [f"{each.name}: {each.offenders}" for each in checks if not each.ok]

    # What Stripe says.

    def paid_at_stripe(self) -> list[int]:
        """The sandbox's truth: the money that was taken from this customer."""
        taken = self.sandbox.payments(customer=self.stripe_customer, status="succeeded")
        return [each["amount"] for each in taken]

    def asked_of_the_bank(self) -> int:
        return len(self.sandbox.payments(customer=self.stripe_customer))

    def intents(self) -> list[str]:
        """The states of all there are."""
        listed = self.sandbox.client().v1.payment_intents.list({"customer": self.stripe_customer})
        return [each.status for each in listed.data]

    def refund(self, amount: int | None = None) -> list[str]:
        """Somebody returns money at Stripe, and we hear of it."""
        wanted: Any = {"payment_intent": self.top_up["payment_intent"]}
        wanted |= {} if amount is None else {"amount": amount}
        made = self.sandbox.client().v1.refunds.create(wanted).id
        return self.hear(*self.events("refund.created", about=made))

    def dispute(self) -> str:
        """The cardholder asks their bank for the money, and we hear of it; the dispute's id."""
        wish = {"payment_intent": self.top_up["payment_intent"]}
        made = str(self.sandbox.ask("POST", "disputes", wish)["id"])
        self.hear(*self.events("charge.dispute.created", about=made))
        return made

    def decide(self, dispute: str, evidence: str) -> None:
        """We answer with one of the words on which the bank decides, and hear how it did."""
        parameters: Any = {"evidence": {"uncategorized_text": evidence}}
        self.sandbox.client().v1.disputes.update(dispute, parameters)
        self.sandbox.advance(60)
        self.hear(*self.events("charge.dispute.closed", about=dispute))

    def events(self, *kinds: str, about: str) -> list[dict[str, Any]]:
        """What Stripe tells of this object, oldest first."""
        found = self.sandbox.client().v1.events.list({"limit": 100}).data[::-1]
        bodies = [each.to_dict() for each in found if each.type in kinds]
        return [each for each in bodies if each["data"]["object"]["id"] == about]


def top_up(status: TopUpStatus = TopUpStatus.REQUESTED, **more: Any) -> TopUp:
    """Of three credits, as it would be stored with this status."""
    values: dict[str, Any] = {
        "customer_id": "acme",
        "top_up_id": "key-1",
        "credits": 3,
        "amount": 8700,
        "currency": "usd",
        "status": status,
        "requested_at": NOW,
        "due_at": NOW if status is TopUpStatus.REQUESTED else None,
        "payment_intent": "pi_1",
    }
    return TopUp(**values | more)


def buyer_with(
    engine: Engine,
    sandbox: RunningSandbox,
    gateway: StripeGateway,
    clock: Clock,
    card: str = "pm_card_visa",
    *,
    customer_id: str = "acme",
    **more: Any,
) -> Buyer:
    stripe_customer = add_customer_with_card(engine, sandbox, customer_id, card=card, **more)
    return Buyer(customer_id, stripe_customer, engine, sandbox, gateway, clock)


class DyingBuyersGateway(DyingGateway):
    """Also while it looks for an intent that may have been made."""

    def find_intent(self, *wanted: Any) -> Answer | None:
        find = super().find_intent
        return self.until("list", lambda: find(*wanted))


def with_plan(buyer: Buyer, **columns: Any) -> Buyer:
    """The same customer, whose book says something else."""
    with buyer.engine.begin() as tx:
        mine = tables.books.c.customer_id == buyer.customer_id
        tx.execute(tables.books.update().where(mine).values(columns))
    return replace(buyer)


def assert_bought_once(buyer: Buyer, number: int = 3) -> None:
    """Stripe has one payment, we have booked it once, and given its credits once."""
    assert buyer.paid_at_stripe() == [number * PRICE]
    assert (buyer.top_up["status"], buyer.top_up["due_at"]) == ("paid", None)
    assert buyer.moved() == [
        ("top_up", number * PRICE),
        ("pay", number * PRICE),
        ("grant", number),
    ]
    assert buyer.standing == {"cash": number * PRICE, "credits": number}
    assert buyer.broken() == []


def assert_nothing_bought(buyer: Buyer) -> None:
    """Declined, nothing is owed, and nothing at Stripe could be paid any more."""
    assert (buyer.top_up["status"], buyer.top_up["due_at"]) == ("declined", None)
    assert buyer.top_up["message"]
    assert buyer.paid_at_stripe() == []
    assert (buyer.moved(), buyer.standing) == ([], {})
    kept = buyer.top_up["payment_intent"]
    if kept is not None:
        assert buyer.sandbox.client().v1.payment_intents.retrieve(kept).status == "canceled"
    assert buyer.broken() == []
