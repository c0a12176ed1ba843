from __future__ import annotations

from datetime import timedelta

import pytest

from tests.builders import (
    DAY,
    HOUR,
    NOW,
    arrival,
    book,
    deployed,
    fix,
    fixes_of,
    grant,
    journal,
    known,
    moved,
    reverted,
)
from worker.billing.backlog import settle_backlog
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.fix import Fix, FixOutcome
from worker.billing.known import Known


def waiting(*held: Fix, **more: object) -> Book:
    """A customer with these held fixes, all of them read."""
    return book(held=len(held), backlog=list(held), **more)  # type: ignore[arg-type]


def test_credits_go_to_the_oldest_held_fixes() -> None:
    standing = waiting(fix("old"), fix("middle"), fix("young"), grants=[grant(2)])
    written = journal(standing)

    settle_backlog(written, standing)

    assert [each.source_key for each in written.transfers] == ["old", "middle"]
    assert [each.fix_id for each in standing.backlog] == ["young"]
    assert (standing.held, standing.credits) == (1, 0)
    assert written.released == {"credited": 2}


def test_credits_pay_first_and_agreed_money_the_rest() -> None:
    standing = waiting(
        fix("old"), fix("middle"), fix("young"), grants=[grant(1)], spending_cap=2900
    )
    written = journal(standing)

    settle_backlog(written, standing)

    assert [(each.kind, each.source_key) for each in written.transfers] == [
        ("consume", "old"),
        ("charge", "middle"),
    ]
    assert standing.held == 1


def test_without_a_word_from_the_customer_no_held_fix_becomes_money() -> None:
    standing = waiting(fix("old"), fix("young"))
    written = journal(standing)

    settle_backlog(written, standing)

    assert (written.transfers, standing.held, written.touched) == ([], 2, set())


def test_an_accepted_backlog_becomes_money_up_to_the_fix_that_was_accepted() -> None:
    accepted = fix("old", recorded_at=NOW - DAY)
    later = fix("young", recorded_at=NOW - HOUR)
    standing = waiting(accepted, later, accepted_held_until=NOW - DAY)
    written = journal(standing)

    settle_backlog(written, standing)

    assert (accepted.outcome, later.outcome) == (FixOutcome.CHARGED, FixOutcome.HELD)


def test_one_that_came_after_the_agreement_does_not_stop_those_that_were_accepted() -> None:
    reported_later = fix("older", deployed_at=NOW - 2 * DAY, recorded_at=NOW)
    accepted = fix("younger", deployed_at=NOW - DAY, recorded_at=NOW - DAY)
    standing = waiting(reported_later, accepted, accepted_held_until=NOW - HOUR)
    written = journal(standing)

    settle_backlog(written, standing)

    assert moved(written) == [("charge", 2900, "younger")]
    assert (reported_later.outcome, standing.backlog) == (FixOutcome.HELD, [reported_later])
    assert standing.held == 1


def test_one_that_was_passed_over_takes_the_next_credit_all_the_same() -> None:
    reported_later = fix("older", deployed_at=NOW - 2 * DAY, recorded_at=NOW)
    accepted = fix("younger", deployed_at=NOW - DAY, recorded_at=NOW - DAY)
    credit = grant()
    standing = waiting(reported_later, accepted, accepted_held_until=NOW - HOUR, grants=[credit])
    written = journal(standing)

    settle_backlog(written, standing)

    assert moved(written) == [("consume", 1, "older"), ("charge", 2900, "younger")]


@pytest.mark.parametrize(
    "standing",
    [
        {"past_due": True},
        {"has_payment_method": False},
        {"spending_cap": 0},
        {"plan": "trial"},
        {"subscription_id": "sub_1", "anchor": NOW},
    ],
    ids=["past due", "no card", "a cap of nothing", "no price", "the period is not paid"],
)
def test_where_an_accepted_fix_cannot_be_paid_those_behind_it_wait(
    standing: dict[str, object],
) -> None:
    held = [fix(name, recorded_at=NOW - DAY) for name in ("old", "young")]
    unpaid = waiting(*held, accepted_held_until=NOW - HOUR, **standing)
    written = journal(unpaid)

    settle_backlog(written, unpaid)

    assert (moved(written), unpaid.backlog) == ([], held)


def test_under_a_cap_nothing_is_passed_over_that_the_cap_has_no_room_for() -> None:
    dear, cheap = fix("dear", recorded_at=NOW), fix("cheap", recorded_at=NOW - DAY)
    standing = waiting(dear, cheap, accepted_held_until=NOW - HOUR, spending_cap=2899)
    written = journal(standing)

    settle_backlog(written, standing)

    assert (moved(written), standing.held) == ([], 2)


def test_a_released_fix_counts_in_the_cycle_that_is_open_now_at_todays_plan() -> None:
    last_month = NOW - 30 * DAY
    held = fix(
        "old",
        deployed_at=last_month,
        recorded_at=last_month,
        cycle_start=last_month.replace(day=1, hour=0),
        plan="trial",
    )
    standing = waiting(held, grants=[grant()], plan="pro")

    settle_backlog(journal(standing), standing)

    assert (held.cycle_start.month, held.plan, held.late) == (3, "pro", True)
    assert (held.settled_at, held.held_why) == (NOW, None)


def test_the_backlog_settles_before_what_is_new() -> None:
    standing = waiting(fix("old"), grants=[grant(1)], has_payment_method=False)

    written = decide_batch([arrival(deployed("new"))], {"acme": standing}, Known(), NOW)

    outcomes = {key[1]: each.outcome for key, each in written.known.fixes.items()}
    assert outcomes == {"old": FixOutcome.CREDITED, "new": FixOutcome.HELD}


def test_a_backlog_settles_though_nothing_new_came() -> None:
    standing = waiting(fix("old"), grants=[grant()])

    written = decide_batch([], {"acme": standing}, Known(), NOW)

    assert (standing.held, written.released) == (0, {"credited": 1})


def test_new_held_fixes_join_the_backlog_by_their_age() -> None:
    standing = waiting(fix("fix-b", deployed_at=NOW - HOUR), has_payment_method=False)
    arrivals = [
        arrival(deployed("fix-c", at=NOW - HOUR)),
        arrival(deployed("fix-a", at=NOW - HOUR)),
        arrival(deployed("fix-0", at=NOW - 2 * HOUR)),
    ]

    decide_batch(arrivals, {"acme": standing}, Known(), NOW)

    assert [each.fix_id for each in standing.backlog] == ["fix-0", "fix-a", "fix-b", "fix-c"]
    assert standing.held == 4


@pytest.mark.parametrize(
    ("age", "joins"), [(2 * HOUR, True), (timedelta(0), False)], ids=["older", "younger"]
)
def test_what_lies_behind_the_part_that_was_read_is_only_counted(
    age: timedelta, joins: bool
) -> None:
    read = fix("read", deployed_at=NOW - HOUR)
    standing = book(held=10, backlog=[read], has_payment_method=False)
    new = deployed("new", at=NOW - age)

    decide_batch([arrival(new)], {"acme": standing}, Known(), NOW)

    assert standing.held == 11
    assert (len(standing.backlog) == 2) is joins


def test_with_more_held_than_was_read_new_fixes_wait_and_credits_stay_for_the_old() -> None:
    read = fix("read")
    standing = book(held=3, backlog=[read], grants=[grant(10)])

    written = decide_batch([arrival(deployed("new"))], {"acme": standing}, Known(), NOW)

    assert written.known.fixes["acme", "new"].held_why == "behind older held fixes"
    assert (standing.held, standing.credits) == (3, 9)


def test_room_under_the_cap_that_a_revert_makes_goes_to_the_oldest_held_fix() -> None:
    standing = book(spending_cap=2900)
    events = [deployed("a"), deployed("b"), deployed("c"), reverted("a")]

    written = decide_batch([arrival(each) for each in events], {"acme": standing}, Known(), NOW)

    assert [(each.kind, each.source_key) for each in written.transfers] == [
        ("charge", "a"),
        ("uncharge", "a"),
        ("charge", "b"),
    ]
    assert (standing.spent, standing.held) == (2900, 1)


def test_a_held_fix_that_was_read_twice_is_one_and_the_same() -> None:
    in_backlog, in_known = fix("fix-1"), fix("fix-1")
    standing = waiting(in_backlog, grants=[grant()])

    written = decide_batch([arrival(reverted("fix-1"))], {"acme": standing}, known(in_known), NOW)

    assert [each.kind for each in written.transfers] == ["consume", "give_back"]
    assert in_backlog.outcome is FixOutcome.REVERTED
    assert (standing.held, standing.credits) == (0, 1)


def test_a_long_backlog_settles_in_the_order_of_its_age() -> None:
    standing = book(has_payment_method=False)
    held = decide_batch(
        [arrival(each) for each in fixes_of("acme", 200)], {"acme": standing}, Known(), NOW
    )
    standing.has_payment_method, standing.accepted_held_until = True, NOW

    written = journal(standing, known=held.known)
    settle_backlog(written, standing)

    assert [each.source_key for each in written.transfers] == [
        each.fix_id for each in fixes_of("acme", 200)
    ]
    assert standing.held == 0
