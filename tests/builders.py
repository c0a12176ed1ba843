"""What tests begin with: values with defaults, and rows in a database. No test sets up by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

from redis import Redis
from sqlalchemy import Engine, Table, insert, select

from producers.publish import Accepted, publish
from schemas.events import DEPLOYED, REVERTED, Event, FixData, new_event
from schemas.inbox import Entry
from schemas.money import Money
from schemas.plans import load_plans
from tests.sandbox.sandbox_process import RunningSandbox
from worker.billing.book import Book
from worker.billing.charges import Charge, ChargeStatus
from worker.billing.cycles import CycleStatus, month_of
from worker.billing.disputes import Dispute, Funds
from worker.billing.fix import Arrival, Fix, FixOutcome
from worker.billing.giving import give
from worker.billing.grants import PRIORITY, Grant
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.ledger import NO_HEAD
from worker.billing.policy import policy_of
from worker.billing.refunds import Refund, RefundStatus
from worker.settle import settle
from worker.signatures import Trust
from worker.storage import tables
from worker.storage.books import open_books
from worker.storage.bulk import written
from worker.storage.charges import Attempt, ChargeKey
from worker.storage.post import post

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)  # a Sunday noon in the middle of a month
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MARCH = month_of(NOW)  # the cycle in which everything begins
PLAN_DATE = date(2026, 1, 1)  # of every plan in the catalogue that is shipped

numbers = count(1)  # for what must be unique and is otherwise of no interest


# Events, and how they come in.


def deployed(fix_id: str = "fix-1", customer_id: str = "acme", **more: Any) -> Event:
    """A fix reached main a minute ago. The same fix id gives the same event id."""
    return event_of(DEPLOYED, fix_id, customer_id, **more)


def reverted(fix_id: str = "fix-1", customer_id: str = "acme", **more: Any) -> Event:
    """The fix was taken back."""
    return event_of(REVERTED, fix_id, customer_id, **more)


def event_of(
    type: str,
    fix_id: str,
    customer_id: str,
    *,
    id: str | None = None,
    at: datetime = NOW - MINUTE,
    source: str = "github.com/acme/shop",
    **data: Any,
) -> Event:
    facts = {
        "customer_id": customer_id,
        "fix_id": fix_id,
        "repository": "acme/shop",
        "commit_sha": "0123abcd",
    }
    verb = type.split(".")[3]
    return new_event(
        id=id or f"{verb}-{fix_id}",
        source=source,
        type=type,
        time=at,
        data=FixData.model_validate(facts | data),
    )


def fixes_of(customer_id: str, how_many: int, **more: Any) -> list[Event]:
    """So many fixes, deployed a second apart, the last one a minute ago."""
    first = NOW - MINUTE - timedelta(seconds=how_many)
    return [
        deployed(f"fix-{number:05}", customer_id, at=first + timedelta(seconds=number), **more)
        for number in range(1, how_many + 1)
    ]


def entry(event: Event | bytes, *, at: datetime = NOW, key: str | None = None) -> Entry:
    """What the inbox hands out; bytes are taken as they are."""
    body = event if isinstance(event, bytes) else event.to_bytes()
    key = key or f"0/{int(at.timestamp() * 1000)}-{next(numbers)}"
    return Entry(key=key, body=body, door="redis", accepted_at=at)


def arrival(event: Event, *, at: datetime = NOW, key: str | None = None) -> Arrival:
    return Arrival(event, entry(event, at=at, key=key))


# Values of the rules.


def grant(
    credits: int = 1,
    grant_id: str = "gift",
    *,
    source: str = "operator",
    remaining: int | None = None,
    expires_at: datetime | None = None,
    recorded_at: datetime = NOW - DAY,
    rolls_max: int = 0,
    customer_id: str = "acme",
) -> Grant:
    return Grant(
        customer_id=customer_id,
        grant_id=grant_id,
        source=source,
        priority=PRIORITY[source],
        granted=credits,
        remaining=credits if remaining is None else remaining,
        expires_at=expires_at,
        recorded_at=recorded_at,
        rolls_max=rolls_max,
    )


def book(
    plan: str = "payg", *, grants: Sequence[Grant] = (), customer_id: str = "acme", **more: Any
) -> Book:
    """A customer with a card and in good standing; the credits are those of the grants."""
    plans = more.get("plans", load_plans())
    version = plans.pinned(plan, PLAN_DATE)
    left = sum(each.remaining for each in grants)
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "plan": plan,
        "plan_version": PLAN_DATE,
        "currency": "usd",
        "price": version.price,
        "open_charge": None,
        "fresh_charge_id": f"ch_{customer_id}",
        "policy": policy_of(version),
        "plans": plans,
        "cycle_start": MARCH.start,
        "cycle_end": MARCH.end,
        "has_payment_method": True,
        "grants": list(grants),
        "credits": left,
        "issued": -left,
    }
    return Book(**values | more)


def owing(owed: Charge, *, unapplied: int = 0, **more: Any) -> Book:
    """A book in which this charge is all that is owed, and this much money is unapplied."""
    place = "open_charge" if owed.status is ChargeStatus.OPEN else "charge_in_flight"
    values: dict[str, Any] = {
        place: owed,
        "fresh_charge_id": "ch_next",
        "receivable": owed.owed,
        "revenue": owed.dropped - owed.amount,
        "unapplied": -unapplied,
        "cash": owed.applied + unapplied,
    }
    return book(**values | more)


def moved(journal: Journal) -> list[tuple[str, int, str]]:
    """What was transferred: the kind, the amount, and what caused it."""
    return [(each.kind, each.amount, each.source_key) for each in journal.transfers]


def fix(
    fix_id: str = "fix-1",
    outcome: FixOutcome = FixOutcome.HELD,
    *,
    customer_id: str = "acme",
    **more: Any,
) -> Fix:
    """A fix as it would be stored with this outcome."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "fix_id": fix_id,
        "outcome": outcome,
        "held_why": None,
        "repository": "acme/shop",
        "commit_sha": "0123abcd",
        "pull_request": None,
        "finding": None,
        "deployed_at": NOW - HOUR,
        "recorded_at": NOW - HOUR,
        "settled_at": NOW - HOUR,
        "cycle_start": MARCH.start,
        "late": False,
        "plan": "payg",
        "plan_version": PLAN_DATE,
        "price": None,
        "currency": None,
        "grant_id": None,
        "charge_id": None,
        "source": "github.com/acme/shop",
        "event_id": f"deployed-{fix_id}",
    }
    by_outcome: dict[FixOutcome, dict[str, Any]] = {
        FixOutcome.HELD: {"held_why": "no payment method", "settled_at": None},
        FixOutcome.CREDITED: {"grant_id": "gift"},
        FixOutcome.CHARGED: {"charge_id": "ch_acme", "price": 2900, "currency": "usd"},
        FixOutcome.REVERTED: {},
    }
    return Fix(**values | by_outcome[outcome] | more)


def charge(
    amount: int = 2900,
    status: ChargeStatus = ChargeStatus.OPEN,
    *,
    customer_id: str = "acme",
    charge_id: str = "ch_acme",
    **more: Any,
) -> Charge:
    """A charge as it would be stored with this status."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "charge_id": charge_id,
        "status": status,
        "amount": amount,
        "currency": "usd",
        "opened_at": NOW - HOUR,
        "due_at": NOW - HOUR,
    }
    if status not in (ChargeStatus.OPEN, ChargeStatus.VOID):
        values |= {"frozen_at": NOW - HOUR, "asked_amount": amount - more.get("applied", 0)}
    if status is ChargeStatus.PAID:
        values |= {"due_at": None, "paid_at": NOW - MINUTE, "payment_intent": f"pi_{charge_id}"}
    return Charge(**values | more)


def attempt(number: int = 1, *, customer_id: str = "acme", **more: Any) -> Attempt:
    """An attempt to collect the customer's charge, whose outcome is not known yet."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "attempt_id": f"att_{customer_id}_{number}",
        "charge_id": f"ch_{customer_id}",
        "number": number,
        "why": "scheduled",
        "parameters": {"amount": 2900, "metadata": {"charge_id": f"ch_{customer_id}"}},
        "payment_intent": None,
        "charge_before": None,
        "livemode": False,
        "started_at": NOW,
    }
    return Attempt(**values | more)


def refund(
    amount: int = 2900,
    status: RefundStatus = RefundStatus.REQUESTED,
    *,
    customer_id: str = "acme",
    **more: Any,
) -> Refund:
    """A refund of the customer's charge, which Stripe has heard of only if it is given."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "refund_id": f"ref_{customer_id}",
        "charge_id": f"ch_{customer_id}",
        "payment_intent": f"pi_ch_{customer_id}",
        "fix_id": None,
        "amount": amount,
        "currency": "usd",
        "status": status,
        "requested_at": NOW,
        "started_at": NOW,
        "due_at": NOW if status is RefundStatus.REQUESTED else None,
    }
    return Refund(**values | more)


def dispute(
    amount: int = 2900, funds: Funds = Funds.OURS, *, customer_id: str = "acme", **more: Any
) -> Dispute:
    """A dispute of what the customer's charge was paid with."""
    values: dict[str, Any] = {
        "customer_id": customer_id,
        "dispute_id": f"du_{customer_id}",
        "charge_id": f"ch_{customer_id}",
        "payment_intent": f"pi_ch_{customer_id}",
        "amount": amount,
        "currency": "usd",
        "status": "needs_response",
        "funds": funds,
        "reason": "fraudulent",
        "opened_at": NOW,
        "recorded_at": NOW,
    }
    return Dispute(**values | more)


def journal(*books: Book, known: Known | None = None, now: datetime = NOW) -> Journal:
    """An empty journal over these books."""
    return Journal({each.customer_id: each for each in books}, known or Known(), now)


def known(*fixes: Fix, **more: Any) -> Known:
    """These fixes are in the books already."""
    return Known(fixes={(each.customer_id, each.fix_id): each for each in fixes}, **more)


def usd(dollars: int, cents: int = 0) -> Money:
    return Money(dollars * 100 + cents, "usd")


# Rows in a database.


def add_customer(
    engine: Engine,
    customer_id: str = "acme",
    *,
    plan: str = "payg",
    card: bool = True,
    credits: int = 0,
    stripe_customer: str | None = None,
    payment_method: str | None = None,
    **book_columns: Any,
) -> str:
    """A customer with a book, and a card that Stripe has never heard of unless it is given."""
    with engine.begin() as tx:
        tx.execute(
            insert(tables.customers).values(
                customer_id=customer_id,
                stripe_customer=stripe_customer or (f"cus_{customer_id}" if card else None),
                payment_method=payment_method or (f"pm_{customer_id}" if card else None),
                livemode=False,
                created_at=NOW - DAY,
            )
        )
        values = {
            "customer_id": customer_id,
            "plan": plan,
            "plan_version": PLAN_DATE,
            "currency": "usd",
            "head": NO_HEAD,
            "has_payment_method": card,
            "cycle_start": MARCH.start,
            "cycle_end": MARCH.end,
        }
        values |= book_columns
        tx.execute(insert(tables.books).values({"due_at": values["cycle_end"]} | values))
        tx.execute(
            insert(tables.cycles).values(
                customer_id=customer_id,
                number=1,
                starts_at=values["cycle_start"],
                ends_at=values["cycle_end"],
                status=CycleStatus.OPEN,
            )
        )
    if credits:
        give_credits(engine, customer_id, credits)
    return customer_id


def add_customer_with_card(
    engine: Engine,
    sandbox: RunningSandbox,
    customer_id: str = "acme",
    *,
    card: str = "pm_card_visa",
    **more: Any,
) -> str:
    """A customer whose card is at Stripe, too; returns Stripe's id of the customer."""
    client = sandbox.client()
    stripe_customer = client.v1.customers.create({"metadata": {"customer_id": customer_id}}).id
    attached = client.v1.payment_methods.attach(card, {"customer": stripe_customer})
    add_customer(
        engine,
        customer_id,
        stripe_customer=stripe_customer,
        payment_method=attached.id,
        **more,
    )
    return stripe_customer


def give_credits(
    engine: Engine,
    customer_id: str = "acme",
    credits: int = 1,
    key: str = "gift",
    *,
    source: str = "operator",
    expires_at: datetime | None = None,
    now: datetime = NOW - DAY,
) -> None:
    """A grant, posted as the product does; what is held waits for the next settling."""
    with engine.begin() as tx:
        opened = Journal(open_books(tx, [customer_id]), Known(), now)
        give(opened, opened.books[customer_id], source, key, credits, expires_at)
        post(tx, opened)


def settle_events(engine: Engine, *events: Event, now: datetime = NOW) -> Journal:
    """One batch through the whole life."""
    return settle_entries(engine, [entry(each, at=now) for each in events], now=now)


UNSIGNED = Trust(NOW, unsigned=True)  # whoever reaches the inbox is trusted


def settle_entries(engine: Engine, entries: Sequence[Entry], now: datetime = NOW) -> Journal:
    with engine.connect() as connection:
        return settle(entries, connection, now, UNSIGNED)


def owe(engine: Engine, customer_id: str = "acme", fix_id: str = "fix-1", **more: Any) -> ChargeKey:
    """A fix that is charged; returns the open charge it went to."""
    settle_events(engine, deployed(fix_id, customer_id), **more)
    owed = one_row(engine, tables.charges, customer_id=customer_id, status="open")
    return ChargeKey(customer_id, owed["charge_id"])


def publish_all(redis: Redis, events: Sequence[Event]) -> None:
    """In the inbox, every one of them."""
    assert publish(events, redis=redis) == [Accepted(each) for each in events]


def rows_of(engine: Engine, table: Table, **wanted: Any) -> list[dict[str, Any]]:
    """The rows that have these values, as they were written, in the order of the table's key."""
    conditions = [table.c[name] == value for name, value in wanted.items()]
    with engine.begin() as tx:
        columns = written(table)
        found = tx.execute(select(*columns).where(*conditions).order_by(*table.primary_key))
        return [dict(row) for row in found.mappings()]


def one_row(engine: Engine, table: Table, **wanted: Any) -> dict[str, Any]:
    (row,) = rows_of(engine, table, **wanted)
    return row


def outcomes(engine: Engine, customer_id: str = "acme") -> dict[str, str]:
    """What became of this customer's fixes, by fix id."""
    rows = rows_of(engine, tables.fixes, customer_id=customer_id)
    return {row["fix_id"]: row["outcome"] for row in rows}


def reasons(engine: Engine) -> list[str]:
    """Why entries stand in quarantine."""
    return sorted(row["reason"] for row in rows_of(engine, tables.quarantine))


def ids(events: Iterable[Event]) -> list[str]:
    return [each.id for each in events]
