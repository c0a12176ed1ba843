"""The life of a contest: opened by the customer, decided by the operator, once.

Accepting one takes the fix back as a `fix.reverted` does, in the transaction that decides.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Engine
from structlog import get_logger

from schemas.contests import Reason
from schemas.ids import new_id
from schemas.inbox import partition_of
from worker import telemetry
from worker.billing.contests import (
    Contest,
    Decision,
    entry_of,
    revert_of,
    why_not_contestable,
)
from worker.clock import Clock
from worker.inbox import Inbox
from worker.settle import settle_entries
from worker.storage.books import open_books
from worker.storage.contests import (
    add_contest,
    contest_under,
    contested_fix,
    decide_contest,
    find_contest,
    open_contest_of,
)
from worker.storage.cycles import parked_since

log = get_logger()

REASON: TypeAdapter[str | None] = TypeAdapter(Reason | None)


class ContestProblem(ValueError):
    """This contest cannot be opened or decided so; the message says why."""


class UnknownFix(ContestProblem):
    """There is nothing to contest."""


class KeyReused(ContestProblem):
    """The Idempotency-Key belongs to another contest."""


class Opened(NamedTuple):
    """A contest, and whether it was opened now."""

    contest: Contest
    new: bool


def open_contest(
    tx: Connection, customer_id: str, fix_id: str, reason: str, key: str | None, clock: Clock
) -> Opened:
    """Write the customer's word down, once; raises ContestProblem. Nothing else changes.

    In a transaction of the API's that sees what others commit meanwhile.
    """
    known = opened_before(tx, customer_id, fix_id, reason, key)
    if known is not None:
        return Opened(known, new=False)
    contest = new_contest(tx, customer_id, fix_id, reason, key, clock)
    if add_contest(tx, contest):
        return Opened(contest, new=True)
    known = opened_before(tx, customer_id, fix_id, reason, key)  # by who was faster
    if known is None:
        raise ContestProblem(f"{fix_id} was contested at the same time; send the same again")
    return Opened(known, new=False)


def opened_before(
    tx: Connection, customer_id: str, fix_id: str, reason: str, key: str | None
) -> Contest | None:
    """The contest that this request is about already: by its key, else the open one of the fix."""
    under_key = contest_under(tx, customer_id, key) if key is not None else None
    if under_key is not None:
        if under_key.says(fix_id, reason):
            return under_key
        raise KeyReused("this Idempotency-Key was used before, for another fix or reason")
    standing = open_contest_of(tx, customer_id, fix_id)
    if standing is not None and standing.reason != reason:
        raise ContestProblem(
            f"{fix_id} is contested already, for another reason: {standing.contest_id} waits to be "
            "decided"
        )
    return standing


def new_contest(
    tx: Connection, customer_id: str, fix_id: str, reason: str, key: str | None, clock: Clock
) -> Contest:
    found = contested_fix(tx, customer_id, fix_id, clock.now())
    if found is None:
        raise UnknownFix(f"{customer_id} has no fix {fix_id}")
    why = why_not_contestable(*found)
    if why is not None:
        raise ContestProblem(why)
    return Contest(customer_id, new_id("con"), fix_id, reason, key, opened_at=found.now)


def tell_of(contest: Contest) -> None:
    """For the operator; the reason is the customer's and stays out of the log."""
    telemetry.contests.add(1, {"state": "opened"})
    log.warning("contest_opened", contest=contest.contest_id, fix=contest.fix_id)


def accept_contest(
    contest_id: str, why: str | None, engine: Engine, inbox: Inbox, clock: Clock
) -> Contest:
    """The customer is right: the fix is taken back. Safe to repeat; raises ContestProblem."""
    contest = contest_named(contest_id, engine)
    settled_until = inbox.settled_until(partition_of(contest.customer_id))
    with engine.begin() as tx:
        decided_now = decide(tx, contest, Decision.ACCEPTED, why, clock)
        if decided_now:
            take_back(tx, contest, settled_until, clock.now())
    return told(contest_id, engine, decided_now)


def reject_contest(contest_id: str, why: str, engine: Engine, clock: Clock) -> Contest:
    """The fix stays as it is. Safe to repeat; raises ContestProblem."""
    contest = contest_named(contest_id, engine)
    with engine.begin() as tx:
        decided_now = decide(tx, contest, Decision.REJECTED, why, clock)
    return told(contest_id, engine, decided_now)


def told(contest_id: str, engine: Engine, decided_now: bool) -> Contest:
    """As it is decided; counted once."""
    contest = contest_named(contest_id, engine)
    if decided_now:
        telemetry.contests.add(1, {"state": contest.decision or "open"})
        log.info("contest_decided", contest=contest_id, decision=contest.decision)
    return contest


def contest_named(contest_id: str, engine: Engine) -> Contest:
    with engine.begin() as tx:
        found = find_contest(tx, contest_id)
    if found is None:
        raise ContestProblem(f"there is no contest {contest_id}")
    return found


def decide(
    tx: Connection, contest: Contest, decision: Decision, why: str | None, clock: Clock
) -> bool:
    """False: that was decided before. The other decision cannot be had any more."""
    book = open_books(tx, [contest.customer_id])[contest.customer_id]  # locked before anything else
    if decide_contest(tx, contest, decision, readable_why(why), clock.now() + book.clock_offset):
        return True
    standing = find_contest(tx, contest.contest_id)
    if standing is None or standing.decision != decision:
        was = standing.decision if standing else "removed"
        raise ContestProblem(f"{contest.contest_id} was {was} already")
    return False


def readable_why(why: str | None) -> str | None:
    """The customer reads it."""
    try:
        return REASON.validate_python(why)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ContestProblem(f"why: {problem}") from error


def take_back(tx: Connection, contest: Contest, settled_until: datetime, now: datetime) -> None:
    """As a `fix.reverted` that comes in now; if one has come before, there is nothing to do.

    No later than the watermark, as with the sweep of cycles: what was accepted before and is not
    settled yet must still find its credits.
    """
    found = contested_fix(tx, contest.customer_id, contest.fix_id, now)
    assert found is not None  # noqa: S101 - a foreign key holds it
    parked = parked_since(tx, [contest.customer_id])
    at = min(now, settled_until, parked.get(contest.customer_id, now))
    entry = entry_of(revert_of(contest, found.fix), at)
    journal = settle_entries(tx, [entry], now)
    for refused in journal.quarantined:
        if refused.entry.key == entry.key:
            raise ContestProblem(f"{contest.fix_id} cannot be taken back: {refused.detail}")
