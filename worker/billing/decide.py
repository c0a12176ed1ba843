"""How one event is billed: the rules, without a connection or a clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.events import Event
from worker.billing.book import Book
from worker.billing.fix import Fix, FixOutcome
from worker.billing.known import Known, key_of
from worker.billing.outcome import (
    Charged,
    Credited,
    Held,
    Outcome,
    Payment,
    Refused,
    Reverted,
    Tombstone,
    Unchanged,
    Waiting,
)

FUTURE_MAX = timedelta(minutes=5)  # more than any clock of a CI machine should be ahead
REVERT_WITHIN = timedelta(days=30)


def decide(book: Book | None, known: Known, event: Event, now: datetime) -> Outcome:
    """What this event, no repeated one, means for this customer.

    Their book is at the time it was accepted.

    Only for what lies in the future it counts when we look: whoever took it in may run behind.
    """
    if event.time > now + FUTURE_MAX:
        return Refused("future", "time is more than 5 minutes ahead; check the sender's clock")
    if key_of(event) in known.events:
        return Refused("conflict", "this event id was used before with another body")
    if book is None:
        return Waiting()
    if known.claims.get(event.fix_id, event.customer_id) != event.customer_id:
        return Refused("claimed", "this pull request was already billed to another customer")
    fix = known.fixes.get((event.customer_id, event.fix_id))
    if event.reverts:
        return decide_revert(book, fix, event, known)
    if fix is not None:
        return Unchanged()
    return decide_payment(book, book.time or now)


def decide_payment(book: Book, now: datetime) -> Payment:
    """A credit if there is one, else money if we may take it, else the fix is held."""
    grant = book.usable_grant(now)
    if grant is not None:
        # Credits go to the oldest fix first: with part of the backlog unread this one must wait.
        return Held("behind older held fixes") if book.held else Credited(grant)
    return decide_money(book)


def decide_money(book: Book) -> Payment:
    """The price of this customer's plan, unless something forbids taking money."""
    if book.price is None:
        return Held("no credit left, and the plan has no price per fix")
    if not book.has_payment_method:
        return Held("no payment method")
    if book.past_due:
        return Held("past due")
    if book.unpaid_period:
        return Held("waits for the invoice of this period to be paid")
    if book.spending_cap is not None and book.spent + book.price.amount > book.spending_cap:
        return Held("spending cap reached")
    return Charged(book.price)


def decide_backlog(book: Book, fix: Fix, now: datetime) -> Payment:
    """A held fix takes a credit by itself; it becomes money only where the customer agreed.

    Agreed is: a spending cap is set, or the backlog up to this fix was accepted.
    """
    grant = book.usable_grant(now)
    if grant is not None:
        return Credited(grant)
    if not book.accepted(fix):
        return Held("waits for a credit, a spending cap, or for the backlog to be accepted")
    return decide_money(book)


def decide_revert(book: Book, fix: Fix | None, event: Event, known: Known) -> Outcome:
    """How a fix is taken back depends on what paid for it."""
    if fix is None:
        return Tombstone()
    if fix.outcome is FixOutcome.REVERTED:
        return Unchanged()
    if event.time - fix.deployed_at > REVERT_WITHIN:
        return Refused("revert_too_late", "a fix can be reverted within 30 days")
    if fix.outcome is FixOutcome.HELD:
        return Reverted(fix, "dropped")
    if fix.outcome is FixOutcome.CREDITED:
        return Reverted(fix, "given_back")
    if book.unpaid_charge(fix.charge_id) is not None:
        return Reverted(fix, "uncharged")
    gone = (fix.customer_id, fix.fix_id) in known.money_gone
    return Reverted(fix, "forgiven" if gone else "compensated")
