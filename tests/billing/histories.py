"""Random histories: customers of every kind, and all that can come through the inbox for them."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from hypothesis import strategies as st

from schemas.events import Event, derived_fix_id
from tests.billing.memory import Memory
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    arrival,
    book,
    deployed,
    grant,
    reverted,
)
from worker.billing.answers import Answer, AnswerKind
from worker.billing.dunning import next_step
from worker.billing.fix import Arrival
from worker.billing.payments import begin_attempt, book_unapplied, take_step, withdraw

CUSTOMERS = ("acme", "globex")
STRANGER = "stranger"  # nobody has made this customer
FIXES = ("fix-1", "fix-2", "fix-3", derived_fix_id("github.com", 1, 1))


class History(NamedTuple):
    """What happened before, and the events whose settling is looked at."""

    before: Memory
    arrivals: list[Arrival]

    def memory(self) -> Memory:
        return deepcopy(self.before)


def events(customers: tuple[str, ...] = (*CUSTOMERS, STRANGER)) -> st.SearchStrategy[Event]:
    """From a small pool: fixes and event ids repeat, sometimes with another body."""
    return st.builds(
        event_for,
        st.sampled_from([deployed, deployed, reverted]),
        st.sampled_from(FIXES),
        st.sampled_from(customers),
        st.sampled_from(["1", "1", "2"]),
        st.sampled_from(["aaaaaaa", "aaaaaaa", "bbbbbbb"]),
        st.sampled_from([MINUTE, HOUR, 3 * HOUR, 20 * DAY, -MINUTE, -6 * MINUTE]),
        st.sampled_from(["acme/shop", "acme/api"]),
    )


def event_for(
    make: Any,
    fix_id: str,
    customer_id: str,
    number: str,
    commit: str,
    age: timedelta,
    repository: str,
) -> Event:
    made: Event = make(
        fix_id,
        customer_id,
        id=f"{make.__name__}-{fix_id}-{number}",
        commit_sha=commit,
        at=NOW - age,
        repository=repository,
    )
    return made


EXPIRIES = st.sampled_from([None, None, None, NOW - DAY, NOW, NOW + HOUR, NOW + 30 * DAY])


@st.composite
def memories(draw: st.DrawFn) -> Memory:
    """Customers with plans, cards, caps and grants; some with a backlog or a charge in flight."""
    memory = Memory()
    for customer_id in CUSTOMERS:
        memory.books[customer_id] = book(
            draw(st.sampled_from(["trial", "payg", "payg", "pro"])),
            customer_id=customer_id,
            has_payment_method=draw(st.sampled_from([False, False, True])),
            past_due=draw(st.sampled_from([False, False, True])),
            spending_cap=draw(st.sampled_from([None, None, 0, 3000, 6000])),
            clock_offset=draw(st.sampled_from([timedelta(0), timedelta(0), 20 * DAY])),
        )
        give(draw, memory, customer_id, "signup")
    earlier = draw(st.lists(events(CUSTOMERS), min_size=4, max_size=10))
    memory.settle([arrival(each) for each in earlier], NOW)
    for customer_id in CUSTOMERS:
        change(draw, memory, customer_id)
    return memory


def change(draw: st.DrawFn, memory: Memory, customer_id: str) -> None:
    """What may have happened to a customer since: a card, a cap, an agreement, a collection."""
    standing = memory.books[customer_id]
    what = draw(st.sampled_from(["nothing", "card", "agreement", "credits"]))
    standing.has_payment_method |= what in ("card", "agreement")
    if what == "agreement":
        standing.past_due = False
        standing.accepted_held_until = NOW
    if what == "credits":
        give(draw, memory, customer_id, "operator")
    collect(draw, memory, customer_id)


# What the bank may have said to a charge, as far as it stays in flight.
ANSWERS = st.sampled_from(
    [None, *(each for each in AnswerKind if each is not AnswerKind.SUCCEEDED)]
)


def collect(draw: st.DrawFn, memory: Memory, customer_id: str) -> None:
    """Perhaps money came in that no charge explains, and perhaps the open charge is in flight."""
    with memory.transaction(customer_id, NOW) as (written, standing):
        if stray := draw(st.sampled_from([0, 0, 1000, 2875, 4000])):
            book_unapplied(written, standing, stray, "pi_stray")
        owed = standing.open_charge
        if owed and draw(st.booleans()):
            begin_attempt(written, standing, owed)
    with memory.transaction(customer_id, NOW) as (written, standing):
        owed = standing.charge_in_flight
        if owed and (kind := draw(ANSWERS)):
            answer = Answer(kind, "pi_1")
            step = next_step(owed, answer, standing.policy, written.time_of(standing))
            take_step(written, standing, owed, step, answer)
    with memory.transaction(customer_id, NOW) as (written, standing):
        if standing.charge_in_flight and draw(st.sampled_from([False, False, True])):
            withdraw(written, standing, standing.charge_in_flight)


def give(draw: st.DrawFn, memory: Memory, customer_id: str, source: str) -> None:
    credits_given = draw(st.integers(0, 3))
    if credits_given:
        memory.grants[customer_id, source] = grant(
            credits_given,
            source,
            source=source,
            expires_at=draw(EXPIRIES),
            customer_id=customer_id,
        )
        standing = memory.books[customer_id]
        memory.transfers.append(
            standing.move(
                "grant",
                credits_given,
                source,
                happened_at=NOW - DAY,
                recorded_at=NOW - DAY,
                grant_id=source,
            )
        )


@st.composite
def histories(draw: st.DrawFn) -> History:
    before = draw(memories())
    new = draw(st.lists(events(), min_size=8, max_size=24))
    arrivals = [
        arrival(each, at=NOW + timedelta(milliseconds=number), key=f"0/{number}-0")
        for number, each in enumerate(new)
    ]
    return History(before, arrivals)


def cut(arrivals: list[Arrival], cuts: set[int]) -> list[list[Arrival]]:
    """The list in pieces; a cut beyond its end cuts nothing."""
    edges = [0, *sorted(each for each in cuts if each < len(arrivals)), len(arrivals)]
    return [arrivals[start:end] for start, end in pairwise(edges)]
