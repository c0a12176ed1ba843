"""The operator's page: every number with its tone, and where it leads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.money import Money
from worker.api.pages.pile import NOTHING, TITLES
from worker.api.pages.render import page
from worker.api.pages.signals import AMBER, ENOUGH_ATTEMPTS, GREEN, RED, tone_of
from worker.api.pages.spans import ago, span
from worker.api.pages.usage import moment
from worker.billing.answers import AnswerKind
from worker.due import DUE
from worker.storage.piles import COUNT_MAX, DUE_PILES, LISTED_MAX, PILES
from worker.usage.operations import Operations, Stripe

REFRESH_SECONDS = 10
UNREADABLE = "not readable"


class Figure(NamedTuple):
    """One number."""

    label: str
    value: str
    href: str | None = None
    tone: str = GREEN
    note: str | None = None


class Panel(NamedTuple):
    """Numbers about one thing, and the command that looks closer."""

    title: str
    figures: list[Figure]
    command: str | None = None

    @property
    def tone(self) -> str:
        """The worst of them."""
        tones = {figure.tone for figure in self.figures}
        return next((tone for tone in (RED, AMBER) if tone in tones), GREEN)


class Look(NamedTuple):
    """How much had been settled by when: a page carries it to the next one."""

    at: datetime
    settled: int

    def __str__(self) -> str:
        return f"{self.at.timestamp():.3f}-{self.settled}"


def ops_page(found: Operations, last: Look | None) -> str:
    settled = found.settling.settled if found.settling else None
    look = None if settled is None else Look(found.at, settled)
    panels = list(panels_of(found, last))
    return page(
        "ops.html",
        at=moment(found.at),
        refresh=REFRESH_SECONDS,
        look=look,
        panels=panels,
        amiss=[
            (figure.label, panel.title, figure.tone)
            for panel in panels
            for figure in panel.figures
            if figure.tone != GREEN
        ],
    )


def panels_of(found: Operations, last: Look | None) -> Iterator[Panel]:
    yield Panel("Settling", list(settling(found, last)), "fixbill doctor")
    yield Panel("Charges", list(charges(found)), "fixbill charges list")
    yield Panel("Stripe", list(stripe(found)), "fixbill reconcile")
    yield Panel("Waits for a person", list(waits(found)))
    yield Panel("Quarantine", list(quarantine(found)), "fixbill quarantine list")
    yield Panel("Books", list(books(found)), "fixbill verify")
    yield Panel("Due now", list(due(found)))


def settling(found: Operations, last: Look | None) -> Iterator[Figure]:
    inbox = found.settling
    if inbox is None:
        yield Figure("Inbox", UNREADABLE, tone=RED)
        return
    age = found.at - inbox.oldest if inbox.oldest else timedelta(0)
    yield Figure(
        "In the inbox", f"{inbox.entries:,}", "ops/inbox", tone_of("inbox_depth", inbox.entries)
    )
    yield Figure(
        "Oldest of them",
        span(age) if inbox.oldest else NOTHING,
        "ops/inbox",
        tone_of("inbox_age", age.total_seconds()),
    )
    yield Figure("Settled", *rate(inbox.settled, found.at, last))
    newest = found.latency
    yield Figure(
        "Accepted to settled",
        span(newest.recorded_at - newest.accepted_at) if newest else NOTHING,
        note=f"the last one, {ago(newest.accepted_at, found.at)}" if newest else None,
    )


def rate(settled: int | None, at: datetime, last: Look | None) -> tuple[str, None, str, str | None]:
    """Between the last look and this one."""
    if settled is None or last is None or settled < last.settled or at <= last.at:
        return NOTHING, None, GREEN, "told at the next look"
    passed = at - last.at
    per_second = (settled - last.settled) / passed.total_seconds()
    return f"{per_second:,.1f}/s", None, GREEN, f"in the last {span(passed)}"


def charges(found: Operations) -> Iterator[Figure]:
    stopped = found.stopped_at is not None
    yield Figure(
        "Collecting",
        "stopped" if stopped else "on",
        tone=tone_of("collecting_stopped", stopped),
        note=found.stopped_why and f"{found.stopped_why}: fixbill collecting start",
    )
    if found.charges is None:
        yield Figure("Charges", UNREADABLE, tone=AMBER)
        return
    for each in found.charges:
        yield Figure(
            each.status.replace("_", " ").capitalize(),
            f"{each.number:,}",
            f"ops/charges?status={each.status}",
            tone_of("charges_parked", each.number) if each.status == "parked" else GREEN,
            str(each.owed),
        )


def stripe(found: Operations) -> Iterator[Figure]:
    told = found.stripe
    if told is None:
        yield Figure("Stripe", UNREADABLE, tone=AMBER)
        return
    yield Figure(
        "Collected in the last hour", sums(told.collected), "ops/attempts?answer=succeeded"
    )
    for answer, count in told.answers:
        only = "" if answer == "none yet" else f"?answer={answer}"
        yield Figure(answer.replace("_", " ").capitalize(), f"{count:,}", f"ops/attempts{only}")
    unclear, all_of_them = unclear_of(told)
    share = unclear / all_of_them if all_of_them else 0.0
    enough = all_of_them > ENOUGH_ATTEMPTS
    yield Figure(
        "Unclear answers",
        f"{share:.0%}",
        "ops/attempts?answer=unknown",
        tone_of("stripe_unclear", share) if enough else GREEN,
        f"{unclear:,} of {all_of_them:,}",
    )
    last = told.last_success
    yield Figure("Last success", ago(last, found.at) if last else "none within a day")
    oldest = told.oldest_unanswered
    waits = found.at - oldest if oldest else timedelta(0)
    yield Figure(
        "Oldest attempt without an answer",
        span(waits) if oldest else NOTHING,
        "ops/charges?status=frozen",
        tone_of("attempt_age", waits.total_seconds()),
    )


def unclear_of(told: Stripe) -> tuple[int, int]:
    unclear = (AnswerKind.UNKNOWN, AnswerKind.LATER)
    return (
        sum(count for answer, count in told.answers if answer in unclear),
        sum(count for _, count in told.answers),
    )


def waits(found: Operations) -> Iterator[Figure]:
    for name in ("contests", "disputes", "drifts", "customers"):
        yield pile_figure(TITLES[name], f"ops/{name}", name, found, rule=name)


def quarantine(found: Operations) -> Iterator[Figure]:
    yield pile_figure("Entries", "ops/quarantine", "quarantine", found, rule="quarantine")
    for reason, count in found.quarantine or []:
        yield Figure(reason.capitalize(), f"{count:,}", f"ops/quarantine?reason={reason}")


def due(found: Operations) -> Iterator[Figure]:
    for kind in DUE:
        label = kind.replace("_", " ").capitalize()
        if kind in DUE_PILES:
            rule = "parked_entry" if kind == "parked_entry" else None
            yield pile_figure(label, f"ops/due/{kind}", kind, found, rule)
        elif kind == "held_fix":
            yield Figure(label, held(found.held_due), "ops/due/held_fix", note="customers")
        else:
            yield Figure(label, NOTHING, note=f"every {span(timedelta(seconds=DUE[kind].every))}")


def held(customers: int | None) -> str:
    if customers is None:
        return UNREADABLE
    return f"{customers:,}" if customers <= LISTED_MAX else f"more than {LISTED_MAX}"


def pile_figure(label: str, href: str, name: str, found: Operations, rule: str | None) -> Figure:
    """Toned by how many there are if there is a rule for it, else by how late the oldest is."""
    height = found.heights[name]
    if height is None:
        return Figure(label, UNREADABLE, href, AMBER)
    count = f"{height.number:,}" + ("+" if height.number >= COUNT_MAX else "")
    now = found.now if PILES[name].is_business_time else found.at
    late = max(now - height.oldest, timedelta(0)) if height.oldest else timedelta(0)
    lateness = tone_of("cycle_late" if name == "cycle" else "late", late.total_seconds())
    tone = tone_of(rule, height.number) if rule else lateness
    return Figure(label, count, href, tone, f"oldest {span(late)}" if height.oldest else None)


def books(found: Operations) -> Iterator[Figure]:
    sums_of = found.books
    if sums_of is None:
        yield Figure("Books", UNREADABLE, tone=AMBER)
        return
    yield Figure("Customers", f"{sums_of.customers:,}")
    yield Figure("Owed to us", sums(sums_of.owed))
    yield Figure("Credits left", f"{sums_of.credits:,}")
    for label, off in (
        ("Credits that do not add up", sums_of.credits_off),
        ("Money that does not add up", sums_of.money_off),
        ("Books below zero", sums_of.negative),
    ):
        yield Figure(label, f"{off:,}", tone=tone_of("unbalanced", off))


def sums(money: Iterable[Money]) -> str:
    return ", ".join(map(str, money)) or NOTHING
