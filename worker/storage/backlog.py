"""Held fixes that something can pay for by now."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from schemas.plans import load_plans

# Exact, so that no customer nothing can be done for stands in the way of another: a credit, or
# money that the customer has agreed to for the oldest held fix, within the cap of this cycle.
# The rule itself is billing.decide.decide_backlog.
DUE = text(
    """
    SELECT b.customer_id
    FROM books AS b
    CROSS JOIN LATERAL (
        SELECT recorded_at FROM fixes AS f
        WHERE f.customer_id = b.customer_id AND f.outcome = 'held'
        ORDER BY f.deployed_at, f.fix_id LIMIT 1
    ) AS oldest
    LEFT JOIN unnest(
        CAST(:plans AS text[]), CAST(:versions AS date[]), CAST(:prices AS bigint[])
    ) AS p(plan, version, price) ON p.plan = b.plan AND p.version = b.plan_version
    WHERE b.held > 0 AND (
        EXISTS (
            SELECT FROM grants AS g
            WHERE g.customer_id = b.customer_id AND g.remaining > 0
                AND (g.expires_at IS NULL OR g.expires_at > :now + b.clock_offset)
        )
        OR (
            p.price IS NOT NULL AND b.has_payment_method AND NOT b.past_due
            AND (b.spending_cap IS NOT NULL OR oldest.recorded_at <= b.accepted_held_until)
            AND (b.spending_cap IS NULL OR b.spending_cap >= p.price + CASE
                WHEN b.spent_cycle = date_trunc('month', :now + b.clock_offset, 'UTC') THEN b.spent
                ELSE 0 END)
        )
    )
    LIMIT :limit
    """
)


def due_backlogs(tx: Connection, now: datetime, limit: int) -> list[str]:
    """Customers whose oldest held fix can be paid now."""
    prices = [
        (code, version.effective, version.price.amount)
        for code, plan in load_plans().plans.items()
        for version in plan.versions
        if version.price
    ]
    plans, versions, amounts = map(list, zip(*prices, strict=True))
    values = {"plans": plans, "versions": versions, "prices": amounts, "now": now, "limit": limit}
    return list(tx.scalars(DUE, values))
