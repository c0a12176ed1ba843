"""A book: what is known of one customer while their row is locked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from schemas.money import Money
from worker.billing.charges import Charge
from worker.billing.fix import Fix
from worker.billing.grants import Grant
from worker.billing.ledger import CREDIT, CREDIT_ACCOUNTS, MOVEMENTS, NO_HEAD, Transfer, chain_hash
from worker.billing.policy import AT_ONCE, Policy


@dataclass(slots=True)
class Book:
    """The rules read it, the journal moves it on; nobody else changes it."""

    customer_id: str
    plan: str
    plan_version: date
    currency: str
    price: Money | None  # of a fix without a credit, under this plan version
    open_charge: Charge | None  # the one that takes lines
    fresh_charge_id: str  # for the next one
    charge_in_flight: Charge | None = None  # the one that is being collected
    policy: Policy = AT_ONCE  # how this plan version is collected
    has_payment_method: bool = False
    past_due: bool = False
    parked_at: datetime | None = None  # since then nothing is collected from this customer
    parked_why: str | None = None
    released_at: datetime | None = None  # wall time; the circuit breaker counts from here on
    spending_cap: int | None = None  # minor units per cycle; None is no cap
    spent: int = 0  # minor units charged in the cycle that starts at `spent_cycle`
    spent_cycle: datetime | None = None
    accepted_held_until: datetime | None = None  # held fixes recorded by then may become money
    accepted_at: datetime | None = None  # when the inbox took what was settled last
    clock_offset: timedelta = timedelta(0)  # this customer's business clock ahead of the stack's
    held: int = 0  # fixes waiting for a way to pay
    seq: int = 0
    head: bytes = NO_HEAD
    issued: int = 0
    credits: int = 0
    consumed: int = 0
    revenue: int = 0
    receivable: int = 0
    cash: int = 0
    unapplied: int = 0  # never above 0: money of the customer's that no charge explains
    refunded: int = 0
    disputed: int = 0
    lost: int = 0
    written_off: int = 0
    grants: list[Grant] = field(default_factory=list)  # with credits left, in order of use
    backlog: list[Fix] = field(default_factory=list)  # the oldest held fixes, oldest first

    def usable_grant(self, now: datetime) -> Grant | None:
        return next((grant for grant in self.grants if grant.usable(now)), None)

    def unpaid_charge(self, charge_id: str | None) -> Charge | None:
        """The charge with this id, while it is open or in flight."""
        for charge in (self.open_charge, self.charge_in_flight):
            if charge is not None and charge.charge_id == charge_id:
                return charge
        return None

    def backlog_may_settle(self) -> bool:
        """Whether there is a credit, or the customer's agreement, for it."""
        agreed = self.spending_cap is not None or self.accepted_held_until is not None
        payable = self.has_payment_method and not self.past_due and self.price is not None
        return bool(self.grants) or (agreed and payable)

    def spent_in(self, cycle_start: datetime) -> int:
        return self.spent if self.spent_cycle == cycle_start else 0

    def move(
        self,
        kind: str,
        amount: int,
        source_key: str,
        *,
        happened_at: datetime,
        recorded_at: datetime,
        fix_id: str | None = None,
        grant_id: str | None = None,
        charge_id: str | None = None,
    ) -> Transfer:
        """The next transfer of this customer, with the balances and the chain moved on."""
        if amount <= 0:
            raise ValueError(f"a transfer moves more than 0, not {amount}")
        source, target = MOVEMENTS[kind]
        setattr(self, source, getattr(self, source) - amount)
        setattr(self, target, getattr(self, target) + amount)
        self.seq += 1
        transfer = Transfer(
            self.customer_id,
            self.seq,
            kind,
            source,
            target,
            CREDIT if target in CREDIT_ACCOUNTS else self.currency,
            amount,
            source_key,
            fix_id,
            grant_id,
            charge_id,
            happened_at,
            recorded_at,
            b"",
        )
        self.head = chain_hash(self.head, transfer)
        return transfer._replace(hash=self.head)
