"""When a number of the operator's page is amber or red: here and nowhere else.

Where Prometheus has an alert about the same, its threshold is the same: a page is red, a ticket is
amber.
"""

from __future__ import annotations

from typing import NamedTuple

GREEN, AMBER, RED = "green", "amber", "red"


class Rule(NamedTuple):
    """Above this the number has this tone."""

    above: float
    tone: str
    alert: str | None = None  # of deploy/prometheus/alerts.yml


RULES = {
    "inbox_age": Rule(60, RED, "FixbillInboxStale"),  # seconds, as all ages
    "inbox_depth": Rule(1000, AMBER, "FixbillInboxGrowing"),
    "parked_entry": Rule(0, AMBER, "FixbillIntakeParked"),
    "quarantine": Rule(0, AMBER, "FixbillQuarantineGrew"),
    "charges_parked": Rule(0, RED, "FixbillChargeParked"),
    "collecting_stopped": Rule(0, RED, "FixbillCollectingStopped"),
    "customers": Rule(0, AMBER, "FixbillCustomersParked"),
    "attempt_age": Rule(86400, RED, "FixbillAttemptUnanswered"),
    "cycle_late": Rule(3600, AMBER, "FixbillCyclesOverdue"),
    "drifts": Rule(0, AMBER, "FixbillDriftParked"),
    "disputes": Rule(0, AMBER, "FixbillDisputeOpened"),
    "stripe_unclear": Rule(0.2, AMBER, "FixbillStripeUnclear"),  # a share
    "contests": Rule(0, AMBER),
    "late": Rule(300, AMBER),  # due rows of any other kind
    "unbalanced": Rule(0, RED),
}
ENOUGH_ATTEMPTS = 10  # as FixbillStripeUnclear has it: a share of fewer says nothing


def tone_of(rule: str, value: float) -> str:
    above, tone, _ = RULES[rule]
    return tone if value > above else GREEN
