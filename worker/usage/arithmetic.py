"""The arithmetic of an explanation: steps from transfers, and the sum that they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from schemas.explanations import Chain, Net, Step, TransferExplained
from schemas.money import Money
from worker.billing.charges import ChargeStatus
from worker.billing.fix import Fix
from worker.billing.ledger import CREDIT, Transfer, chain_hash
from worker.storage.collection import Collection
from worker.storage.evidence import ChargeEvidence, FixEvidence
from worker.storage.linked import Linked

# What a movement about a fix costs its customer, and why, in words.
COSTS = {
    "consume": (1, "a credit of the grant {grant_id} paid for it"),
    "give_back": (-1, "it was taken back, and the credit returned to its grant"),
    "charge": (1, "the price of a fix on {plan}"),
    "uncharge": (-1, "it was taken back before it was paid"),
    "grant": (-1, "it was taken back after it was charged, and earned a credit that stays good"),
    "claw_back": (1, "that credit went when the money it stood for was refunded ({source_key})"),
    "reissue": (-1, "that refund failed, so the credit came back ({source_key})"),
    "refund": (-1, "refunded for this fix ({source_key})"),
    "refund_failed": (1, "the bank would not take that refund ({source_key})"),
}

# What went back of a charge as a whole, or was never paid.
GONE = {
    "refund": (1, "refunded"),
    "refund_failed": (-1, "a refund that failed"),
    "dispute_opened": (1, "taken back by a bank"),
    "dispute_won": (-1, "given back by a bank"),
    "write_off": (1, "given up"),
}


def plan_named(code: str, version: date) -> str:
    return f"{code} of {version}"


def steps_of_fix(evidence: FixEvidence) -> list[Step]:
    """What it cost, what undid that, and its share of what went back of its charge."""
    fix = evidence.fix
    if fix is None or evidence.account is None:
        return []
    moved = [each.transfer for each in evidence.transfers]
    steps = [step_of(each, fix) for each in moved if costs(each, fix)]
    return steps + share_of_gone(evidence, moved, evidence.account.currency)


def costs(transfer: Transfer, fix: Fix) -> bool:
    """Of the transfers of the charge only those that name the fix; of grants only what it earned.

    What was refunded of the customer's own money with us (`refund_unapplied`) had paid for nothing.
    """
    named = transfer.fix_id == fix.fix_id or transfer.unit == CREDIT
    return named and transfer.kind in COSTS


def step_of(transfer: Transfer, fix: Fix) -> Step:
    sign, words = COSTS[transfer.kind]
    plan = plan_named(fix.plan, fix.plan_version)
    why = words.format(plan=plan, grant_id=transfer.grant_id, source_key=transfer.source_key)
    if transfer.unit == CREDIT:
        return credit_step(sign * transfer.amount, why)
    return money_step(Money(sign * transfer.amount, transfer.unit), why)


def share_of_gone(evidence: FixEvidence, moved: Sequence[Transfer], currency: str) -> list[Step]:
    """Its part of what was returned or given up of the whole charge, by what its lines cost."""
    gone = [each for each in moved if each.kind in GONE and each.fix_id is None]
    total = sum(GONE[each.kind][0] * each.amount for each in gone)
    share = evidence.share.of(total)
    if not share or evidence.collection is None:
        return []
    went = "was given up" if gone[-1].kind == "write_off" else "went back"
    why = (
        f"its share of {Money(total, currency)} of {gone[0].charge_id} that {went}: "
        f"{listed(gone, currency)}"
    )
    return [money_step(Money(-share, currency), why)]


def listed(gone: Iterable[Transfer], currency: str) -> str:
    """`$10.00 refunded (re_1), $40.00 taken back by a bank (du_1)`"""
    return ", ".join(
        f"{Money(each.amount, currency)} {GONE[each.kind][1]} ({each.source_key})" for each in gone
    )


def steps_of_charge(evidence: ChargeEvidence) -> list[Step]:
    """Its lines, those that left it, and what went back of it or was given up."""
    charge, currency = evidence.collection.charge, evidence.collection.charge.currency
    lines = evidence.lines
    steps = [money_step(Money(lines.amount, currency), f"{fixes(lines.number)} on it")]
    if lines.removed:
        taken = f"{fixes(lines.removed)} taken back unpaid"
        steps.append(money_step(Money(-lines.removed_amount, currency), taken))
    for each in evidence.transfers:
        transfer = each.transfer
        if transfer.kind in GONE and transfer.charge_id == charge.charge_id:
            sign, words = GONE[transfer.kind]
            why = f"{words} ({transfer.source_key})" + of_fix(transfer)
            steps.append(money_step(Money(-sign * transfer.amount, currency), why))
    return steps


def of_fix(transfer: Transfer) -> str:
    return f" for {transfer.fix_id}" if transfer.fix_id else ""


def fixes(number: int) -> str:
    return "1 fix" if number == 1 else f"{number:,} fixes"


def counted(number: int) -> str:
    return f"{number:,} credit" + ("" if abs(number) == 1 else "s")


def credit_step(number: int, why: str) -> Step:
    return Step(text=f"{counted(number)}: {why}", credits=number)


def money_step(money: Money, why: str) -> Step:
    return Step(text=f"{money}: {why}", money=money)


def net_of(steps: Iterable[Step], currency: str | None) -> Net:
    """The sum, and the same in words; nothing but the steps goes into it."""
    steps = list(steps)
    number = sum(each.credits or 0 for each in steps)
    cents = sum(each.money.amount for each in steps if each.money)
    if currency is None:
        return Net(text="nothing so far", credits=number, money=None)
    money = Money(cents, currency)
    paid = [counted(number)] if number > 0 else []
    if cents or not number:
        paid.append(str(money))
    parts = [" and ".join(paid)] if paid else []
    if number < 0:
        parts.append(f"{counted(-number)} came back")
    return Net(text="= " + ", and ".join(parts), credits=number, money=money)


def cost_told(net: Net) -> str:
    """`costs $29.00 and earned 1 credit`"""
    cents = net.money.amount if net.money else 0
    costs = [counted(net.credits)] if net.credits > 0 else []
    costs += [str(net.money)] if cents > 0 else []
    parts = [f"costs {' and '.join(costs)}"] if costs else []
    if net.money and cents < 0:
        parts.append(f"gave back {-net.money} more than it took")
    if net.credits < 0:
        parts.append(f"earned {counted(-net.credits)}")
    return " and ".join(parts) or "costs nothing"


def owed_of(collection: Collection) -> Money:
    """What the customer has yet to pay of a charge."""
    charge = collection.charge
    done = charge.status in (ChargeStatus.PAID, ChargeStatus.VOID)
    return Money(0 if done else charge.owed, charge.currency)


def shown_transfers(found: Iterable[Linked]) -> Iterator[TransferExplained]:
    for transfer, previous in found:
        in_credits = transfer.unit == CREDIT
        yield TransferExplained(
            seq=transfer.seq,
            kind=transfer.kind,
            from_account=transfer.from_account,
            to_account=transfer.to_account,
            credits=transfer.amount if in_credits else None,
            money=None if in_credits else Money(transfer.amount, transfer.unit),
            source_key=transfer.source_key,
            fix_id=transfer.fix_id,
            grant_id=transfer.grant_id,
            charge_id=transfer.charge_id,
            cycle=transfer.cycle,
            happened_at=transfer.happened_at,
            recorded_at=transfer.recorded_at,
            previous_hash=previous.hex() if previous is not None else None,
            hash=transfer.hash.hex(),
        )


def chain_of(found: Iterable[Linked]) -> Chain:
    """Whether each of them is as it was when it was written, by its hash and the one before."""
    sound = (
        previous is not None and chain_hash(previous, transfer) == transfer.hash
        for transfer, previous in found
    )
    return "ok" if all(sound) else "broken"
