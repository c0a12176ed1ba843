"""Time passes in a book: each thing at its own moment, whoever notices and however late."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.plans import Catalogue, Plan, PlanVersion
from tests.billing.memory import Memory, check_cycles
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    PLAN_DATE,
    arrival,
    book,
    deployed,
    fix,
    grant,
    journal,
    moved,
    reverted,
    usd,
)
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.cycles import CLOSING, CycleRow, CycleStatus, month_of
from worker.billing.fix import FixOutcome
from worker.billing.grants import PRIORITY
from worker.billing.journal import Journal
from worker.billing.known import Known
from worker.billing.reverts import REOPENED_FOR
from worker.billing.rollover import catch_up, close_cycle, end_cycle, keep_cycle, leave_plan

TICK = timedelta(microseconds=1)
APRIL = month_of(MARCH.end)
MAY = month_of(APRIL.end)
BEGAN = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
PERIOD_END = datetime(2026, 4, 10, 9, 30, tzinfo=UTC)


def passed(standing: Book, until: datetime, *, now: datetime | None = None) -> Journal:
    """What a look at this book at that time writes."""
    written = journal(standing, now=(now or until) - standing.clock_offset)
    catch_up(written, standing, until)
    return written


def happened(written: Journal) -> list[tuple[str, int, datetime, int]]:
    """What was moved when, and in which cycle it counts."""
    return [(each.kind, each.amount, each.happened_at, each.cycle) for each in written.transfers]


def subscribed(**more: Any) -> Book:
    """A customer in their first period, which is paid."""
    values: dict[str, Any] = {
        "subscription_id": "sub_1",
        "subscription_status": "active",
        "anchor": BEGAN,
        "cycle_start": BEGAN,
        "cycle_end": PERIOD_END,
        "paid_until": PERIOD_END,
    }
    return book("pro", **values | more)


# The cycle ends.


def test_until_its_end_a_cycle_stays_as_it_is() -> None:
    standing = book(spent=2900)

    written = passed(standing, MARCH.end - TICK)

    assert (standing.cycle, standing.cycle_end, standing.spent) == (1, MARCH.end, 2900)
    assert (written.cycles.new, written.cycles.changed, written.touched) == ({}, {}, set())


def test_at_its_end_the_next_one_begins() -> None:
    standing = book(spent=2900)

    written = passed(standing, MARCH.end)

    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (2, *APRIL)
    assert (standing.closing_start, standing.spent) == (MARCH.start, 0)
    assert written.cycles.changed == {("acme", 1): CycleRow("acme", 1, *MARCH, CycleStatus.CLOSING)}
    assert written.cycles.new == {("acme", 2): CycleRow("acme", 2, *APRIL, CycleStatus.OPEN)}
    assert written.touched == {"acme"}


def test_an_hour_later_the_one_before_is_closed_with_all_that_is_in_it() -> None:
    standing = book(grants=[grant(2, expires_at=MARCH.end)])
    passed(standing, MARCH.end + CLOSING - TICK)
    still = standing.closing_start

    written = passed(standing, MARCH.end + CLOSING)

    closed = CycleRow("acme", 1, *MARCH, CycleStatus.CLOSED)
    closed.last_seq, closed.closed_at = 1, MARCH.end + CLOSING
    assert (still, standing.closing_start) == (MARCH.start, None)
    assert written.cycles.changed == {("acme", 1): closed}
    assert (standing.cycle, standing.cycle_start) == (2, APRIL.start)


def test_several_cycles_that_nobody_looked_at_end_one_after_the_other() -> None:
    memory = Memory(books={"acme": book()})
    july = datetime(2026, 7, 1, tzinfo=UTC)

    with memory.transaction("acme", july) as (written, standing):
        catch_up(written, standing, july)

    rows = memory.cycles_of("acme")
    check_cycles(rows)
    assert [(each.number, each.starts_at.month, each.status.value) for each in rows] == [
        (1, 3, "closed"),
        (2, 4, "closed"),
        (3, 5, "closed"),
        (4, 6, "closing"),
        (5, 7, "open"),
    ]
    assert memory.books["acme"].closing_start == datetime(2026, 6, 1, tzinfo=UTC)


def test_a_cycle_that_ends_within_the_hour_closes_the_one_before_it() -> None:
    standing = book()
    written = passed(standing, MARCH.end)

    end_cycle(written, standing, MARCH.end + MINUTE)

    before = written.cycles.changed["acme", 1]
    assert (before.status, before.closed_at) == (CycleStatus.CLOSED, MARCH.end)
    assert (standing.cycle, standing.closing_start) == (3, APRIL.start)


def test_a_customers_own_clock_ends_the_cycle() -> None:
    standing = book(clock_offset=20 * DAY, grants=[grant(expires_at=MARCH.end)])
    written = journal(standing, now=NOW)

    catch_up(written, standing, NOW + 20 * DAY)

    assert standing.cycle == 2
    (lost,) = written.transfers
    assert (lost.happened_at, lost.recorded_at) == (MARCH.end, NOW + 20 * DAY)


def test_what_is_noticed_late_is_recorded_then_and_happened_at_its_moment() -> None:
    standing = book(grants=[grant(expires_at=NOW + DAY)])

    written = passed(standing, MARCH.end, now=MARCH.end + 7 * DAY)

    (lost,) = written.transfers
    assert (lost.happened_at, lost.recorded_at) == (NOW + DAY, MARCH.end + 7 * DAY)


# Credits expire, or roll over.


@pytest.mark.parametrize(
    ("remaining", "rolls_max", "expected"),
    [
        (3, 0, [("expire", 3)]),
        (3, 3, [("roll_out", 3), ("roll_in", 3)]),
        (3, 2, [("expire", 1), ("roll_out", 2), ("roll_in", 2)]),
        (3, 10, [("roll_out", 3), ("roll_in", 3)]),
        (1, 2, [("roll_out", 1), ("roll_in", 1)]),
    ],
    ids=["none may roll", "all", "some", "fewer than may", "what is left"],
)
def test_of_what_is_left_as_much_rolls_over_as_may(
    remaining: int, rolls_max: int, expected: list[tuple[str, int]]
) -> None:
    included = grant(
        10,
        "included",
        source="included",
        remaining=remaining,
        expires_at=MARCH.end,
        rolls_max=rolls_max,
    )
    standing = book(grants=[included])

    written = passed(standing, MARCH.end)

    rolled = sum(number for kind, number in expected if kind == "roll_in")
    assert [(each.kind, each.amount) for each in written.transfers] == expected
    assert (included.remaining, included.rolls_max) == (0, 0)
    assert (standing.credits, standing.expired) == (rolled, remaining - rolled)
    assert written.grants.changed == {("acme", "included"): included}


def test_what_expires_with_a_cycle_leaves_in_it_and_comes_in_the_next() -> None:
    standing = book(grants=[grant(3, expires_at=MARCH.end, rolls_max=2)])

    written = passed(standing, MARCH.end)

    assert happened(written) == [
        ("expire", 1, MARCH.end, 1),
        ("roll_out", 2, MARCH.end, 1),
        ("roll_in", 2, MARCH.end, 2),
    ]


def test_rolled_credits_come_first_and_expire_for_good_with_the_next_cycle() -> None:
    standing = book(grants=[grant(3, expires_at=MARCH.end, rolls_max=3)])
    standing.grants.append(grant(1, "bought", source="top_up"))
    standing.credits, standing.issued = 4, -4

    passed(standing, MARCH.end)

    rolled = standing.grants[0]
    assert (rolled.grant_id, rolled.source, rolled.origin) == ("roll:gift", "rolled", "gift")
    assert (rolled.priority, rolled.expires_at) == (PRIORITY["rolled"], APRIL.end)
    later = passed(standing, APRIL.end)
    assert happened(later) == [("expire", 3, APRIL.end, 2)]
    assert [each.grant_id for each in standing.grants] == ["bought"]


def test_what_expires_in_the_middle_of_a_cycle_rolls_into_the_same() -> None:
    standing = book(grants=[grant(2, expires_at=NOW + DAY, rolls_max=2)])

    written = passed(standing, NOW + DAY)

    assert happened(written) == [("roll_out", 2, NOW + DAY, 1), ("roll_in", 2, NOW + DAY, 1)]
    assert standing.grants[0].expires_at == MARCH.end


def test_a_credit_is_good_until_the_moment_it_expires() -> None:
    standing = book(grants=[grant(expires_at=NOW)])

    before, at = passed(standing, NOW - TICK), passed(standing, NOW)

    assert (moved(before), [each.kind for each in at.transfers]) == ([], ["expire"])


def test_all_happens_in_the_order_of_its_moments() -> None:
    standing = book(
        grants=[
            grant(1, "soon", expires_at=NOW + DAY),
            grant(2, "with-march", expires_at=MARCH.end, rolls_max=1),
            grant(3, "while-closing", expires_at=MARCH.end + HOUR),
            grant(4, "in-april", expires_at=APRIL.start + DAY, rolls_max=4),
            grant(5, "never"),
        ]
    )

    written = passed(standing, MAY.start)

    assert happened(written) == [
        ("expire", 1, NOW + DAY, 1),
        ("expire", 1, MARCH.end, 1),
        ("roll_out", 1, MARCH.end, 1),
        ("roll_in", 1, MARCH.end, 2),
        ("expire", 3, MARCH.end + HOUR, 2),
        ("roll_out", 4, APRIL.start + DAY, 2),
        ("roll_in", 4, APRIL.start + DAY, 2),
        ("expire", 1, APRIL.end, 2),
        ("expire", 4, APRIL.end, 2),
    ]
    assert (standing.credits, standing.expired) == (5, 10)


def test_a_credit_given_back_to_a_grant_that_rolled_over_expires_again() -> None:
    included = grant(2, "included", source="included", expires_at=MARCH.end, rolls_max=2)
    standing = book(grants=[included])
    first = decide_batch([arrival(deployed())], {"acme": standing}, Known(), NOW)
    passed(standing, MARCH.end)
    first.known.grants["acme", "included"] = included
    came = MARCH.end + 2 * HOUR

    taken_back = decide_batch(
        [arrival(reverted(at=came), at=came)], {"acme": standing}, first.known, came
    )
    given_until = included.expires_at
    later = passed(standing, came + REOPENED_FOR)

    assert moved(taken_back) == [("give_back", 1, "fix-1")]
    assert given_until == came + REOPENED_FOR
    again = f"included/{given_until:%Y-%m-%dT%H:%M:%S.%fZ}"
    assert ("expire", 1, again) in moved(later)
    assert "roll_in" not in {kind for kind, *_ in moved(later)}
    assert (included.remaining, standing.credits) == (0, 0)


def test_a_credit_goes_back_to_a_grant_as_it_is_after_it_expired_in_the_same_batch() -> None:
    memory = Memory(books={"acme": book(credits=3, issued=-3)})
    memory.grants["acme", "gift"] = grant(3, expires_at=NOW + HOUR)
    memory.settle([arrival(deployed())], NOW)
    later = NOW + 2 * HOUR
    events = [deployed("fix-2"), reverted("fix-1")]

    memory.settle([arrival(each, at=later) for each in events], later)

    assert memory.grants["acme", "gift"].remaining == memory.books["acme"].credits == 1
    assert memory.books["acme"].expired == 2


# What waits settles when its moment comes.


def test_what_the_cap_held_is_charged_when_the_next_cycle_begins() -> None:
    held = fix(recorded_at=NOW)
    standing = book(spending_cap=2900, spent=2900, held=1, backlog=[held])

    passed(standing, MARCH.end + DAY)

    assert (held.outcome, held.settled_at) == (FixOutcome.CHARGED, MARCH.end)
    assert (held.cycle_start, held.late) == (MARCH.start, False)
    assert (standing.spent, standing.held) == (2900, 0)


def test_an_event_is_settled_in_the_cycle_of_the_moment_it_was_accepted() -> None:
    standing = book(grants=[grant(expires_at=MARCH.end)], has_payment_method=False)
    events = [
        arrival(deployed("in-time", at=MARCH.end - HOUR), at=MARCH.end - TICK),
        arrival(deployed("too-late", at=MARCH.end - HOUR), at=MARCH.end),
    ]

    written = decide_batch(events, {"acme": standing}, Known(), MARCH.end + 7 * DAY)

    outcomes = {key[1]: each.outcome for key, each in written.known.fixes.items()}
    assert outcomes == {"in-time": FixOutcome.CREDITED, "too-late": FixOutcome.HELD}
    assert standing.cycle == 2


# Plan versions.


def catalogue(*versions: PlanVersion, plan: str = "payg") -> Catalogue:
    leads_to = Plan(title="After", versions=(PlanVersion(effective=PLAN_DATE, price=usd(29)),))
    return Catalogue({"payg": leads_to, plan: Plan(title="Ours", versions=versions)})


@pytest.mark.parametrize(
    ("effective", "price"),
    [
        (date(2026, 3, 16), usd(39)),
        (date(2026, 4, 1), usd(39)),
        (date(2026, 4, 2), usd(29)),
    ],
    ids=["during the last cycle", "with the new cycle", "after it began"],
)
def test_a_new_version_counts_from_the_first_cycle_that_begins_under_it(
    effective: date, price: object
) -> None:
    plans = catalogue(
        PlanVersion(effective=PLAN_DATE, price=usd(29)),
        PlanVersion(effective=effective, price=usd(39), collect="cycle_end"),
    )
    standing = book(plans=plans)
    passed(standing, MARCH.end - TICK)
    before = standing.price

    passed(standing, APRIL.end - TICK)

    assert (before, standing.price) == (usd(29), price)
    assert (standing.policy.collect == "cycle_end") is (price == usd(39))


@pytest.mark.parametrize(
    ("subscription", "version"),
    [(usd(599), date(2026, 4, 1)), (usd(699), PLAN_DATE)],
    ids=["of the same price", "of another price"],
)
def test_a_subscription_takes_a_new_version_only_at_the_price_that_stripe_charges(
    subscription: Any, version: date
) -> None:
    same = {"after_cancel_plan": "payg", "price": usd(15)}
    plans = catalogue(
        PlanVersion(effective=PLAN_DATE, subscription=usd(599), **same),
        PlanVersion(effective=date(2026, 4, 1), subscription=subscription, **same),
        plan="pro",
    )
    standing = subscribed(plans=plans)

    passed(standing, PERIOD_END)

    assert standing.plan_version == version


# Periods of a subscription.


def test_the_next_period_is_counted_from_the_anchor_and_not_paid_yet() -> None:
    standing = subscribed()
    before = standing.unpaid_period

    passed(standing, PERIOD_END)

    assert standing.cycle_end == datetime(2026, 5, 10, 9, 30, tzinfo=UTC)
    assert (before, standing.unpaid_period) == (False, True)


def test_a_subscription_that_ends_with_its_period_leaves_to_the_plan_it_names() -> None:
    standing = subscribed(ends_with_period=True)
    passed(standing, PERIOD_END - TICK)
    before = standing.plan

    passed(standing, PERIOD_END)

    assert (before, standing.plan, standing.price) == ("pro", "payg", usd(29))
    assert (standing.cycle_start, standing.cycle_end) == (PERIOD_END, APRIL.end)
    assert (standing.subscription_id, standing.anchor, standing.paid_until) == (None, None, None)
    assert (standing.subscription_status, standing.ends_with_period) == ("canceled", False)
    assert not standing.unpaid_period


def test_what_was_included_rolls_over_although_the_subscription_has_ended() -> None:
    included = grant(10, "included", source="included", expires_at=PERIOD_END, rolls_max=10)
    standing = subscribed(ends_with_period=True, grants=[included])

    passed(standing, PERIOD_END)

    (rolled,) = standing.grants
    assert (rolled.remaining, rolled.expires_at) == (10, APRIL.end)


def test_leaving_a_plan_takes_the_version_that_is_in_force_then() -> None:
    plans = Catalogue(
        {
            "payg": Plan(
                title="Pay as you go",
                versions=(
                    PlanVersion(effective=PLAN_DATE, price=usd(29)),
                    PlanVersion(effective=date(2026, 4, 10), price=usd(39)),
                ),
            ),
            "pro": Plan(
                title="Pro",
                versions=(
                    PlanVersion(
                        effective=PLAN_DATE, subscription=usd(599), after_cancel_plan="payg"
                    ),
                ),
            ),
        }
    )
    standing = subscribed(plans=plans, cycle_start=PERIOD_END, cycle_end=MAY.start)

    leave_plan(standing)

    assert (standing.plan, standing.price) == ("payg", usd(39))


# A cycle is cut.


def test_a_cycle_that_is_cut_ends_then_and_the_next_one_begins() -> None:
    standing = book()
    written = journal(standing)

    end_cycle(written, standing, NOW)

    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (2, NOW, MARCH.end)
    cut = written.cycles.changed["acme", 1]
    assert (cut.starts_at, cut.ends_at, cut.status) == (MARCH.start, NOW, CycleStatus.CLOSING)


@pytest.mark.parametrize("at", [BEGAN, BEGAN - HOUR], ids=["as it begins", "before it began"])
def test_a_cycle_that_has_only_just_begun_takes_another_end_instead(at: datetime) -> None:
    standing = book(cycle_start=BEGAN, cycle_end=PERIOD_END)
    written = journal(standing)

    end_cycle(written, standing, at)

    assert (standing.cycle, standing.cycle_start, standing.cycle_end) == (1, BEGAN, MARCH.end)
    assert written.cycles.changed == {
        ("acme", 1): CycleRow("acme", 1, BEGAN, MARCH.end, CycleStatus.OPEN)
    }
    assert written.cycles.new == {}


def test_what_is_kept_of_a_cycle_made_in_the_same_journal_is_one_new_row() -> None:
    standing = book()
    written = passed(standing, MARCH.end)
    standing.cycle_end = NOW + 30 * DAY

    keep_cycle(written, standing)

    (opened,) = written.cycles.new.values()
    assert (opened.number, opened.ends_at) == (2, NOW + 30 * DAY)
    assert written.cycles.changed.keys() == {("acme", 1)}


def test_where_no_cycle_is_closing_there_is_none_to_close() -> None:
    standing = book()
    written = journal(standing)

    close_cycle(written, standing)

    assert (written.cycles.changed, written.touched) == ({}, set())


# However late, and however often somebody looks.

MOMENTS = st.integers(0, 100 * 24).map(lambda hours: NOW + hours * HOUR)
GRANTS = st.lists(
    st.tuples(st.integers(1, 3), st.one_of(st.none(), MOMENTS), st.integers(0, 3)), max_size=4
)


def standing_of(lots: list[tuple[int, datetime | None, int]]) -> Book:
    return book(
        spending_cap=2900,
        spent=2900,
        held=3,
        backlog=[fix(f"held-{number}", recorded_at=NOW) for number in range(3)],
        grants=[
            grant(number, f"gift-{place}", expires_at=expires_at, rolls_max=rolls_max)
            for place, (number, expires_at, rolls_max) in enumerate(lots)
        ],
    )


@settings(max_examples=150)
@given(GRANTS, st.lists(MOMENTS, max_size=8))
def test_in_however_many_steps_time_passes_the_books_come_out_equal(
    lots: list[tuple[int, datetime | None, int]], looks: list[datetime]
) -> None:
    at_once, in_steps, end = standing_of(lots), standing_of(lots), NOW + 101 * DAY
    whole, pieces = journal(at_once, now=end), journal(in_steps, now=end)

    catch_up(whole, at_once, end)
    for each in [*sorted(looks), end]:
        catch_up(pieces, in_steps, each)

    assert pieces.transfers == whole.transfers
    assert asdict(in_steps) | {"plans": None} == asdict(at_once) | {"plans": None}
    assert pieces.cycles.new == whole.cycles.new
    assert pieces.cycles.changed == whole.cycles.changed
