"""What is read when Prometheus asks: the state of the inbox and of the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from worker import telemetry
from worker.due import Tools
from worker.inbox import Inbox
from worker.storage.charges import count_parked
from worker.storage.quarantine import count_standing


class Gauge(NamedTuple):
    """One number, and where it comes from."""

    name: str
    description: str
    unit: str
    read: Callable[[Tools], float]


def oldest_age(tools: Tools) -> float:
    oldest = Inbox(tools.redis).depth().oldest
    return (tools.clock.wall() - oldest).total_seconds() if oldest else 0.0


GAUGES = (
    Gauge(
        "fixbill.inbox.depth",
        "Entries not yet settled",
        "",
        lambda tools: Inbox(tools.redis).depth().entries,
    ),
    Gauge("fixbill.inbox.oldest.age", "Age of the oldest entry not yet settled", "s", oldest_age),
    Gauge(
        "fixbill.quarantine.entries",
        "Entries in quarantine that wait for a person",
        "",
        lambda tools: count_standing(tools.engine),
    ),
    Gauge(
        "fixbill.charges.parked",
        "Charges about which something is wrong, that wait for a person",
        "",
        lambda tools: count_parked(tools.engine),
    ),
)


def observe(tools: Tools) -> None:
    for gauge in GAUGES:
        telemetry.observe(gauge.name, gauge.description, gauge.unit, gauge.read, tools)
