"""How the whole installation stands: what the operator's page shows, read in one snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import ResponseError
from sqlalchemy import BigInteger, ColumnElement, Connection, func, select, text, tuple_
from sqlalchemy.exc import OperationalError

from schemas.events import BadEvent, parse_event
from schemas.inbox import EVENT, GROUP
from schemas.money import Money
from worker.billing.answers import AnswerKind
from worker.billing.charges import FINAL
from worker.billing.ledger import CREDIT_ACCOUNTS, MONEY_ACCOUNTS
from worker.inbox import Inbox
from worker.storage.backlog import due_backlogs
from worker.storage.piles import (
    DUE_PILES,
    LISTED_MAX,
    PERSON_PILES,
    PILES,
    Height,
    height_of,
    parts_of,
)
from worker.storage.tables import attempts, books, charges, collecting, events

PATIENCE = "3s"  # for one number: what takes longer is left out
DAY = timedelta(days=1)

Read = TypeVar("Read")


class Settling(NamedTuple):
    """What the inbox says. `settled` only ever grows; two looks at it make a rate."""

    entries: int
    oldest: datetime | None
    settled: int | None
    newest: list[tuple[str, str, str]]  # customer, source and id of the events delivered last


class Latency(NamedTuple):
    """Of the event that was settled last."""

    accepted_at: datetime
    recorded_at: datetime


class ByStatus(NamedTuple):
    """Charges that are not final."""

    status: str
    number: int
    owed: Money


class Stripe(NamedTuple):
    """What Stripe answered within the hour."""

    answers: list[tuple[str, int]]
    collected: list[Money]  # by currency
    last_success: datetime | None  # within a day
    oldest_unanswered: datetime | None


class Books(NamedTuple):
    """Sums over all books; in every one of them they are 0, and so here."""

    customers: int
    credits: int  # left
    owed: list[Money]  # by currency
    credits_off: int  # by how much the credit accounts do not add up
    money_off: int
    negative: int  # books with an account on its wrong side of 0


class Operations(NamedTuple):
    """None where something could not be read, or not in time."""

    at: datetime  # wall time
    now: datetime  # business time
    settling: Settling | None
    latency: Latency | None
    heights: dict[str, Height | None]  # by pile
    held_due: int | None  # customers whose held fixes can be paid; up to LISTED_MAX + 1
    quarantine: list[tuple[str, int]] | None  # by reason
    charges: list[ByStatus] | None
    stripe: Stripe | None
    books: Books | None
    stopped_at: datetime | None
    stopped_why: str | None


def operations(tx: Connection, settling: Settling | None, values: Mapping[str, Any]) -> Operations:
    """Each number on its own: one that is slow to count hides none of the others.

    `values` are those that the piles compare with.
    """
    tx.execute(text(f"SET LOCAL statement_timeout = '{PATIENCE}'"))

    def patiently(read: Callable[..., Read], *arguments: object) -> Read | None:
        try:
            with tx.begin_nested():
                return read(tx, *arguments)
        except OperationalError:
            return None

    stopped = tx.execute(select(collecting.c.stopped_at, collecting.c.stopped_why)).first()
    held = patiently(due_backlogs, values["now"], LISTED_MAX + 1)
    return Operations(
        at=values["wall"],
        now=values["now"],
        settling=settling,
        latency=patiently(latency_of, settling.newest) if settling else None,
        heights={
            name: patiently(height_of, PILES[name], values) for name in (*DUE_PILES, *PERSON_PILES)
        },
        held_due=None if held is None else len(held),
        quarantine=patiently(parts_of, PILES["quarantine"], values),
        charges=patiently(charges_by_status),
        stripe=patiently(stripe_since, values),
        books=patiently(sums_of_books),
        stopped_at=stopped[0] if stopped else None,
        stopped_why=stopped[1] if stopped else None,
    )


def settling_of(inbox: Inbox) -> Settling:
    """Raises RedisError."""
    depth = inbox.depth()
    groups = [(stream, group) for stream in inbox.streams for group in groups_of(inbox, stream)]
    read = [entries_read(group) for _, group in groups]
    pending = sum(int(group["pending"]) for _, group in groups)
    last = [(stream, group["last-delivered-id"]) for stream, group in groups]
    return Settling(
        depth.entries,
        depth.oldest,
        None if None in read else sum(number or 0 for number in read) - pending,
        [event for stream, key in last if (event := event_at(inbox, stream, key)) is not None],
    )


def groups_of(inbox: Inbox, stream: bytes) -> list[dict[str, Any]]:
    """Ours; none of a stream that nothing has gone into yet."""
    try:
        groups: Any = inbox.redis.xinfo_groups(stream)
    except ResponseError:
        return []
    return [group for group in groups if group["name"] == GROUP.encode()]


def entries_read(group: Mapping[str, Any]) -> int | None:
    """None where Redis has lost count, as after an entry was deleted."""
    if group["last-delivered-id"] == b"0-0":
        return 0
    read: int | None = group.get("entries-read")
    return read


def partitions_of(inbox: Inbox) -> list[dict[str, Any]]:
    """Each with what is not settled yet; raises RedisError."""
    found = []
    for stream, number in inbox.streams.items():
        depth = Inbox(inbox.redis, [number]).depth()
        delivered = [group["last-delivered-id"].decode() for group in groups_of(inbox, stream)]
        found.append(
            {
                "partition": number,
                "unsettled": depth.entries,
                "oldest": depth.oldest,
                "last delivered": delivered[0] if delivered else None,
            }
        )
    return found


def event_at(inbox: Inbox, stream: bytes, key: bytes) -> tuple[str, str, str] | None:
    """Which event this entry is, if it is one and has not been trimmed."""
    entries: Any = inbox.redis.xrange(stream, min=key, max=key)
    try:
        event = parse_event(entries[0][1][EVENT])
    except (IndexError, KeyError, TypeError, BadEvent):
        return None
    return event.customer_id, event.source, event.id


def latency_of(tx: Connection, newest: Sequence[tuple[str, str, str]]) -> Latency | None:
    key = tuple_(events.c.customer_id, events.c.source, events.c.event_id)
    row = tx.execute(
        select(events.c.accepted_at, events.c.recorded_at)
        .where(key.in_(newest))
        .order_by(events.c.accepted_at.desc())
        .limit(1)
    ).first()
    return Latency(*row) if row else None


def charges_by_status(tx: Connection) -> list[ByStatus]:
    owed = func.sum(charges.c.amount - charges.c.applied - charges.c.dropped)
    rows = tx.execute(
        select(charges.c.status, charges.c.currency, func.count(), owed)
        .where(charges.c.status.not_in(FINAL))
        .group_by(charges.c.status, charges.c.currency)
        .order_by(charges.c.status, charges.c.currency)
    )
    return [
        ByStatus(status, count, Money(int(amount), currency))
        for status, currency, count, amount in rows
    ]


def stripe_since(tx: Connection, values: Mapping[str, Any]) -> Stripe:
    asked = attempts.c.parameters["amount"].astext.cast(BigInteger)
    currency = attempts.c.parameters["currency"].astext
    succeeded = attempts.c.answer == AnswerKind.SUCCEEDED
    collected = tx.execute(
        select(func.sum(asked), currency)
        .where(attempts.c.started_at > values["hour_ago"], succeeded)
        .group_by(currency)
        .order_by(currency)
    )
    last = (
        select(attempts.c.answered_at)
        .where(attempts.c.started_at > values["wall"] - DAY, succeeded)
        .order_by(attempts.c.started_at.desc())
        .limit(1)
    )
    oldest = select(func.min(attempts.c.started_at)).where(attempts.c.answered_at.is_(None))
    return Stripe(
        parts_of(tx, PILES["attempts"], values),
        [Money(int(amount), currency) for amount, currency in collected],
        tx.scalar(last),
        tx.scalar(oldest),
    )


def sums_of_books(tx: Connection) -> Books:
    """One pass over all of them."""
    wrong = (books.c.credits < 0) | (books.c.receivable < 0) | (books.c.unapplied > 0)
    rows = tx.execute(
        select(
            books.c.currency,
            func.count(),
            func.sum(books.c.credits),
            func.sum(books.c.receivable),
            func.sum(func.abs(total_of(CREDIT_ACCOUNTS))),
            func.sum(func.abs(total_of(MONEY_ACCOUNTS))),
            func.count().filter(wrong),
        )
        .group_by(books.c.currency)
        .order_by(books.c.currency)
    ).all()
    customers, left, _, credits_off, money_off, negative = (
        sum(int(row[column]) for row in rows) for column in range(1, 7)
    )
    owed = [Money(int(row[3]), row[0]) for row in rows]
    return Books(customers, left, owed, credits_off, money_off, negative)


def total_of(accounts: Sequence[str]) -> ColumnElement[int]:
    first, *others = (books.c[name] for name in accounts)
    return sum(others, first)
