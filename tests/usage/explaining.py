"""Explanations asked for, and what must hold of every one of them, to the cent."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime

from sqlalchemy import Engine

from schemas.explanations import ChargeExplanation, FixExplanation, Net, Step
from tests.builders import NOW, one_row, rows_of
from worker.storage import tables
from worker.storage.charges import ChargeKey
from worker.storage.evidence import FixKey
from worker.usage.explain import explain_charge, explain_fix

CREDITS = {"consume": 1, "give_back": -1, "grant": -1, "claw_back": 1, "reissue": -1}
NAMED = {"charge": 1, "uncharge": -1, "refund": -1, "refund_failed": 1}
# What each movement leaves us of a charge's payments.
KEPT = {
    "apply": 1,
    "unapply": -1,
    "pay": 1,
    "refund": -1,
    "refund_failed": 1,
    "dispute_opened": -1,
    "dispute_won": 1,
}


def fix_explained(
    engine: Engine, fix_id: str = "fix-1", customer_id: str = "acme", as_of: datetime | None = NOW
) -> FixExplanation:
    with engine.begin() as tx:
        found = explain_fix(tx, FixKey(customer_id, fix_id), as_of)
    assert found is not None
    return found


def charge_explained(engine: Engine, key: ChargeKey) -> ChargeExplanation:
    with engine.begin() as tx:
        found = explain_charge(tx, key, NOW)
    assert found is not None
    return found


def costs(found: FixExplanation | ChargeExplanation) -> tuple[int, int]:
    """Credits and cents in the end."""
    return found.net.credits, found.net.money.amount if found.net.money else 0


def texts(found: FixExplanation | ChargeExplanation) -> str:
    """Everything it says."""
    return "\n".join([found.text, *found.story, *(each.text for each in found.steps)])


def assert_adds_up(steps: list[Step], net: Net) -> None:
    """Whoever sums the steps has the net, and the words say the same numbers."""
    assert sum(each.credits or 0 for each in steps) == net.credits
    cents = sum(each.money.amount for each in steps if each.money)
    assert cents == (net.money.amount if net.money else 0)
    assert not [each for each in steps if each.money and str(each.money) not in each.text]
    assert net.text == "nothing so far" or str(net.money) in net.text or net.credits


def assert_explained(engine: Engine, customer_id: str) -> None:
    """Every fix and every charge, to the cent, against transfers, charges and book."""
    moved = rows_of(engine, tables.transfers, customer_id=customer_id)
    fixes = {
        row["fix_id"]: fix_explained(engine, row["fix_id"], customer_id)
        for row in rows_of(engine, tables.fixes, customer_id=customer_id)
    }
    charges = {
        row["charge_id"]: charge_explained(engine, ChargeKey(customer_id, row["charge_id"]))
        for row in rows_of(engine, tables.charges, customer_id=customer_id)
    }
    everything: list[FixExplanation | ChargeExplanation] = [*fixes.values(), *charges.values()]
    for found in everything:
        assert_adds_up(found.steps, found.net)
        assert found.chain == "ok"
        assert found.text
        assert found.story
    assert_credits_of_fixes(fixes, moved)
    assert_money_of_charges(charges, moved)
    assert_lines_share(engine, customer_id, fixes, charges)
    book = one_row(engine, tables.books, customer_id=customer_id)
    assert sum(each.collected.owed.amount for each in charges.values()) == book["receivable"]


def assert_credits_of_fixes(
    fixes: dict[str, FixExplanation], moved: list[dict[str, object]]
) -> None:
    expected: Counter[str] = Counter()
    for row in moved:
        earned = str(row["grant_id"]).removeprefix("revert:")
        if row["unit"] == "credit" and row["kind"] in CREDITS:
            of = row["fix_id"] or (earned if earned != row["grant_id"] else None)
            if of is not None:
                expected[str(of)] += CREDITS[str(row["kind"])] * int(str(row["amount"]))
    assert {name: costs(each)[0] for name, each in fixes.items()} == {
        name: expected[name] for name in fixes
    }


def assert_money_of_charges(
    charges: dict[str, ChargeExplanation], moved: list[dict[str, object]]
) -> None:
    """What a charge costs, less what is owed of it, is what we have and keep of its payments."""
    kept: Counter[str] = Counter()
    for row in moved:
        if row["charge_id"] is not None and row["unit"] != "credit":
            kept[str(row["charge_id"])] += KEPT.get(str(row["kind"]), 0) * int(str(row["amount"]))
    for name, each in charges.items():
        assert costs(each)[1] - each.collected.owed.amount == kept[name]


def assert_lines_share(
    engine: Engine,
    customer_id: str,
    fixes: dict[str, FixExplanation],
    charges: dict[str, ChargeExplanation],
) -> None:
    """What the fixes of a charge cost is what the charge costs; a bank may take back even more."""
    sums: defaultdict[str, int] = defaultdict(int)
    for row in rows_of(engine, tables.charge_lines, customer_id=customer_id, removed_at=None):
        sums[row["charge_id"]] += costs(fixes[row["fix_id"]])[1]
    assert {name: sums[name] for name in charges} == {
        name: max(0, costs(each)[1]) for name, each in charges.items()
    }
    assert all(costs(each)[1] >= 0 for each in fixes.values())
