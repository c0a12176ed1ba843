"""A book: what is known of one customer while their row is locked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from schemas.money import Money
from schemas.plans import Catalogue, PlanVersion
from worker.billing.charges import Charge
from worker.billing.cycles import CLOSING, SWEPT_WITHIN, spread
from worker.billing.fix import Fix
from worker.billing.grants import Grant
from worker.billing.ledger import CREDIT, CREDIT_ACCOUNTS, MOVEMENTS, NO_HEAD, Transfer, chain_hash
from worker.billing.policy import AT_ONCE, Policy, policy_of


@dataclass(slots=True)
class Book:
    """The rules read it, the journal moves it on; nobody else changes it."""

    customer_id: str
    plan: str
    plan_version: date
    currency: str
    cycle_start: datetime  # of the open cycle
    cycle_end: datetime
    cycle: int = 1  # its number
    closing_start: datetime | None = None  # of the cycle before, while that takes its last fixes
    subscription_id: str | None = None  # at Stripe; its periods are the cycles
    subscription_status: str | None = None  # as Stripe says, also of one that has ended
    anchor: datetime | None = None  # the day and time of the month on which its periods begin
    paid_until: datetime | None = None  # the end of the newest period that is paid
    ends_with_period: bool = False  # it was cancelled for the end of its period
    has_payment_method: bool = False
    past_due: bool = False
    parked_at: datetime | None = None  # since then nothing is collected from this customer
    parked_why: str | None = None
    released_at: datetime | None = None  # wall time; the circuit breaker counts from here on
    spending_cap: int | None = None  # minor units per cycle; None is no cap
    spent: int = 0  # minor units charged in the open cycle
    accepted_held_until: datetime | None = None  # held fixes recorded by then may become money
    accepted_at: datetime | None = None  # when the inbox took what was settled last
    clock_offset: timedelta = timedelta(0)  # this customer's business clock ahead of the stack's
    held: int = 0  # fixes waiting for a way to pay
    seq: int = 0
    head: bytes = NO_HEAD
    issued: int = 0
    credits: int = 0
    consumed: int = 0
    expired: int = 0
    revenue: int = 0
    receivable: int = 0
    cash: int = 0
    unapplied: int = 0  # never above 0: money of the customer's that no charge explains
    refunded: int = 0
    disputed: int = 0
    lost: int = 0
    written_off: int = 0
    fees: int = 0  # what Stripe kept
    # From here on: what is not in its row.
    price: Money | None = None  # of a fix without a credit, under this plan version
    policy: Policy = AT_ONCE  # how this plan version is collected
    open_charge: Charge | None = None  # the one that takes lines
    charge_in_flight: Charge | None = None  # the one that is being collected
    fresh_charge_id: str = ""  # for the next one
    grants: list[Grant] = field(default_factory=list)  # with credits left, in order of use
    backlog: list[Fix] = field(default_factory=list)  # the oldest held fixes, oldest first
    time: datetime | None = None  # business time up to which it was brought; None: the journal's
    kept: tuple[object, ...] = field(default=(), compare=False)  # what of it the row has
    plans: Catalogue = field(kw_only=True)  # the catalogue that is in use

    @property
    def next_due(self) -> datetime:
        """When time next changes something: a grant expires, or a cycle ends or closes."""
        due = self.cycle_end
        if self.closing_start is not None:
            due = min(due, self.cycle_start + CLOSING)
        for grant in self.grants:
            if grant.remaining and grant.expires_at is not None and grant.expires_at < due:
                due = grant.expires_at
        return due

    @property
    def due_at(self) -> datetime:
        """When the sweep looks at it, by the wall clock: those that are due together, in turn."""
        return self.next_due - self.clock_offset + spread(self.customer_id, SWEPT_WITHIN)

    @property
    def unpaid_period(self) -> bool:
        """Whether Stripe has yet to be paid for the period that is running."""
        if self.subscription_id is None:
            return False
        return self.paid_until is None or self.paid_until <= self.cycle_start

    def why_not_payable(self) -> str | None:
        """Why this customer's card cannot be asked for something new; None if it can."""
        if self.parked_at is not None:
            return f"nothing is collected from {self.customer_id}: {self.parked_why}"
        if not self.has_payment_method:
            return (
                f"{self.customer_id} has no card: `fixbill customers add-payment-method "
                f"{self.customer_id} …` first"
            )
        if self.past_due:
            return f"{self.customer_id} is past due: what is owed comes first"
        return None

    def use(self, version: PlanVersion) -> None:
        """From now on fixes settle under this version of the plan."""
        self.plan_version, self.price = version.effective, version.price
        self.policy = policy_of(version)

    def cycle_of(self, cycle_start: datetime) -> int:
        """The number of the cycle that begins then; what is closed takes nothing any more."""
        closing = self.closing_start is not None and cycle_start == self.closing_start
        return self.cycle - 1 if closing else self.cycle

    def cycle_for(self, deployed_at: datetime, now: datetime) -> datetime:
        """The start of the cycle in which a fix counts that is settled now."""
        closing = self.closing_start
        if closing is not None and closing <= deployed_at < self.cycle_start:
            return closing if now < self.cycle_start + CLOSING else self.cycle_start
        return self.cycle_start

    def usable_grant(self, now: datetime) -> Grant | None:
        return next((grant for grant in self.grants if grant.usable(now)), None)

    def accepted(self, fix: Fix) -> bool:
        """Whether the customer has agreed to pay money for this held fix."""
        until = self.accepted_held_until
        return self.spending_cap is not None or (until is not None and fix.recorded_at <= until)

    def accepted_before(self, fix: Fix) -> bool:
        """Whether it only waits because it came after the backlog was accepted."""
        return self.accepted_held_until is not None and not self.accepted(fix)

    def unpaid_charge(self, charge_id: str | None) -> Charge | None:
        """The charge with this id, while it is open or in flight."""
        for charge in (self.open_charge, self.charge_in_flight):
            if charge is not None and charge.charge_id == charge_id:
                return charge
        return None

    def backlog_may_settle(self) -> bool:
        """Whether there is a credit, or the customer's agreement, for it, or will be by and by."""
        agreed = self.spending_cap is not None or self.accepted_held_until is not None
        payable = self.has_payment_method and not self.past_due
        has_price = self.price is not None and not self.unpaid_period
        return bool(self.grants) or (agreed and payable and (has_price or self.ends_with_period))

    def move(
        self,
        kind: str,
        amount: int,
        source_key: str,
        *,
        happened_at: datetime,
        recorded_at: datetime,
        cycle: int | None = None,  # the open one
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
            self.cycle if cycle is None else cycle,
            happened_at,
            recorded_at,
            b"",
        )
        self.head = chain_hash(self.head, transfer)
        return transfer._replace(hash=self.head)
