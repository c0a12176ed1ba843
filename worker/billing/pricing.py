"""What a ledger would have cost under another catalogue: the same transfers, by the same rules.

What a plan gave or asked for is what the candidate's version gives or asks for. All else stays:
what operators gave, where cycles ended, in which order fixes settled. Nothing is collected in a
replay, so a fix that is taken back there costs nothing, whatever had been paid for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

from worker.billing.backlog import settle_backlog
from worker.billing.book import Book
from worker.billing.cycles import Cycle
from worker.billing.decide import FUTURE_MAX, decide_payment
from worker.billing.entries import hold, pay
from worker.billing.fix import Fix, FixOutcome
from worker.billing.giving import give, put_in_order
from worker.billing.grants import Grant
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.plan_changes import expiry
from worker.billing.reverts import REVERT, compensate, give_back, uncharge, unhold
from worker.billing.rollover import lapse, roll_in
from worker.billing.terms import Invoiced, Terms, credits_of

FOREVER = datetime(9000, 1, 1, tzinfo=UTC)  # datetime.max leaves no room for an hour more


class Settled(NamedTuple):
    """The fix of a transfer."""

    fix_id: str
    plan: str
    plan_version: date
    deployed_at: datetime
    reverted: bool  # sooner or later


class Step(NamedTuple):
    """One transfer, and what other tables say of its fix, grant or invoice."""

    seq: int
    kind: str
    amount: int
    source_key: str
    recorded_at: datetime
    at: datetime | None  # business time; it is not kept where a fix was given its credit back
    grant_id: str | None = None
    fix: Settled | None = None
    source: str | None = None  # of the grant
    expires_at: datetime | None = None  # the grant, as it was given
    invoiced: Invoiced | None = None


class Bill(NamedTuple):
    """What a transfer costs in the ledger and in the replay, in minor units."""

    at: datetime  # when the fix settled, or the invoice was booked
    ledger: int
    replay: int
    is_fix: bool = False


@dataclass(slots=True)
class Replay:
    """One customer's ledger under one catalogue; its steps are taken in order."""

    book: Book
    terms: Terms
    cycles: Iterator[Cycle]  # the next ones
    journal: Journal
    undoable: dict[str, tuple[datetime, Fix]] = field(default_factory=dict)  # will be taken back
    as_given: set[str] = field(default_factory=set)  # grants that expire as in the ledger

    def take(self, step: Step) -> Bill | None:
        """What this transfer costs; None for one without a price."""
        book = self.book
        book.time = self.time_of(step)
        self.journal = Journal({book.customer_id: book}, self.journal.known, book.time)
        bill = TAKEN[step.kind](self, step)
        settle_backlog(self.journal, book)
        for grant in self.journal.grants.new.values():
            self.journal.known.grants[grant.customer_id, grant.grant_id] = grant
        book.grants = [each for each in book.grants if each.remaining]
        return bill

    def time_of(self, step: Step) -> datetime:
        """At least: no fix settles longer before its deployment than clocks may be ahead."""
        if step.at is not None:
            return step.at
        earliest = step.fix.deployed_at - FUTURE_MAX if step.fix else step.recorded_at
        return max(earliest, self.book.time or earliest)

    def pass_time(self) -> datetime:
        """As `catch_up` does, but through the cycles that the ledger had."""
        book, until = self.book, self.journal.now
        while (moment := book.next_due) <= until:
            book.time = moment
            rolling = lapse(self.journal, book)
            if moment == book.cycle_end:
                book.cycle_start, book.cycle_end = next(self.cycles, Cycle(moment, FOREVER))
            for each in rolling:
                roll_in(self.journal, book, each)
            settle_backlog(self.journal, book)
        book.time = until
        return until

    def settle(self, step: Step) -> Bill:
        """By a credit if the candidate has left one, else at its price."""
        at, book = self.pass_time(), self.book
        fix = self.enter(step)
        pay(self.journal, book, fix, decide_payment(book, at))
        if fix.outcome is FixOutcome.HELD:
            hold(book, fix)
        ledger = step.amount if step.kind == "charge" else 0
        return Bill(at, ledger, fix.owed.amount if fix.owed else 0, is_fix=True)

    def enter(self, step: Step) -> Fix:
        """The fix, under the candidate's version of its plan."""
        settled, book = step.fix, self.book
        assert settled is not None  # noqa: S101 - a transfer of this kind has a fix
        book.plan = settled.plan
        book.use(self.terms.in_place_of(settled.plan, settled.plan_version, book.cycle_start))
        fix = fix_of(settled, book, self.journal.now)
        if settled.reverted:
            self.undoable[fix.fix_id] = self.journal.now, fix
        return fix

    def take_back(self, step: Step) -> Bill:
        self.pass_time()
        assert step.fix is not None  # noqa: S101 - a transfer of this kind has a fix
        settled_at, fix = self.undoable.pop(step.fix.fix_id)
        ledger = -step.amount if step.kind == "uncharge" else 0
        return Bill(settled_at, ledger, self.undo(fix))

    def undo(self, fix: Fix) -> int:
        """Whatever the replay did with it; returns what that adds to the bill, 0 or less."""
        at, price = self.journal.now, fix.owed
        if fix.outcome is FixOutcome.HELD:
            unhold(self.book, fix)
        elif fix.outcome is FixOutcome.CREDITED:
            give_back(self.journal, self.book, fix, at, at)
        elif price is not None:
            uncharge(self.journal, self.book, fix, at, at)
        fix.outcome = FixOutcome.REVERTED
        return -price.amount if price else 0

    def invoice(self, step: Step) -> Bill:
        """The candidate's price of the period; what is for no plan of ours stays as it is."""
        if step.invoiced is None:
            return Bill(self.journal.now, step.amount, step.amount)
        price = self.terms.subscribe(step.invoiced)
        if not step.invoiced.gives_apart:
            self.include(step, step.invoiced)
        return Bill(self.journal.now, step.amount, price)

    def grant(self, step: Step) -> None:
        """What a plan gave, the candidate's gives; the rest is given as it was."""
        fix_id = step.source_key.removeprefix(REVERT)
        if step.source == "revert" and fix_id in self.undoable:
            self.make_up_for(self.undoable.pop(fix_id)[1])
        elif step.source == "included" and step.invoiced is not None:
            self.include(step, step.invoiced)
        elif version := self.terms.giver(step.source, step.amount, self.journal.now):
            until = expiry(version, self.journal.now)
            self.give(step.source, step.source_key, credits_of(version, step.source), until)
        else:
            self.give(step.source, step.source_key, step.amount, step.expires_at)
            self.as_given.add(step.source_key)

    def make_up_for(self, fix: Fix) -> None:
        """The fix was paid in money, so the ledger gave a credit; a credit is just given back."""
        if fix.outcome is FixOutcome.CHARGED:
            compensate(self.journal, self.book, fix)
        else:
            self.pass_time()
            self.undo(fix)

    def include(self, step: Step, paid: Invoiced) -> None:
        """The credits of a paid period; one that was over by then gave them for the next."""
        version = self.terms.including(paid, step.amount if step.kind == "grant" else None)
        is_over = paid.end <= step.recorded_at
        until = (step.expires_at or self.book.cycle_end) if is_over else paid.end
        rolls_max = version.rollover_credits_max
        self.give("included", paid.key, version.included_credits, until, rolls_max)

    def give(
        self,
        source: str | None,
        key: str,
        credits: int,
        until: datetime | None,
        rolls_max: int = 0,
    ) -> None:
        if credits:
            give(self.journal, self.book, str(source), key, credits, until, rolls_max=rolls_max)

    def roll_in(self, step: Step) -> None:
        """It has rolled by itself; it expires with its cycle as that was planned."""
        self.pass_time()
        grant = self.standing(step)
        if grant is not None:
            self.as_given.add(grant.grant_id)
            grant.expires_at = step.expires_at
            put_in_order(self.book, grant)

    def lapse(self, step: Step) -> None:
        """The ledger's expiry is that of every grant which the candidate has no say in."""
        grant, at = self.standing(step), self.journal.now
        if grant is not None and grant.grant_id in self.as_given:
            grant.expires_at = min(at, grant.expires_at or at)
        self.pass_time()

    def claw_back(self, step: Step) -> None:
        """With a refund, as far as they are unused."""
        grant = self.standing(step)
        if grant is not None:
            grant.remaining -= min(step.amount, grant.remaining)

    def reissue(self, step: Step) -> None:
        """That refund has failed."""
        grant = self.journal.known.grants.get((self.book.customer_id, step.grant_id or ""))
        if grant is not None:
            grant.remaining = min(grant.granted, grant.remaining + step.amount)
            put_in_order(self.book, grant)

    def standing(self, step: Step) -> Grant | None:
        """The grant of this transfer, if the replay has it with credits left."""
        return next((each for each in self.book.grants if each.grant_id == step.grant_id), None)


TAKEN: dict[str, Callable[[Replay, Step], Bill | None]] = {
    "consume": Replay.settle,
    "charge": Replay.settle,
    "give_back": Replay.take_back,
    "uncharge": Replay.take_back,
    "invoice": Replay.invoice,
    "grant": Replay.grant,
    "roll_in": Replay.roll_in,
    "roll_out": Replay.lapse,
    "expire": Replay.lapse,
    "claw_back": Replay.claw_back,
    "reissue": Replay.reissue,
}


def begin(terms: Terms, cycles: Iterable[Cycle]) -> Replay:
    """A new customer; `cycles` are all they ever had."""
    following = iter(cycles)
    first = next(following)
    book = Book(
        customer_id=terms.customer_id,
        plan="",  # until the first fix
        plan_version=date.min,
        currency=terms.currency,
        price=None,
        open_charge=None,
        fresh_charge_id="replayed",
        plans=terms.candidate,
        cycle_start=first.start,
        cycle_end=first.end,
        has_payment_method=True,
    )
    return Replay(book, terms, following, Journal({}, Known(), first.start))


def fix_of(settled: Settled, book: Book, at: datetime) -> Fix:
    """With what matters here; where it was made does not."""
    return Fix(
        customer_id=book.customer_id,
        fix_id=settled.fix_id,
        outcome=FixOutcome.HELD,
        held_why=None,
        repository="",
        commit_sha="",
        pull_request=None,
        finding=None,
        deployed_at=settled.deployed_at,
        recorded_at=at,
        settled_at=None,
        cycle_start=book.cycle_start,
        late=False,
        plan=book.plan,
        plan_version=book.plan_version,
        price=None,
        currency=None,
        grant_id=None,
        charge_id=None,
        source="",
        event_id="",
    )
