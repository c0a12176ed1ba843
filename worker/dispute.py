"""The life of a dispute: Stripe tells of it, the books follow."""

from __future__ import annotations

from sqlalchemy import Engine
from structlog import get_logger

from worker import telemetry
from worker.billing.disputes import Dispute, Funds, take_dispute
from worker.billing.stripe_objects import StripeDispute
from worker.clock import Clock
from worker.customers import open_book
from worker.storage.post import post
from worker.storage.refunds import Payer, find_dispute, save_dispute

log = get_logger()


def record_dispute(payer: Payer, seen: StripeDispute, engine: Engine, clock: Clock) -> Funds:
    """Book what Stripe says of it now; webhook and reconcile both come through here."""
    with engine.begin() as tx:
        journal, book = open_book(tx, payer.customer_id, clock)
        dispute = find_dispute(tx, seen.dispute_id) or Dispute(
            payer.customer_id,
            seen.dispute_id,
            payer.charge_id,
            seen.payment_intent,
            seen.money.amount,
            seen.money.currency,
            seen.status,
            Funds.OURS,
            seen.reason,
            opened_at=seen.opened_at,
            recorded_at=clock.now(),
        )
        before = dispute.funds
        take_dispute(journal, book, dispute, seen.status)
        post(tx, journal)
        save_dispute(tx, dispute)
    if dispute.funds is not before:
        telemetry.disputes.add(1, {"funds": dispute.funds})
        log.warning("dispute", dispute=dispute.dispute_id, funds=dispute.funds, was=before)
    return dispute.funds
