"""What no history of events and collections may break, looked at in memory."""

from __future__ import annotations

from collections import Counter

from tests.billing.memory import Memory
from worker.billing.charges import FINAL, Charge, ChargeStatus
from worker.billing.cycles import CycleStatus
from worker.billing.fix import FixOutcome
from worker.billing.ledger import CREDIT_ACCOUNTS, MONEY_ACCOUNTS, NO_HEAD, chain_hash


def check_books(memory: Memory) -> None:
    for customer_id, standing in memory.books.items():
        mine = [each for key, each in memory.fixes.items() if key[0] == customer_id]
        assert standing.spent >= 0
        assert standing.held == sum(each.outcome is FixOutcome.HELD for each in mine)
        check_cycle(memory, customer_id)
        check_credits(memory, customer_id)
        check_money(memory, customer_id)
    for owed in memory.charges.values():
        check_charge(memory, owed)


def check_cycle(memory: Memory, customer_id: str) -> None:
    """The book and the newest rows tell the same; what was closed before says what is in it."""
    standing, rows = memory.books[customer_id], memory.cycles_of(customer_id)
    if not rows:
        return
    newest = rows[-1]
    assert (newest.number, newest.status) == (standing.cycle, CycleStatus.OPEN)
    assert (newest.starts_at, newest.ends_at) == (standing.cycle_start, standing.cycle_end)
    closing = [each.starts_at for each in rows if each.status is CycleStatus.CLOSING]
    assert closing == ([standing.closing_start] if standing.closing_start else [])
    for row in rows:
        places = [
            each.seq
            for each in memory.transfers
            if (each.customer_id, each.cycle) == (customer_id, row.number)
        ]
        assert all(row.first_seq <= each for each in places)
        assert row.last_seq is None or all(each <= row.last_seq for each in places)


def check_credits(memory: Memory, customer_id: str) -> None:
    standing = memory.books[customer_id]
    mine = [each for key, each in memory.fixes.items() if key[0] == customer_id]
    grants = [each for key, each in memory.grants.items() if key[0] == customer_id]
    lapsed = moved_from_grants(memory, customer_id, "expire", "roll_out")
    lost = moved_from_grants(memory, customer_id, "expire")
    assert min(standing.credits, standing.consumed, standing.expired) >= 0
    assert sum(getattr(standing, account) for account in CREDIT_ACCOUNTS) == 0
    assert standing.credits == sum(each.remaining for each in grants)
    assert standing.expired == lost.total()
    assert standing.consumed + standing.credits + lapsed.total() == sum(
        each.granted for each in grants
    )
    assert all(0 <= each.remaining <= each.granted for each in grants)
    used = Counter(each.grant_id for each in mine if each.outcome is FixOutcome.CREDITED)
    assert all(
        used[each.grant_id] + lapsed[each.grant_id] == each.granted - each.remaining
        for each in grants
    )


def moved_from_grants(memory: Memory, customer_id: str, *kinds: str) -> Counter[str | None]:
    """How many credits each grant lost in one of these ways."""
    lost: Counter[str | None] = Counter()
    for each in memory.transfers:
        if each.customer_id == customer_id and each.kind in kinds:
            lost[each.grant_id] += each.amount
    return lost


def check_money(memory: Memory, customer_id: str) -> None:
    standing = memory.books[customer_id]
    charges = [each for each in memory.charges.values() if each.customer_id == customer_id]
    assert standing.receivable >= 0
    assert standing.unapplied <= 0
    assert sum(getattr(standing, account) for account in MONEY_ACCOUNTS) == 0
    assert standing.receivable == sum(each.owed for each in charges if each.status not in FINAL)


def check_charge(memory: Memory, owed: Charge) -> None:
    assert owed.amount - owed.dropped == sum(
        each.price for each in memory.standing_lines(owed.charge_id)
    )
    assert 0 <= owed.applied <= owed.amount
    assert 0 <= owed.asked_amount <= owed.amount
    assert 0 <= owed.dropped <= owed.amount
    assert owed.status in FINAL or owed.owed >= 0
    assert (owed.status is ChargeStatus.PAID) == (owed.paid_at is not None)


def check_chains(memory: Memory) -> None:
    for customer_id, standing in memory.books.items():
        head = NO_HEAD
        chain = sorted(each for each in memory.transfers if each.customer_id == customer_id)
        for number, transfer in enumerate(chain, start=1):
            head = chain_hash(head, transfer)
            assert (transfer.seq, transfer.hash) == (number, head)
        assert (standing.seq, standing.head) == (len(chain), head)
    for key, settled_fix in memory.fixes.items():
        kinds = Counter(
            each.kind
            for each in memory.transfers
            if (each.customer_id, each.fix_id) == key and each.kind in ("consume", "charge")
        )
        paid = settled_fix.outcome in (FixOutcome.CREDITED, FixOutcome.CHARGED)
        assert kinds.total() == 1 if paid else kinds.total() <= 1


def check_usage(memory: Memory) -> None:
    counted = Counter(
        (each.customer_id, each.cycle_start, each.deployed_at.date(), each.repository, each.outcome)
        for each in memory.fixes.values()
    )
    in_rows = Counter(
        {
            (*key, outcome): row[column]
            for key, row in memory.usage.items()
            for column, outcome in enumerate(FixOutcome)
        }
    )
    assert +in_rows == counted
    charged = sum(each.price or 0 for each in memory.fixes.values() if each.owed)
    assert sum(row[-1] for row in memory.usage.values()) == charged
