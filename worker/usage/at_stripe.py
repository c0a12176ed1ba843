"""Do the books and Stripe agree on the money that has moved?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from worker.billing.disputes import BY_STRIPE_STATUS as FUNDS
from worker.billing.disputes import Funds
from worker.billing.refunds import BY_STRIPE_STATUS, RefundStatus
from worker.billing.stripe_objects import Payment, StripeDispute, StripeRefund
from worker.storage.tables import customers
from worker.stripe_gateway import StripeGateway


class Collected(NamedTuple):
    """What we believe of money at Stripe, in minor units by the id of what moved it."""

    moved: dict[str, int]  # payments, refunds and disputes alike
    under_way: set[str]
    stripe_customers: set[str]


class Truth(NamedTuple):
    """What Stripe says."""

    payments: list[Payment]
    refunds: list[StripeRefund]
    disputes: list[StripeDispute]


MOVED = """
    SELECT source_key, sum(CASE
        WHEN kind IN ('refund_failed', 'refund_unapplied_failed', 'dispute_won') THEN -amount
        ELSE amount END)::bigint AS amount
    FROM transfers WHERE kind IN ('pay', 'unapplied_in', 'refund', 'refund_unapplied',
        'refund_failed', 'refund_unapplied_failed', 'dispute_opened', 'dispute_won')
    GROUP BY source_key
"""
UNDER_WAY = """
    SELECT payment_intent FROM charges
    WHERE payment_intent IS NOT NULL AND status NOT IN ('paid', 'void')
    UNION ALL SELECT payment_intent FROM refunds WHERE status IN ('requested', 'pending')
    UNION ALL SELECT payment_intent FROM top_ups
    WHERE payment_intent IS NOT NULL AND status = 'requested'
    UNION ALL SELECT object_id FROM stripe_events WHERE due_at IS NOT NULL AND object_id IS NOT NULL
"""


def collected(tx: Connection) -> Collected:
    known = tx.scalars(
        select(customers.c.stripe_customer).where(customers.c.stripe_customer.is_not(None))
    )
    return Collected(
        {row.source_key: row.amount for row in tx.execute(text(MOVED))},
        set(tx.scalars(text(UNDER_WAY))),
        {str(each) for each in known},
    )


def stripe_truth(stripe: StripeGateway) -> Truth:
    return Truth(list(stripe.payments()), list(stripe.refunds()), list(stripe.disputes()))


def differences(before: Collected, seen: Truth, after: Collected) -> Iterator[str]:
    """What Stripe has moved and we have not, or the other way round, or twice, or unequal.

    Cards are charged while we look: what was booked before Stripe was asked must be there, and what
    is there must be booked, or under way, after.
    """
    ours = [each for each in seen.payments if each.stripe_customer in after.stripe_customers]
    times = Counter(each.payment_intent for each in ours)
    yield from (f"{intent} was paid {count} times" for intent, count in times.items() if count > 1)
    theirs = moved_at_stripe(ours, seen)
    booked = {moved for moved in before.moved if moved.startswith(STRIPE_IDS)}
    for moved in sorted(booked | theirs.keys()):
        amount, intent = theirs.get(moved, (0, None))
        either = (before.moved.get(moved, 0), after.moved.get(moved, 0))
        if amount not in either and not {moved, intent} & after.under_way:
            yield f"{moved}: Stripe has {amount}, the books {either[1]}"


STRIPE_IDS = ("pi_", "re_", "pyr_", "dp_", "du_")


def moved_at_stripe(ours: list[Payment], seen: Truth) -> dict[str, tuple[int, str]]:
    """Amount and payment intent, by the id of what moved the money."""
    intents = {each.payment_intent for each in ours}
    moved = {each.payment_intent: (each.money.amount, each.payment_intent) for each in ours}
    for refund in seen.refunds:
        if refund.payment_intent in intents:
            back = BY_STRIPE_STATUS.get(refund.status) is not RefundStatus.FAILED
            amount = refund.money.amount if back else 0
            moved[refund.stripe_refund] = (amount, refund.payment_intent)
    for dispute in seen.disputes:
        if dispute.payment_intent in intents:
            taken = FUNDS.get(dispute.status) in (Funds.WITHDRAWN, Funds.LOST)
            amount = dispute.money.amount if taken else 0
            moved[dispute.dispute_id] = (amount, dispute.payment_intent)
    return moved
