"""What must be true of two years of a customer, after every step."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

from schemas.answers import StatementCredits, StatementMoney
from tests.billing.memory import Memory
from tests.billing.model import Model
from worker.billing.cycles import CycleStatus
from worker.billing.ledger import ACCOUNTS, CREDIT, CREDIT_ACCOUNTS, Transfer
from worker.storage.statements import CycleKey, CycleLedger, Moved
from worker.usage.statements import statement_of


class Watched:
    """Books that are looked at again and again: in what is closed nothing may change."""

    def __init__(self) -> None:
        self.closed: dict[int, list[Transfer]] = {}

    def check(self, memory: Memory, model: Model) -> None:
        books, rules = flat(in_the_books(memory)), flat(in_the_model(model))
        different = {
            key: (books.get(key), rules.get(key))
            for key in books | rules
            if books.get(key) != rules.get(key)
        }
        assert not different, f"what the books and the rules say differs in {different}"
        check_credits(memory)
        check_cycles(memory)
        by_cycle = by_number(memory)
        for (_, number), row in memory.cycles.items():
            if row.status is CycleStatus.CLOSED:
                moved = by_cycle[number]
                assert self.closed.setdefault(number, moved) == moved


def by_number(memory: Memory) -> defaultdict[int, list[Transfer]]:
    found: defaultdict[int, list[Transfer]] = defaultdict(list)
    for each in memory.transfers:
        found[each.cycle].append(each)
    return found


def flat(said: dict[str, Any]) -> dict[Any, Any]:
    """One level instead of two, so that only what differs is shown."""
    found: dict[Any, Any] = {}
    for name, value in said.items():
        inner = value if isinstance(value, dict) else {"": value}
        found |= {(name, key): each for key, each in inner.items()}
    return found


def in_the_books(memory: Memory) -> dict[str, Any]:
    standing = memory.books["acme"]
    cycles = [memory.cycles[key] for key in sorted(memory.cycles)]
    numbers = {row.starts_at: row.number for row in cycles}
    charged: Counter[int] = Counter()
    invoiced: Counter[int] = Counter()
    for each in memory.transfers:
        sign = {"charge": 1, "uncharge": -1}.get(each.kind, 0)
        charged[each.cycle] += sign * each.amount
        invoiced[each.cycle] += each.amount if each.kind == "invoice" else 0
    return {
        "plan": (standing.plan, standing.plan_version),
        "cycles": [(row.starts_at, row.ends_at) for row in cycles],
        "closing": any(row.status is CycleStatus.CLOSING for row in cycles),
        "credits": standing.credits,
        "expired": standing.expired,
        "spent": standing.spent,
        "grants": {
            key: (each.source, each.granted, each.remaining, each.expires_at, each.origin)
            for (_, key), each in memory.grants.items()
        },
        "fixes": {
            key: (
                str(each.outcome),
                {"credited": each.grant_id, "charged": each.price}.get(each.outcome),
                numbers[each.cycle_start],
                each.late,
                (each.plan, each.plan_version),
            )
            for (_, key), each in memory.fixes.items()
        },
        "charged": dict(+charged),
        "invoiced": dict(+invoiced),
    }


def in_the_model(model: Model) -> dict[str, Any]:
    return {
        "plan": (model.plan, model.version),
        "cycles": [(each["start"], each["end"]) for each in model.cycles],
        "closing": model.closing,
        "credits": sum(each["left"] for each in model.grants.values()),
        "expired": model.expired,
        "spent": model.spent,
        "grants": {
            key: (each["source"], each["granted"], each["left"], each["expires"], each["origin"])
            for key, each in model.grants.items()
        },
        "fixes": {
            key: tuple(each[name] for name in ("outcome", "paid_by", "cycle", "late", "plan"))
            for key, each in model.fixes.items()
        },
        "charged": dict(+model.charged),
        "invoiced": dict(+model.invoiced),
    }


# What holds whatever the rules are.


def check_credits(memory: Memory) -> None:
    """None comes from nowhere and none is lost, of the whole book and of each grant."""
    standing = memory.books["acme"]
    assert sum(getattr(standing, account) for account in CREDIT_ACCOUNTS) == 0
    assert standing.credits == sum(each.remaining for each in memory.grants.values())
    left: Counter[str] = Counter()
    by_fix = {each.fix_id: each.grant_id for each in memory.transfers if each.kind == "consume"}
    for each in memory.transfers:
        if each.unit == CREDIT:
            grant_id = each.grant_id or by_fix[each.fix_id]
            left[str(grant_id)] += each.amount if each.to_account == "credits" else -each.amount
    for (_, key), grant in memory.grants.items():
        assert left[key] == grant.remaining
        assert 0 <= grant.remaining <= grant.granted


def check_cycles(memory: Memory) -> None:
    """Numbered from 1, each from where the last ended; closed in order, one closing, one open."""
    rows = [memory.cycles[key] for key in sorted(memory.cycles)]
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(row.starts_at < row.ends_at for row in rows)
    assert all(one.ends_at == following.starts_at for one, following in pairwise(rows))
    order = [CycleStatus.CLOSED, CycleStatus.CLOSING, CycleStatus.OPEN]
    assert [row.status for row in rows] == sorted((row.status for row in rows), key=order.index)
    statuses = Counter(row.status for row in rows)
    assert statuses[CycleStatus.OPEN] == 1
    assert statuses[CycleStatus.CLOSING] <= 1
    by_cycle = by_number(memory)
    for row in rows:
        seqs = [each.seq for each in by_cycle[row.number]]
        last = row.last_seq or memory.books["acme"].seq
        assert all(row.first_seq <= seq <= last for seq in seqs)


def check_statements(memory: Memory) -> None:
    """Each is the sum of its cycle's transfers, and all of them together are the book."""
    statement = None
    for key in sorted(memory.cycles):
        ledger = ledger_of(memory, CycleKey(*key))
        statement = statement_of(ledger, statement)
        check_totals(statement.credits, statement.money)
        moved = sum(each.amount for each in memory.transfers if each.cycle == key[1])
        assert moved == sum(
            each.credits or (each.money.amount if each.money else 0) for each in statement.movements
        )
    assert statement is not None
    standing = memory.books["acme"]
    assert statement.balances == {each: getattr(standing, each) for each in ACCOUNTS}


def check_totals(credits: StatementCredits, money: StatementMoney) -> None:
    came = credits.granted + credits.rolled_in + credits.given_back + credits.reissued
    went = credits.used + credits.rolled_out + credits.expired + credits.taken_back
    assert credits.opening + came - went == credits.closing
    owed = money.charged - money.reverted + money.subscription + money.top_ups
    settled = money.paid + money.paid_from_balance + money.written_off
    assert money.opening + owed - settled == money.closing


def ledger_of(memory: Memory, key: CycleKey) -> CycleLedger:
    """What storage reads of a cycle, as far as its totals go."""
    row = memory.cycles[key]
    mine = [each for each in memory.transfers if each.cycle == key.number]
    kinds = sorted({each.kind for each in mine})
    moved = [
        Moved(kind, len(amounts), sum(amounts))
        for kind in kinds
        for amounts in [[each.amount for each in mine if each.kind == kind]]
    ]
    return CycleLedger(key, row.starts_at, row.ends_at, "usd", moved)
