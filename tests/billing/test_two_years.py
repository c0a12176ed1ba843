"""Two years of credits, plans and cycles: the books say what the rules in words say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.billing.checks import check_chains, check_usage
from tests.billing.lives import TERMS, InMemory
from tests.billing.memory import Memory
from tests.billing.model import DAY, HOUR, Model
from tests.billing.steps import (
    END,
    SECOND,
    Beat,
    Cap,
    Card,
    Deaf,
    Deploy,
    End,
    Give,
    Resume,
    Revert,
    Stop,
    Subscribe,
    Wait,
    WaitFor,
    changes,
    faults,
    fixes,
    histories,
    waits,
)
from tests.billing.two_years import Life
from tests.billing.two_years_checks import Watched, check_statements
from tests.builders import NOW

PLANS = st.sampled_from(["trial", "trial", "payg"])


STEPS = histories(waits, waits, fixes, fixes, changes, faults)
RUNNING = histories(waits, waits, fixes, fixes, changes)  # the worker stands only as we say
MANY = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SOME = settings(MANY, max_examples=50)
FEW = settings(MANY, max_examples=10)  # each of them several times, with thousands of sweeps


def begin(plan: str, **how: Any) -> Life:
    return Life(InMemory(plan), Model(TERMS, plan, NOW), **how)


def follow_the_rules(plan: str, steps: list[Any]) -> None:
    """Both take the steps, and are compared after each."""
    life, watched = begin(plan), Watched()
    for step in steps:
        step.take(life)
        watched.check(life.books.memory, life.model)
    check_chains(life.books.memory)
    check_usage(life.books.memory)
    check_statements(life.books.memory)


@MANY
@given(PLANS, STEPS)
def test_the_books_say_what_the_rules_in_words_say(plan: str, steps: list[Any]) -> None:
    follow_the_rules(plan, steps)


@pytest.mark.long
@settings(MANY, max_examples=20_000)
@given(PLANS, STEPS)
def test_the_books_say_so_after_thousands_of_histories(plan: str, steps: list[Any]) -> None:
    follow_the_rules(plan, steps)


NO_TIME = timedelta(0)
ONCE_WRONG: dict[str, list[Any]] = {
    "a credit goes back to a grant that expired in the same batch": [
        *(Give(2, HOUR), Deploy(), Stop(), Wait(HOUR), Revert(0), Resume())
    ],
    "a credit goes back to a grant that was given and expired in the same batch": [
        *(Card(True), Subscribe(HOUR), Wait(20 * DAY), End("now"), Stop()),
        *(WaitFor("expiry", NO_TIME), Deploy(), WaitFor("month end", NO_TIME), Revert(0), Resume()),
    ],
    "a grant that was used up when it expired does not roll over later": [
        *(Card(True), Subscribe(HOUR), Wait(20 * DAY), Deploy(NO_TIME, 10)),
        *(WaitFor("cycle end", HOUR), Revert(3), Wait(33 * DAY), Beat()),
    ],
    "a fix that was reported in time is not late because it was held": [
        *(Give(5, None), Deploy(NO_TIME, 5), Deploy(7 * DAY), Wait(SECOND), Revert(1))
    ],
    "what an unpaid period held is paid when the subscription ends with it": [
        *(Card(True), Subscribe(33 * DAY), Cap(100_000), WaitFor("cycle end", HOUR), Beat()),
        *(Deploy(NO_TIME, 11), End("with period"), Deaf(True), WaitFor("cycle end", NO_TIME)),
        Beat(),
    ],
    "a fix of before a subscription is not spent in its first period": [
        *(Card(True), Stop(), Deploy(NO_TIME, 12), Wait(HOUR), Subscribe(HOUR), Resume()),
        Revert(0),
    ],
}


@pytest.mark.parametrize("steps", ONCE_WRONG.values(), ids=ONCE_WRONG.keys())
def test_what_was_once_wrong_is_as_the_rules_say(steps: list[Any]) -> None:
    follow_the_rules("payg", steps)


# However the worker runs.


def lived(plan: str, steps: list[Any], **how: Any) -> Memory:
    """Two years, at the end of which all is settled and the sweep has been."""
    life = begin(plan, **how)
    for step in steps:
        step.take(life)
    life.wait_until(max(life.now, END))
    Resume().take(life)
    life.sweep()
    return life.books.memory


def known_at_any_time(memory: Memory) -> dict[str, Any]:
    """Everything but when it was noticed, which is part of the chain, too."""
    contents = memory.contents()
    dropped = ("recorded_at", "hash", "head", "closed_at")
    for table in ("books", "cycles", "fixes", "grants"):
        for row in contents[table].values():
            for name in dropped:
                row.pop(name, None)
    for row in contents["transfers"]:
        for name in dropped:
            row.pop(name, None)
    return contents


@SOME
@given(PLANS, STEPS, st.sampled_from([1, 2, 5]))
def test_however_entries_are_cut_into_batches_two_years_end_alike(
    plan: str, steps: list[Any], together: int
) -> None:
    in_pieces = lived(plan, steps, together=together).contents()

    assert in_pieces == lived(plan, steps).contents()


@FEW
@given(PLANS, RUNNING, st.integers(0, 700))
def test_however_often_beat_rings_two_years_end_alike(
    plan: str, steps: list[Any], day: int
) -> None:
    as_entries_come = known_at_any_time(lived(plan, steps, noticing=True))

    assert known_at_any_time(lived(plan, steps, noticing=True, beats=1)) == as_entries_come
    assert known_at_any_time(lived(plan, steps, noticing=True, beats=3)) == as_entries_come
    assert known_at_any_time(lived(plan, steps, noticing=True, stands_on=day)) == as_entries_come
