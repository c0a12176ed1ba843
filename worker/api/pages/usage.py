"""The customer's usage page: the figures of one cycle, in the words of whoever pays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.answers import CycleAnswer, Forecast, GrantAnswer, PlanAnswer, Usage
from schemas.money import Money
from worker.api.pages.chart import HEIGHT, WIDTH, WORDS, chart_of
from worker.api.pages.render import page
from worker.api.pages.statement import SHOWN_MAX, SOURCES, busiest
from worker.billing.charges import ChargeStatus
from worker.usage.overview import FixShown, Overview

STANDING = {
    "good": "in good standing",
    "past_due": "a payment failed",
    "parked": "nothing is collected at present",
}

CHARGE_WORDS = {
    ChargeStatus.OPEN: "still open",
    ChargeStatus.FROZEN: "payment under way",
    ChargeStatus.DECLINED: "declined by your bank",
    ChargeStatus.ACTION_REQUIRED: "your bank wants to hear from you",
    ChargeStatus.PARKED: "we are looking into it",
    ChargeStatus.WITHDRAWING: "being changed",
    ChargeStatus.PAID: "paid",
    ChargeStatus.VOID: "nothing to pay",
}


class Cap(NamedTuple):
    """How much of the spending cap is used."""

    spent: Money
    of: Money
    percent: int


def usage_page(now: Usage, shown: Overview, name: str | None, token: str) -> str:
    """`now` is how things stand, whichever cycle is shown."""
    return page(
        "usage.html",
        now=now,
        shown=shown,
        customer=name or now.customer_id,
        token=token,
        is_current=shown.cycle.number == now.cycle.number,
        cycle_words=cycle_words,
        day=day,
        moment=moment,
        plan=plan_words(now.plan),
        cap=cap_of(now),
        forecast=forecast_words(now.forecast),
        chart=chart_of(shown.cycle, shown.days, tuple(WORDS)),
        width=WIDTH,
        height=HEIGHT,
        outcome_words=WORDS,
        repositories=busiest(shown.repositories),
        shown_max=SHOWN_MAX,
        grant_words=grant_words,
        fix_words=fix_words,
        charge_words=CHARGE_WORDS,
    )


def cycle_words(cycle: CycleAnswer) -> str:
    """A calendar month by its name, any other by its days."""
    start, last = cycle.start.astimezone(UTC), cycle.end.astimezone(UTC) - timedelta(microseconds=1)
    whole = start.day == 1 and (last + timedelta(days=1)).day == 1 and start.month == last.month
    return f"{start:%B %Y}" if whole else f"{day(start)} to {day(last)}"


def day(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at.day} {at:%B %Y}"


def moment(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S} on {day(at)}"


def plan_words(plan: PlanAnswer) -> str:
    words = [f"Plan {plan.title}", STANDING[plan.standing]]
    if plan.ends_at is not None:
        words.append(f"ends on {day(plan.ends_at)}")
    elif plan.paid_until is not None:
        words.append(f"paid until {day(plan.paid_until)}")
    price = plan.price_per_fix
    words.append(f"{price} a fix without a credit" if price else "a fix without a credit is held")
    return " · ".join(words)


def cap_of(now: Usage) -> Cap | None:
    cap, spent = now.limits.spending_cap, now.limits.spent
    if cap is None:
        return None
    return Cap(spent, cap, min(100, 100 * spent.amount // cap.amount) if cap.amount else 100)


def forecast_words(ahead: Forecast | None) -> str | None:
    """At the pace so far; None while it is too early to tell, or nothing has happened."""
    if ahead is None or not ahead.fixes_by_end:
        return None
    held = f", and {ahead.held_by_end:,} more would be held" if ahead.held_by_end else ""
    return (
        f"{number_of(ahead.fixes_by_end)} by the end of the cycle, {ahead.credits_by_end:,} of "
        f"them by credits; {ahead.money_by_end} in money{held}."
    )


def number_of(fixes: int) -> str:
    return f"{fixes:,} {'fix' if fixes == 1 else 'fixes'}"


def grant_words(grant: GrantAnswer) -> str:
    return SOURCES.get(grant.source, grant.source).capitalize()


def fix_words(fix: FixShown) -> str:
    """What became of it, for whoever pays."""
    if fix.outcome == "credited":
        return "1 credit"
    if fix.outcome == "held":
        return f"Waits: {fix.held_why}"
    return str(fix.price) if fix.price else "Taken back"
