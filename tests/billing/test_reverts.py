from __future__ import annotations

from typing import Any

import pytest

from schemas.events import Event
from tests.builders import (
    DAY,
    HOUR,
    MARCH,
    MINUTE,
    NOW,
    arrival,
    book,
    charge,
    deployed,
    fix,
    grant,
    moved,
)
from tests.builders import known as known_of
from tests.builders import reverted as reverted_event
from worker.billing.batch import decide_batch
from worker.billing.book import Book
from worker.billing.charges import FINAL, IN_FLIGHT, ChargeStatus
from worker.billing.fix import FixOutcome
from worker.billing.grants import Grant
from worker.billing.journal import Counted, Journal, Move
from worker.billing.known import Known
from worker.billing.reverts import REOPENED_FOR


def decided(standing: Book, known: Known, *events: Event) -> Journal:
    return decide_batch([arrival(each) for each in events], {"acme": standing}, known, NOW)


def credited_book(remaining: int = 0, **more: object) -> tuple[Book, Known, Grant]:
    """One credit of the gift was used for fix-1."""
    gift = grant(3, remaining=remaining, **more)  # type: ignore[arg-type]
    grants = [gift] if remaining else []
    standing = book(grants=grants, credits=remaining, consumed=1, issued=-1 - remaining)
    known = known_of(fix("fix-1", FixOutcome.CREDITED), grants={("acme", "gift"): gift})
    return standing, known, gift


def charged_book(status: ChargeStatus) -> tuple[Book, Known]:
    """fix-1 was charged 29 dollars."""
    owed = charge(2900, status)
    places = {ChargeStatus.OPEN: "open_charge"} | dict.fromkeys(IN_FLIGHT, "charge_in_flight")
    place: dict[str, Any] = {places[status]: owed} if status in places else {}
    standing = book(revenue=-2900, receivable=2900, spent=2900, **place)
    return standing, known_of(fix("fix-1", FixOutcome.CHARGED))


@pytest.mark.parametrize("remaining", [0, 2], ids=["used up", "with credits left"])
def test_a_credit_goes_back_to_its_grant(remaining: int) -> None:
    standing, known, gift = credited_book(remaining)

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("give_back", 1, "fix-1")]
    assert gift.remaining == remaining + 1
    assert (standing.credits, standing.consumed) == (remaining + 1, 0)
    assert standing.grants == [gift]
    assert journal.grants.changed == {("acme", "gift"): gift}
    assert journal.tally == {"reverted": 1}


def test_a_credit_of_an_expired_grant_opens_it_again() -> None:
    standing, known, gift = credited_book(expires_at=NOW - DAY)

    decided(standing, known, reverted_event())

    assert (gift.first_expired_at, gift.expires_at) == (NOW - DAY, NOW + REOPENED_FOR)
    assert gift.usable(NOW)


def test_a_grant_that_is_opened_once_more_first_expired_when_it_did() -> None:
    standing, known, gift = credited_book(expires_at=NOW - DAY)
    gift.first_expired_at = NOW - 40 * DAY

    decided(standing, known, reverted_event())

    assert (gift.first_expired_at, gift.expires_at) == (NOW - 40 * DAY, NOW + REOPENED_FOR)


def test_a_grant_that_is_still_good_keeps_its_expiry() -> None:
    standing, known, gift = credited_book(expires_at=NOW + HOUR)

    decided(standing, known, reverted_event())

    assert (gift.first_expired_at, gift.expires_at) == (None, NOW + HOUR)


def test_a_line_comes_off_the_open_charge() -> None:
    standing, known = charged_book(ChargeStatus.OPEN)

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("uncharge", 2900, "fix-1")]
    assert standing.open_charge is not None
    assert standing.open_charge.amount == 0
    assert (standing.receivable, standing.revenue, standing.spent) == (0, 0, 0)
    (line,) = journal.lines.changed.values()
    assert (line.charge_id, line.fix_id, line.removed_at) == ("ch_acme", "fix-1", NOW)
    assert journal.charges.changed.keys() == {"ch_acme"}


def test_a_line_of_last_month_leaves_this_months_spending_alone() -> None:
    standing, known = charged_book(ChargeStatus.OPEN)
    known.fixes["acme", "fix-1"].settled_at = NOW - 20 * DAY

    decided(standing, known, reverted_event())

    assert standing.spent == 2900


@pytest.mark.parametrize("status", IN_FLIGHT)
def test_a_line_comes_off_a_charge_that_is_being_collected(status: ChargeStatus) -> None:
    standing, known = charged_book(status)

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("uncharge", 2900, "fix-1")]
    owed = standing.charge_in_flight
    assert owed is not None
    assert (owed.status, owed.amount, owed.dropped) == (ChargeStatus.WITHDRAWING, 2900, 2900)
    assert (standing.receivable, standing.revenue, standing.spent) == (0, 0, 0)
    (line,) = journal.lines.changed.values()
    assert (line.charge_id, line.fix_id, line.removed_at) == ("ch_acme", "fix-1", NOW)
    assert journal.charges.changed == {"ch_acme": owed}


def test_money_of_the_customers_that_paid_for_a_line_is_theirs_again() -> None:
    standing, known = charged_book(ChargeStatus.FROZEN)
    owed = standing.charge_in_flight
    assert owed is not None
    owed.applied, standing.receivable, standing.cash = 1000, 1900, 1000

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("unapply", 1000, "fix-1"), ("uncharge", 2900, "fix-1")]
    assert (standing.receivable, standing.unapplied, owed.owed) == (0, -1000, 0)


def test_a_second_line_leaves_a_charge_that_is_withdrawn_already() -> None:
    standing, known = charged_book(ChargeStatus.FROZEN)
    other = fix("fix-2", FixOutcome.CHARGED)
    known.fixes["acme", "fix-2"] = other
    owed = standing.charge_in_flight
    assert owed is not None
    owed.amount = standing.receivable = 5800
    standing.revenue = -5800

    journal = decided(standing, known, reverted_event(), reverted_event("fix-2"))

    assert [kind for kind, *_ in moved(journal)] == ["uncharge", "uncharge"]
    assert (owed.dropped, owed.owed, owed.resume_at) == (5800, 0, NOW)


@pytest.mark.parametrize("status", FINAL)
def test_money_that_cannot_be_taken_off_becomes_a_credit(status: ChargeStatus) -> None:
    standing, known = charged_book(status)

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("grant", 1, "revert:fix-1")]
    assert standing.receivable == 2900
    (credit,) = standing.grants
    assert (credit.source, credit.remaining, credit.expires_at) == ("revert", 1, None)
    assert journal.grants.new == {("acme", "revert:fix-1"): credit}


@pytest.mark.parametrize("status", FINAL)
def test_for_what_no_money_is_left_there_is_no_credit(status: ChargeStatus) -> None:
    standing, known = charged_book(status)
    known.money_gone.add(("acme", "fix-1"))

    journal = decided(standing, known, reverted_event())

    assert (moved(journal), standing.grants, standing.receivable) == ([], [], 2900)
    assert known.fixes["acme", "fix-1"].outcome is FixOutcome.REVERTED
    assert journal.tally == {"reverted": 1}


def test_what_is_still_owed_is_uncharged_though_money_went_back_before() -> None:
    standing, known = charged_book(ChargeStatus.OPEN)
    known.money_gone.add(("acme", "fix-1"))

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("uncharge", 2900, "fix-1")]


@pytest.mark.parametrize("other", [0, 2900], ids=["nothing else", "something else"])
def test_a_revert_of_all_that_was_owed_ends_the_arrears(other: int) -> None:
    standing, known = charged_book(ChargeStatus.DECLINED)
    standing.past_due, standing.receivable = True, 2900 + other

    decided(standing, known, reverted_event())

    assert standing.past_due is bool(other)


def test_a_held_fix_leaves_the_backlog() -> None:
    held, other = fix("fix-1"), fix("fix-2")
    standing = book(held=2, backlog=[held, other])

    journal = decided(standing, known_of(held), reverted_event())

    assert moved(journal) == []
    assert (standing.held, standing.backlog) == (1, [other])
    assert held.held_why is None


@pytest.mark.parametrize("paid_by", ["held", "credited", "charged", "collected", "compensated"])
def test_a_reverted_fix_is_settled_and_counts_as_reverted(paid_by: str) -> None:
    standing, known = {
        "held": lambda: (book(held=1, backlog=[]), known_of(fix())),
        "credited": lambda: credited_book()[:2],
        "charged": lambda: charged_book(ChargeStatus.OPEN),
        "collected": lambda: charged_book(ChargeStatus.FROZEN),
        "compensated": lambda: charged_book(ChargeStatus.PAID),
    }[paid_by]()
    taken_back = known.fixes["acme", "fix-1"]
    before = Counted(MARCH.start, taken_back.outcome, taken_back.price or 0)

    journal = decided(standing, known, reverted_event())

    assert (taken_back.outcome, taken_back.settled_at) == (FixOutcome.REVERTED, NOW)
    assert journal.fixes.changed == {("acme", "fix-1"): taken_back}
    assert journal.moves == [Move(taken_back, before, Counted(MARCH.start, FixOutcome.REVERTED, 0))]
    assert [each.verdict for each in journal.events] == ["reverted"]
    assert journal.touched == {"acme"}


def test_a_fix_that_was_never_seen_gets_a_tombstone_and_never_costs_anything() -> None:
    standing = book(grants=[grant()])

    journal = decided(standing, Known(), reverted_event(), deployed())

    assert moved(journal) == []
    assert standing.credits == 1
    (buried,) = journal.fixes.new.values()
    assert (buried.outcome, buried.settled_at) == (FixOutcome.REVERTED, NOW)
    assert journal.tally == {"reverted_unseen": 1, "duplicate": 1}
    assert [each.verdict for each in journal.events] == ["reverted_unseen", "duplicate"]


@pytest.mark.parametrize("paid_by", [FixOutcome.CREDITED, FixOutcome.CHARGED, FixOutcome.HELD])
def test_a_second_revert_changes_nothing(paid_by: FixOutcome) -> None:
    standing, known, _ = credited_book()
    known.fixes["acme", "fix-1"] = fix("fix-1", paid_by, charge_id="ch_old")
    standing.held = 1

    first = decided(standing, known, reverted_event())
    again = decided(standing, known, reverted_event(id="revert-again"))

    assert again.tally == {"duplicate": 1}
    assert moved(again) == []
    assert len(moved(first)) <= 1


def test_the_same_revert_event_changes_nothing() -> None:
    standing, known, gift = credited_book()

    journal = decided(standing, known, reverted_event(), reverted_event())

    assert gift.remaining == 1
    assert journal.tally == {"reverted": 1, "duplicate": 1}
    assert len(journal.events) == 1


def test_a_revert_that_comes_too_late_is_set_aside() -> None:
    standing, known, gift = credited_book()
    known.fixes["acme", "fix-1"].deployed_at = NOW - 31 * DAY

    journal = decided(standing, known, reverted_event())

    assert [each.reason for each in journal.quarantined] == ["revert_too_late"]
    assert (gift.remaining, moved(journal), journal.touched) == (0, [], set())


def test_what_a_revert_gives_back_pays_for_the_oldest_held_fix() -> None:
    standing, known, gift = credited_book(remaining=1)
    gift.remaining = standing.credits = 0
    standing.issued = -1
    waits = fix("fix-2", recorded_at=NOW - MINUTE)
    standing.held, standing.backlog = 1, [waits]

    journal = decided(standing, known, reverted_event())

    assert moved(journal) == [("give_back", 1, "fix-1"), ("consume", 1, "fix-2")]
    assert journal.released == {"credited": 1}
    assert (standing.held, waits.outcome) == (0, FixOutcome.CREDITED)


def test_a_fix_reverted_in_the_batch_it_came_in_costs_nothing() -> None:
    standing = book(grants=[grant()])

    journal = decided(standing, Known(), deployed(), reverted_event())

    assert moved(journal) == [("consume", 1, "fix-1"), ("give_back", 1, "fix-1")]
    assert standing.credits == 1
    assert not journal.fixes.changed


def test_a_charge_made_and_reverted_in_one_batch_is_one_new_row_of_nothing() -> None:
    standing = book()

    journal = decided(standing, Known(), deployed(), reverted_event())

    (owed,) = journal.charges.new.values()
    (line,) = journal.lines.new.values()
    assert (owed.amount, line.price, line.removed_at) == (0, 2900, NOW)
    assert not journal.charges.changed
    assert not journal.lines.changed
    assert standing.receivable == 0
