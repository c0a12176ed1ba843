"""What is read when Prometheus asks: the state of the inbox and of the tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from worker import telemetry
from worker.customers import CANCELLED
from worker.due import Tools
from worker.inbox import Inbox
from worker.storage import charges, contests, customers, cycles, drifts, quarantine
from worker.storage.collecting import is_stopped
from worker.storage.refunds import count_unanswered_disputes


class Gauge(NamedTuple):
    """One number, and where it comes from."""

    name: str
    description: str
    unit: str
    read: Callable[[Tools], float]


def age(oldest: datetime | None, tools: Tools) -> float:
    return (tools.clock.wall() - oldest).total_seconds() if oldest else 0.0


def overdue(tools: Tools) -> float:
    """By the clock that the sweep goes by."""
    now = tools.clock.now()
    return (now - (cycles.oldest_due(tools.engine, now) or now)).total_seconds()


GAUGES = (
    Gauge(
        "fixbill.inbox.depth",
        "Entries not yet settled",
        "",
        lambda tools: Inbox(tools.redis).depth().entries,
    ),
    Gauge(
        "fixbill.inbox.oldest.age",
        "Age of the oldest entry not yet settled",
        "s",
        lambda tools: age(Inbox(tools.redis).depth().oldest, tools),
    ),
    Gauge(
        "fixbill.quarantine.entries",
        "Entries in quarantine that wait for a person",
        "",
        lambda tools: quarantine.count_standing(tools.engine),
    ),
    Gauge(
        "fixbill.contests.open",
        "Fixes that customers contest and that wait for a decision",
        "",
        lambda tools: contests.count_open(tools.engine),
    ),
    Gauge(
        "fixbill.charges.parked",
        "Charges about which something is wrong, that wait for a person",
        "",
        lambda tools: charges.count_parked(tools.engine),
    ),
    Gauge(
        "fixbill.customers.parked",
        "Customers from whom nothing is collected, those who left apart",
        "",
        lambda tools: customers.count_parked(tools.engine, CANCELLED),
    ),
    Gauge(
        "fixbill.collecting.stopped",
        "1 while no card is charged, else 0",
        "",
        lambda tools: is_stopped(tools.engine),
    ),
    Gauge(
        "fixbill.drifts.parked",
        "Differences from Stripe's lists that wait for a person",
        "",
        lambda tools: drifts.count_standing(tools.engine),
    ),
    Gauge(
        "fixbill.disputes.unanswered",
        "Disputes that wait for our evidence",
        "",
        lambda tools: count_unanswered_disputes(tools.engine),
    ),
    Gauge(
        "fixbill.cycles.overdue.age",
        "How long credits should have expired, or a cycle have ended, and the sweep has not come",
        "s",
        overdue,
    ),
    Gauge(
        "fixbill.attempts.oldest.age",
        "Age of the oldest attempt without a final answer",
        "s",
        lambda tools: age(charges.oldest_unanswered(tools.engine), tools),
    ),
)


def observe(tools: Tools) -> None:
    for gauge in GAUGES:
        telemetry.observe(gauge.name, gauge.description, gauge.unit, gauge.read, tools)
