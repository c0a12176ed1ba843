"""A statement: one cycle in the customer's words, every total from the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date

from sqlalchemy import Connection

from schemas.answers import (
    CycleAnswer,
    Movement,
    Statement,
    StatementBalance,
    StatementCard,
    StatementCredits,
    StatementDay,
    StatementFixes,
    StatementLine,
    StatementMoney,
    StatementRepository,
)
from schemas.money import Money
from worker.billing.cycles import CLOSING, CycleStatus
from worker.billing.ledger import ACCOUNTS, CREDIT_ACCOUNTS, MOVEMENTS
from worker.storage.statements import (
    CycleKey,
    CycleLedger,
    Fixed,
    Moved,
    ledger_of,
    read_statement,
    unwritten_cycles,
)


class StatementProblem(ValueError):
    """There is no such statement; the message says which there are."""


def statement_named(tx: Connection, key: CycleKey) -> Statement:
    """A statement that is written; raises StatementProblem."""
    found = read_statement(tx, key)
    if found is None:
        raise StatementProblem(why_missing(tx, key))
    return found


def previews(tx: Connection, customer_id: str) -> Iterator[Statement]:
    """The cycles that have no statement yet, as they stand; the last is open."""
    unwritten = unwritten_cycles(tx, customer_id)
    numbers = [each.number for each in unwritten]
    before = read_statement(tx, CycleKey(customer_id, numbers[0] - 1)) if numbers else None
    for number in numbers:
        before = statement_of(ledger_of(tx, CycleKey(customer_id, number)), before)
        yield before


def why_missing(tx: Connection, key: CycleKey) -> str:
    unwritten = unwritten_cycles(tx, key.customer_id)
    if not unwritten:
        return f"there is no customer {key.customer_id}"
    number, ends_at, status = unwritten[0]
    written = {1: "none is written yet", 2: "1 is written"}
    expected = f"{number} is expected at {ends_at + CLOSING:%Y-%m-%d %H:%M}Z"
    if status == CycleStatus.CLOSED:
        expected = f"{number} is being written"
    return (
        f"there is no statement {key.number} of {key.customer_id}: "
        f"{written.get(number, f'1 to {number - 1} are written')}, and {expected}"
    )


def statement_of(ledger: CycleLedger, before: Statement | None) -> Statement:
    """`before` is the statement of the last cycle, with whose balances this one begins."""
    moved = Counter({each.kind: each.amount for each in ledger.moved})
    opening = dict.fromkeys(ACCOUNTS, 0) | (before.balances if before else {})
    balances = moved_on(opening, ledger.moved)
    money = Purse(moved, opening, balances, ledger.currency)
    return Statement(
        customer_id=ledger.key.customer_id,
        number=ledger.key.number,
        status=ledger.status.value,
        currency=ledger.currency,
        cycle=CycleAnswer(number=ledger.key.number, start=ledger.starts_at, end=ledger.ends_at),
        plans=[each.name for each in ledger.plans if each.credited or each.charged],
        fixes=fixes_of(ledger),
        credits=credits_of(ledger, moved, opening, balances),
        money=money.owed(),
        balance=money.balance(),
        card=money.card(),
        repositories=[repository(each, ledger.currency) for each in ledger.repositories],
        days=[day(each) for each in ledger.days],
        payments=list(payments(ledger)),
        movements=[movement(each, ledger.currency) for each in ledger.moved],
        balances_before=opening,
        balances=balances,
    )


def moved_on(opening: dict[str, int], moved: Iterable[Moved]) -> dict[str, int]:
    """Every account after the cycle."""
    balances = dict(opening)
    for each in moved:
        source, target = MOVEMENTS[each.kind]
        balances[source] -= each.amount
        balances[target] += each.amount
    return balances


def fixes_of(ledger: CycleLedger) -> StatementFixes:
    times = Counter({each.kind: each.transfers for each in ledger.moved})
    paid_before = sum(each.grants for each in ledger.granted if each.source == "revert")
    return StatementFixes(
        credited=times["consume"],
        charged=times["charge"],
        reverted=times["give_back"] + times["uncharge"] + paid_before,
    )


def credits_of(
    ledger: CycleLedger, moved: Counter[str], opening: dict[str, int], balances: dict[str, int]
) -> StatementCredits:
    return StatementCredits(
        opening=opening["credits"],
        granted=moved["grant"],
        granted_for={each.source: each.credits for each in ledger.granted},
        rolled_in=moved["roll_in"],
        given_back=moved["give_back"],
        reissued=moved["reissue"],
        used=moved["consume"],
        rolled_out=moved["roll_out"],
        expired=moved["expire"],
        taken_back=moved["claw_back"],
        closing=balances["credits"],
    )


class Purse:
    """The money of a cycle, by what it means to the customer."""

    def __init__(
        self, moved: Counter[str], opening: dict[str, int], balances: dict[str, int], currency: str
    ) -> None:
        self.moved, self.opening, self.balances = moved, opening, balances
        self.currency = currency

    def owed(self) -> StatementMoney:
        return StatementMoney(
            opening=self.of(self.opening["receivable"]),
            charged=self.total("charge"),
            reverted=self.total("uncharge"),
            subscription=self.total("invoice"),
            top_ups=self.total("top_up"),
            paid=self.total("pay"),
            paid_from_balance=self.total("apply") - self.total("unapply"),
            written_off=self.total("write_off"),
            closing=self.of(self.balances["receivable"]),
        )

    def balance(self) -> StatementBalance:
        return StatementBalance(
            opening=self.of(-self.opening["unapplied"]),
            received=self.total("unapplied_in"),
            used=self.total("apply") - self.total("unapply"),
            returned=self.total("refund_unapplied") - self.total("refund_unapplied_failed"),
            closing=self.of(-self.balances["unapplied"]),
        )

    def card(self) -> StatementCard:
        returned, failed = (
            self.total(f"refund{which}") + self.total(f"refund_unapplied{which}")
            for which in ("", "_failed")
        )
        return StatementCard(
            collected=self.total("pay") + self.total("unapplied_in"),
            refunded=returned - failed,
            disputed=self.total("dispute_opened") - self.total("dispute_won"),
        )

    def total(self, kind: str) -> Money:
        return self.of(self.moved[kind])

    def of(self, amount: int) -> Money:
        return Money(amount, self.currency)


def counted(fixed: Fixed) -> StatementFixes:
    return StatementFixes(credited=fixed.credited, charged=fixed.charged, reverted=fixed.reverted)


def repository(fixed: Fixed, currency: str) -> StatementRepository:
    return StatementRepository(
        repository=fixed.name, fixes=counted(fixed), charged=Money(fixed.amount, currency)
    )


def day(fixed: Fixed) -> StatementDay:
    return StatementDay(day=date.fromisoformat(fixed.name), fixes=counted(fixed))


def payments(ledger: CycleLedger) -> Iterator[StatementLine]:
    for each in ledger.paid:
        yield StatementLine.model_validate(
            {
                "kind": each.kind,
                "money": Money(each.amount, ledger.currency),
                "at": each.happened_at,
                "reference": each.source_key,
            }
        )


def movement(moved: Moved, currency: str) -> Movement:
    in_credits = MOVEMENTS[moved.kind][0] in CREDIT_ACCOUNTS
    return Movement(
        kind=moved.kind,
        transfers=moved.transfers,
        credits=moved.amount if in_credits else None,
        money=None if in_credits else Money(moved.amount, currency),
    )
