"""Held fixes that something can pay for by now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from schemas.plans import load_plans
from worker.storage.books import BACKLOG_READ_MAX

# Exact, so that no customer nothing can be done for stands in the way of another: a credit, or
# money that the customer has agreed to for one of the oldest held fixes, within the cap of this
# cycle. The rule itself is billing.decide.decide_backlog.
DUE = text(
    """
    SELECT b.customer_id
    FROM books AS b
    CROSS JOIN LATERAL (
        SELECT min(recorded_at) AS recorded_at FROM (
            SELECT recorded_at FROM fixes AS f
            WHERE f.customer_id = b.customer_id AND f.outcome = 'held'
            ORDER BY f.deployed_at, f.fix_id LIMIT :read
        ) AS read
    ) AS first
    LEFT JOIN unnest(
        CAST(:plans AS text[]), CAST(:versions AS date[]), CAST(:prices AS bigint[])
    ) AS p(plan, version, price) ON p.plan = b.plan AND p.version = b.plan_version
    WHERE b.held > 0 AND (
        EXISTS (
            SELECT FROM grants AS g
            WHERE g.customer_id = b.customer_id AND g.has_credits
                AND (g.expires_at IS NULL OR g.expires_at > :now + b.clock_offset)
        )
        OR (
            p.price IS NOT NULL AND b.has_payment_method AND NOT b.past_due
            AND (b.subscription_id IS NULL OR b.paid_until > b.cycle_start)
            AND (b.spending_cap IS NOT NULL OR first.recorded_at <= b.accepted_held_until)
            AND (b.spending_cap IS NULL OR b.spending_cap >= p.price + b.spent)
        )
    )
    LIMIT :limit
    """
)


def due_backlogs(tx: Connection, now: datetime, limit: int) -> list[str]:
    """Customers whose oldest held fix can be paid now."""
    priced = [
        (code, version)
        for code, plan in load_plans().plans.items()
        for version in plan.versions
        if version.price
    ]
    values = {
        "plans": [code for code, _ in priced],
        "versions": [version.effective for _, version in priced],
        "prices": [version.price.amount for _, version in priced if version.price],
        "now": now,
        "limit": limit,
        "read": BACKLOG_READ_MAX,
    }
    return list(tx.scalars(DUE, values))
