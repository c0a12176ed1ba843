"""The pages behind "why?": one fix or one charge, as its explanation has it."""

from __future__ import annotations

from typing import Protocol

from schemas.explanations import ChargeExplanation, FixExplanation, Step
from schemas.money import Money
from worker.api.pages.render import page
from worker.api.pages.statement import SHOWN_MAX
from worker.api.pages.usage import moment


class Amount(Protocol):
    """Of credits, of money, or of both."""

    @property
    def credits(self) -> int | None: ...
    @property
    def money(self) -> Money | None: ...


def fix_page(found: FixExplanation, token: str) -> str:
    number = f" #{found.pull_request}" if found.pull_request else ""
    about = [f"{found.repository}{number}", found.finding, f"Fix {found.fix_id}"]
    return page(
        "explanation.html",
        found=found,
        token=token,
        title="Why this fix costs what it costs",
        about=[line for line in about if line],
        lines=[],
        more_lines=0,
        charge_id=found.charge.charge_id if found.charge else None,
        amount=amount,
        step_words=step_words,
        moment=moment,
    )


def charge_page(found: ChargeExplanation, token: str) -> str:
    shown = found.lines[:SHOWN_MAX]
    return page(
        "explanation.html",
        found=found,
        token=token,
        title=f"Why a charge of {found.collected.amount}",
        about=[f"Charge {found.charge_id}"],
        lines=shown,
        more_lines=found.all_lines.count - len(shown),
        charge_id=None,
        amount=amount,
        step_words=step_words,
        moment=moment,
    )


def amount(of: Amount) -> str:
    """Of what is 0 in both, the money."""
    parts = []
    if of.money is not None and (of.money.amount or not of.credits):
        parts.append(str(of.money))
    if of.credits:
        parts.append(f"{of.credits:,} {'credit' if abs(of.credits) == 1 else 'credits'}")
    return ", ".join(parts) or "0"


def step_words(step: Step) -> str:
    """Without the amount it begins with, which stands beside it."""
    words = step.text.removeprefix(f"{amount(step)}: ")
    return words[:1].upper() + words[1:]
